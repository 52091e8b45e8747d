//! Definitions and modes, taps and what they are bound to.

use std::collections::BTreeMap;

use super::rows;
use super::session::{Failure, Session};
use super::statement::{Bind, Row, sql};
use super::{BindingRow, DefinitionRow, NewDefinition, StoreError, Switch, SwitchTo, TapRow};
use crate::saga::definition::Mode;
use crate::saga::time::Span;

/// The word of a mode, as it is stored.
pub fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Act => "act",
        Mode::Observe => "observe",
    }
}

fn mode_from(word: &str) -> Option<Mode> {
    [Mode::Act, Mode::Observe].into_iter().find(|mode| mode_word(*mode) == word)
}

/// See [`super::Store::save_definition`].
pub async fn save_definition(session: &mut dyn Session, new: &NewDefinition) -> Result<(), Failure> {
    let binds = vec![
        Bind::Text(new.saga.clone()),
        Bind::Int(i64::from(new.version)),
        Bind::Text(new.text.clone()),
        Bind::Bytes(new.fingerprint.to_vec()),
        Bind::Now,
    ];
    session.fetch(sql!("lock_definitions"), Vec::new()).await?;
    if session.execute(sql!("save_definition"), binds).await? == 0 {
        let stored = definitions(session).await?;
        if stored.iter().any(|row| row.saga == new.saga && row.version > new.version) {
            return Ok(());
        }
        let why =
            format!("saga {} version {} is stored with another meaning: raise the version", new.saga, new.version);
        return Err(StoreError::Refused(sqlx::Error::InvalidArgument(why)).into());
    }
    let binds = vec![Bind::Text(new.saga.clone()), Bind::Text(mode_word(new.mode).to_owned()), Bind::Now];
    session.execute(sql!("first_mode"), binds).await?;
    Ok(())
}

/// See [`super::Query::definitions`].
pub async fn definitions(session: &mut dyn Session) -> Result<Vec<DefinitionRow>, Failure> {
    let read = |row: &Row| {
        Ok(DefinitionRow {
            saga: row.get("saga")?,
            version: rows::number(row, "version")?,
            text: row.get("text")?,
            fingerprint: rows::bytes(row, "fingerprint")?,
            stored_at: rows::moment(row, "stored_at")?,
            applied_at: rows::moment(row, "applied_at")?,
            open_orders: rows::number(row, "open_orders")?,
        })
    };
    session.fetch(sql!("definitions"), Vec::new()).await?.iter().map(read).collect()
}

/// Stores the mode of a saga; the caller holds the saga's state.
pub async fn save_mode(session: &mut dyn Session, saga: &str, mode: Mode) -> Result<(), Failure> {
    let binds = vec![Bind::Text(saga.to_owned()), Bind::Text(mode_word(mode).to_owned()), Bind::Now];
    session.execute(sql!("set_mode"), binds).await?;
    Ok(())
}

/// Applies a stored version after all others.
pub async fn apply_version(session: &mut dyn Session, saga: &str, version: u32) -> Result<(), Failure> {
    let binds = vec![Bind::Text(saga.to_owned()), Bind::Int(i64::from(version)), Bind::Now];
    if session.execute(sql!("apply_version"), binds).await? == 0 {
        let why = format!("saga {saga} has no version {version}");
        return Err(StoreError::Refused(sqlx::Error::InvalidArgument(why)).into());
    }
    Ok(())
}

/// See [`super::Query::modes`].
pub async fn modes(session: &mut dyn Session) -> Result<BTreeMap<String, Mode>, Failure> {
    let read = |row: &Row| Ok((row.get("saga")?, rows::word(row, "mode", mode_from)?));
    session.fetch(sql!("modes"), Vec::new()).await?.iter().map(read).collect()
}

/// See [`super::Store::tap`].
pub async fn tap(session: &mut dyn Session, name: &str) -> Result<TapRow, Failure> {
    session.execute(sql!("create_tap"), vec![Bind::Text(name.to_owned())]).await?;
    read_tap(session, name).await
}

/// See [`super::Store::accepting`].
pub async fn accepting(session: &mut dyn Session, (name, pause): &(String, Span)) -> Result<TapRow, Failure> {
    session.execute(sql!("create_tap"), vec![Bind::Text(name.clone())]).await?;
    session.execute(sql!("accepting"), vec![Bind::Text(name.clone()), Bind::Int(pause.0), Bind::Now]).await?;
    read_tap(session, name).await
}

async fn read_tap(session: &mut dyn Session, name: &str) -> Result<TapRow, Failure> {
    let found = session.fetch(sql!("tap"), vec![Bind::Text(name.to_owned()), Bind::Now]).await?;
    let row = found.first().ok_or_else(|| StoreError::Corrupt(format!("the row of tap {name} is gone")))?;
    Ok(TapRow {
        name: row.get("name")?,
        watermark: rows::opt_moment(row, "watermark")?,
        committed_at: rows::opt_moment(row, "committed_at")?,
        accepting_since: rows::opt_moment(row, "accepting_since")?,
        accepting_until: rows::opt_moment(row, "accepting_until")?,
        break_began: rows::opt_moment(row, "break_began")?,
        now: rows::moment(row, "now")?,
    })
}

/// See [`super::Store::save_binding`].
pub async fn save_binding(session: &mut dyn Session, (tap, it): &(String, BindingRow)) -> Result<(), Failure> {
    let binds = vec![
        Bind::Text(tap.clone()),
        Bind::Text(it.exchange.clone()),
        Bind::Bool(it.bound),
        Bind::OptInt(it.absent_at.map(|at| at.0)),
        Bind::OptInt(it.bound_at.map(|at| at.0)),
        Bind::OptText(it.problem.as_deref().map(rows::without_nul)),
        Bind::OptText(it.keys.as_ref().map(rows::json).transpose()?),
    ];
    session.execute(sql!("save_binding"), binds).await?;
    Ok(())
}

/// See [`super::Store::forget_binding`].
pub async fn forget_binding(session: &mut dyn Session, (tap, exchange): &(String, String)) -> Result<(), Failure> {
    session.execute(sql!("forget_binding"), vec![Bind::Text(tap.clone()), Bind::Text(exchange.clone())]).await?;
    Ok(())
}

/// See [`super::Store::switch`].
pub async fn switch(session: &mut dyn Session, tap: &str) -> Result<Option<Switch>, Failure> {
    let read = |row: &Row| {
        Ok(Switch {
            unbound: row.get("unbound")?,
            at: rows::moment(row, "at")?,
            actor: row.get("actor")?,
            reason: row.get("reason")?,
        })
    };
    session.fetch(sql!("last_switch"), vec![Bind::Text(tap.to_owned())]).await?.first().map(read).transpose()
}

/// See [`super::Store::set_switch`].
pub async fn set_switch(session: &mut dyn Session, to: &SwitchTo) -> Result<(), Failure> {
    let (actor, reason) = (rows::without_nul(&to.actor), rows::without_nul(&to.reason));
    let binds = vec![
        Bind::Text(to.tap.clone()),
        Bind::Bool(to.unbound),
        Bind::Text(actor.clone()),
        Bind::Text(reason.clone()),
        Bind::Now,
    ];
    session.execute(sql!("log_tap"), binds).await?;
    if to.unbound {
        let why = Bind::Text(format!("unbound by {actor}: {reason}"));
        session.execute(sql!("unbind_all"), vec![Bind::Text(to.tap.clone()), why, Bind::Now]).await?;
    }
    Ok(())
}

/// See [`super::Query::bindings`].
pub async fn bindings(session: &mut dyn Session, tap: &str) -> Result<Vec<BindingRow>, Failure> {
    let read = |row: &Row| {
        Ok(BindingRow {
            exchange: row.get("exchange")?,
            bound: row.get("bound")?,
            absent_at: rows::opt_moment(row, "absent_at")?,
            bound_at: rows::opt_moment(row, "bound_at")?,
            problem: row.get("problem")?,
            keys: row.get::<Option<&str>>("keys")?.map(|keys| rows::from_json("keys", keys)).transpose()?,
        })
    };
    session.fetch(sql!("bindings"), vec![Bind::Text(tap.to_owned())]).await?.iter().map(read).collect()
}
