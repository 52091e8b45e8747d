//! [`super::Store::apply`]: load, decide, save, commit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::beside::Turn;
use super::load::load;
use super::rows;
use super::save::{save, save_progress};
use super::session::{Failure, Session};
use super::statement::{Bind, Rows, columns, sql};
use super::{Committed, Decide};
use crate::faults::Step as _;
use crate::saga::batch::{Changes, Lookup, SavedOrder};

/// Versions whose step names are known to be stored.
pub type Named = Arc<Mutex<BTreeSet<(String, u32)>>>;

/// What [`apply`] works with.
pub struct Batch {
    pub lookup: Lookup,
    pub decide: Decide,
    pub named: Named,
    pub turn: Turn,
}

/// One attempt; the caller commits.
pub async fn apply(session: &mut dyn Session, batch: &Batch) -> Result<Committed, Failure> {
    batch.turn.begin().await?;
    let loaded = load(session, &batch.lookup).await?;
    batch.turn.loaded().await;
    let changes = (batch.decide)(&loaded);
    save(session, &loaded, &changes).await?;
    batch.turn.come().await?;
    save_progress(session, &loaded, &changes).await?;
    name_steps(session, &changes, &batch.named).await?;
    Ok(Committed { now: loaded.now, changes })
}

/// Stores the step names of versions that have their first orders, begun on them or moved to them. What was stored is remembered, so this is almost never a
/// statement; it is only remembered from the second time on, when the first is surely committed.
async fn name_steps(session: &mut dyn Session, changes: &Changes, named: &Named) -> Result<(), Failure> {
    let fresh: Vec<_> = {
        let named = named.lock().unwrap_or_else(PoisonError::into_inner);
        let is_moved = |saved: &SavedOrder| saved.entries.iter().any(|it| it.entry.body.migrated.is_some());
        let new = changes.orders.iter().filter(|saved| saved.is_new || is_moved(saved));
        let mut seen = BTreeSet::new();
        new.filter(|saved| {
            let version = (saved.order.key.saga.clone(), saved.order.version);
            !named.contains(&version) && seen.insert(version)
        })
        .collect()
    };
    if fresh.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(fresh.len());
    for saved in fresh {
        all.push((&saved.order.key.saga, saved.order.version, rows::json(&saved.step_names.to_vec())?));
    }
    let rows: Rows = columns!(all; Text(|it| it.0.clone()), Int(|it| i64::from(it.1)), Text(|it| it.2.clone()));
    if session.execute(sql!("save_step_names"), vec![Bind::Rows(rows)]).at("store.save_step_names").await? == 0 {
        let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
        named.extend(all.into_iter().map(|(saga, version, _)| (saga.clone(), version)));
    }
    Ok(())
}
