//! Messages in quarantine, and doubts, as they are read.

use super::rows;
use super::session::{Failure, Session};
use super::statement::{Bind, Row, sql};
use super::{Listed, Page, QuarantineFilter, QuarantineRow, StoreError, cursor};
use crate::saga::order::{Doubt, DoubtKind};

fn read(row: &Row) -> Result<QuarantineRow, StoreError> {
    Ok(QuarantineRow {
        id: row.get("id")?,
        at: rows::moment(row, "at")?,
        reason: row.get("reason")?,
        detail: row.get("detail")?,
        saga: row.get("saga")?,
        event: row.get("event")?,
        order_id: row.get("order_id")?,
        exchange: row.get("exchange")?,
        routing_key: row.get("routing_key")?,
        envelope: rows::from_json("envelope", row.get::<&str>("envelope")?)?,
        body: row.get("body")?,
        body_bytes: rows::number(row, "body_bytes")?,
        resolved: row.get("resolved")?,
        resolved_by: row.get("resolved_by")?,
        resolved_reason: row.get("resolved_reason")?,
    })
}

/// See [`super::Query::quarantine`].
pub async fn list(session: &mut dyn Session, it: &(QuarantineFilter, Page)) -> Result<Listed<QuarantineRow>, Failure> {
    let (filter, page) = it;
    let binds = vec![
        Bind::Int(cursor::read::<i64>(page)?.unwrap_or(i64::MAX)),
        Bind::OptText(filter.saga.clone()),
        Bind::OptText(filter.reason.clone()),
        Bind::OptText(filter.exchange.clone()),
        Bind::Int(rows::limit(page.limit.saturating_add(1))),
    ];
    let statement = if filter.resolved {
        sql!("quarantine", "quarantine_page")
    } else {
        sql!("quarantine", "quarantine_open_only", "quarantine_page")
    };
    let found = session.fetch(statement, binds).await?;
    let messages = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(cursor::cut(messages, page.limit, |message| message.id)?)
}

/// See [`super::Query::quarantined`].
pub async fn find(session: &mut dyn Session, id: i64) -> Result<Option<QuarantineRow>, Failure> {
    let found = session.fetch(sql!("quarantined"), vec![Bind::Int(id)]).await?;
    Ok(found.first().map(read).transpose()?)
}

/// See [`super::Query::quarantine_reasons`].
pub async fn reasons(session: &mut dyn Session) -> Result<Vec<(String, u64)>, Failure> {
    let read = |row: &Row| Ok((row.get("reason")?, rows::number(row, "messages")?));
    session.fetch(sql!("quarantine_reasons"), Vec::new()).await?.iter().map(read).collect()
}

/// See [`super::Query::doubts`].
pub async fn doubts(session: &mut dyn Session, limit: usize) -> Result<Vec<Doubt>, Failure> {
    let read = |row: &Row| {
        Ok(Doubt {
            id: row.get("id")?,
            kind: rows::word(row, "kind", doubt_from)?,
            saga: row.get("saga")?,
            from: rows::moment(row, "from_at")?,
            to: rows::moment(row, "to_at")?,
            event: row.get("event")?,
            order_id: row.get("order_id")?,
        })
    };
    session.fetch(sql!("doubts"), vec![Bind::Int(rows::limit(limit))]).await?.iter().map(read).collect()
}

/// The word a doubt is stored as.
pub fn doubt_word(kind: DoubtKind) -> &'static str {
    match kind {
        DoubtKind::Gap => "gap",
        DoubtKind::Quarantine => "quarantine",
    }
}

fn doubt_from(word: &str) -> Option<DoubtKind> {
    [DoubtKind::Gap, DoubtKind::Quarantine].into_iter().find(|kind| doubt_word(*kind) == word)
}
