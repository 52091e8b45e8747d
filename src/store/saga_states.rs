//! What all replicas share about a saga as a whole: its brake, and the trail of what was changed about it.
//!
//! The row is locked after orders, sagas by name, by batches that may turn orders back by timeout and by people's changes; nobody
//! who holds one waits for an order. The trail is in the journal, under the saga's name and an empty order id.

use std::collections::BTreeMap;

use super::StoreError;
use super::catalog::{apply_version, mode_word, save_mode};
use super::housekeeping;
use super::rows::{self, int};
use super::save::save_entries;
use super::session::{Failure, Session};
use super::statement::{Bind, Row, Rows, columns, sql};
use crate::saga::batch::{SavedState, Sealed};
use crate::saga::brake::{Brake, SagaState, trail_of};
use crate::saga::definition::Mode;
use crate::saga::journal::Kind;
use crate::saga::order::OrderKey;
use crate::saga::time::Moment;

/// A person's change of a saga as a whole.
pub struct Change {
    pub saga: String,
    pub what: What,
    pub actor: String,
    pub reason: String,
}

/// What is changed.
#[derive(Clone, Copy)]
pub enum What {
    Mode(Mode),
    /// New orders open on this stored version.
    Version(u32),
    BrakeReset,
}

/// The rows of these sagas, locked, by name.
pub async fn lock(session: &mut dyn Session, sagas: Vec<String>) -> Result<BTreeMap<String, SagaState>, Failure> {
    if sagas.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut found = session.fetch(sql!("lock_states"), vec![Bind::Texts(sagas.clone())]).await?;
    if found.len() < sagas.len() {
        session.execute(sql!("create_states"), vec![Bind::Texts(sagas.clone())]).await?;
        found = session.fetch(sql!("lock_states"), vec![Bind::Texts(sagas)]).await?;
    }
    Ok(found.iter().map(read).collect::<Result<_, StoreError>>()?)
}

fn read(row: &Row) -> Result<(String, SagaState), StoreError> {
    let turned = rows::from_json("turned", row.get::<&str>("turned")?)?;
    let brake = Brake { turned, latched_at: rows::opt_moment(row, "latched_at")? };
    let state = SagaState { brake, sequence: rows::number(row, "sequence")?, head: rows::bytes(row, "head")? };
    Ok((row.get("saga")?, state))
}

/// Saves rows that [`lock`] gave, with the entries of their trails.
pub async fn save(session: &mut dyn Session, states: &[SavedState]) -> Result<(), Failure> {
    if states.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(states.len());
    for saved in states {
        all.push((saved, rows::json(&saved.state.brake.turned)?));
    }
    let rows: Rows = columns!(all;
        Text(|it| it.0.saga.clone()),
        Text(|it| it.1.clone()),
        OptInt(|it| it.0.state.brake.latched_at.map(|at| at.0)),
        Int(|it| int(it.0.state.sequence)),
        Bytes(|it| it.0.state.head.to_vec()));
    if session.execute(sql!("save_states"), vec![Bind::Rows(rows)]).await? < states.len() as u64 {
        return Err(StoreError::Corrupt("a saga's state was not among those loaded".to_owned()).into());
    }
    let keys: Vec<OrderKey> = states.iter().map(|saved| trail_of(&saved.saga)).collect();
    let entries: Vec<(&OrderKey, &Sealed)> =
        keys.iter().zip(states).flat_map(|(key, saved)| saved.entries.iter().map(move |it| (key, it))).collect();
    save_entries(session, &entries).await
}

/// See [`super::Store::set_mode`], [`super::Store::apply_version`] and [`super::Store::reset_brake`]; gives the brake as it was.
pub async fn change(session: &mut dyn Session, change: &Change) -> Result<Brake, Failure> {
    let mut states = lock(session, vec![change.saga.clone()]).await?;
    let now = housekeeping::now(session).await?;
    let mut state = states.remove(&change.saga).unwrap_or_default();
    let was = state.brake.clone();
    let entry = record(&mut state, change, now);
    match change.what {
        What::Mode(mode) => save_mode(session, &change.saga, mode).await?,
        What::Version(version) => apply_version(session, &change.saga, version).await?,
        What::BrakeReset => {}
    }
    save(session, &[SavedState { saga: change.saga.clone(), state, entries: vec![entry] }]).await?;
    Ok(was)
}

fn record(state: &mut SagaState, change: &Change, now: Moment) -> Sealed {
    let Change { saga, what, actor, reason } = change;
    match what {
        What::BrakeReset => state.reset(saga, actor.clone(), reason.clone(), now),
        What::Mode(mode) => {
            let name = format!("mode_{}", mode_word(*mode));
            state.record(saga, now, Kind::Command, &name, Some(actor.clone()), reason.clone())
        }
        What::Version(version) => {
            let name = format!("version_{version}");
            state.record(saga, now, Kind::Command, &name, Some(actor.clone()), reason.clone())
        }
    }
}

/// See [`super::Query::saga_states`].
pub async fn all(session: &mut dyn Session) -> Result<BTreeMap<String, SagaState>, Failure> {
    let found = session.fetch(sql!("states"), Vec::new()).await?;
    Ok(found.iter().map(read).collect::<Result<_, StoreError>>()?)
}
