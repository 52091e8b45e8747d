//! The outbox: leased by a short transaction, published by the relay, settled by a batch.
//!
//! ```text
//!   pending ──claim──▶ leased ──settled by a batch──▶ settled ──purge──▶ gone
//!      ▲                 │ released, or the lease ran out
//!      └─────────────────┘
//! ```
//!
//! Rows of one order leave one after the other: a row waits while an earlier one of its order is pending.

use uuid::Uuid;

use super::load::payloads;
use super::rows;
use super::session::{Failure, Session};
use super::statement::{Bind, Row, sql};
use super::{Backlog, Claimed};
use crate::faults::{Bug, is_planted};
use crate::saga::outgoing::{Content, Outgoing};
use crate::saga::time::{Moment, Span};

/// See [`super::Store::claim_outbox`].
pub async fn claim(
    session: &mut dyn Session,
    &(owner, lease, limit): &(Uuid, Span, usize),
) -> Result<Vec<Claimed>, Failure> {
    let lease = if is_planted(Bug::LeaseIgnored) { Span(0) } else { lease };
    let binds = vec![Bind::Text(owner.to_string()), Bind::Int(lease.0), Bind::Int(rows::limit(limit)), Bind::Now];
    let found = session.fetch(sql!("claim_outbox"), binds).await?;
    let mut leased = found.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    // The oldest first; the database gives them in any order.
    leased.sort_by(|(one, a, _), (other, b, _)| (a, &one.order, one.sequence).cmp(&(b, &other.order, other.sequence)));
    let originals: Vec<_> =
        leased.iter().filter_map(|(outgoing, ..)| Some((&outgoing.order, retry_of(outgoing)?))).collect();
    let originals = payloads(session, &originals).await?;
    let original = |outgoing: &Outgoing| {
        let of = retry_of(outgoing)?;
        originals.iter().find(|(key, sequence, _)| *key == outgoing.order && *sequence == of)
    };
    let claimed = leased.into_iter().map(|(outgoing, _, tries)| {
        // Without a body there is nothing to send again.
        let original = original(&outgoing).map(|it| it.2.clone()).filter(|payload| payload.body.is_some());
        Claimed { outgoing, original, tries }
    });
    Ok(claimed.collect())
}

fn retry_of(outgoing: &Outgoing) -> Option<u64> {
    match outgoing.content {
        Content::Retry { of, .. } => Some(of),
        Content::Telling { .. } | Content::Compensation { .. } => None,
    }
}

fn read(row: &Row) -> Result<(Outgoing, Moment, u32), Failure> {
    let outgoing = Outgoing {
        key: rows::uuid(row, "key")?,
        order: rows::key(row)?,
        sequence: rows::number(row, "sequence")?,
        place: rows::number(row, "place")?,
        message_id: row.get("message_id")?,
        content: rows::from_json("content", row.get::<&str>("content")?)?,
    };
    Ok((outgoing, rows::moment(row, "created_at")?, rows::number(row, "tries")?))
}

/// See [`super::Store::release_outbox`].
pub async fn release(session: &mut dyn Session, (keys, after): &(Vec<Uuid>, Span)) -> Result<(), Failure> {
    let keys = keys.iter().map(Uuid::to_string).collect();
    session.execute(sql!("release_outbox"), vec![Bind::Texts(keys), Bind::Int(after.0), Bind::Now]).await?;
    Ok(())
}

/// See [`super::Query::outbox_backlog`].
pub async fn backlog(session: &mut dyn Session) -> Result<Backlog, Failure> {
    let found = session.fetch(sql!("outbox_backlog"), Vec::new()).await?;
    let Some(row) = found.first() else { return Ok(Backlog::default()) };
    Ok(Backlog { rows: rows::number(row, "waiting")?, oldest_at: rows::opt_moment(row, "oldest")? })
}
