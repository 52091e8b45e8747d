//! Which events each saga met, how often and when last.
//!
//! Every batch adds to the same few rows, so it does that in one statement, the last before the commit, and in key order: batches beside
//! each other wait for each other's commit at most, and never in a circle.

use super::EventMet;
use super::rows::{self, int};
use super::session::{Failure, Session};
use super::statement::{Bind, Row, Rows, columns, sql};
use crate::saga::coverage::{Coverage, Met, STRANGERS_MAX};
use crate::saga::time::Moment;

/// Adds what a batch met.
pub async fn save(session: &mut dyn Session, coverage: &Coverage, now: Moment) -> Result<(), Failure> {
    let met: Vec<Met<'_>> = coverage.all().collect();
    if met.is_empty() {
        return Ok(());
    }
    let rows: Rows = columns!(met;
        Text(|it| it.saga.to_owned()),
        Text(|it| it.exchange.to_owned()),
        Text(|it| it.event.to_owned()),
        Int(|it| i64::from(it.is_named)),
        Int(|it| int(it.seen)));
    let binds = vec![Bind::Rows(rows), Bind::Int(now.0), Bind::Int(rows::limit(STRANGERS_MAX))];
    session.execute(sql!("save_coverage"), binds).await?;
    Ok(())
}

/// See [`super::Query::events_met`].
pub async fn events_met(session: &mut dyn Session, saga: &str) -> Result<Vec<EventMet>, Failure> {
    let read = |row: &Row| {
        Ok(EventMet {
            exchange: row.get("exchange")?,
            event: row.get("event")?,
            seen: rows::number(row, "seen")?,
            last_at: rows::moment(row, "last_at")?,
        })
    };
    session.fetch(sql!("coverage"), vec![Bind::Text(saga.to_owned())]).await?.iter().map(read).collect()
}
