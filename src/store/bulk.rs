//! Actions on many orders: which orders they are, how far each action is, and whose turn it is.
//!
//! ```text
//!   begin: the filter's orders, in one statement ──▶ rows without an outcome
//!   claim: the action that is due, leased ──▶ its next row ──▶ the caller acts ──▶ settle: outcome, and when the next is due
//! ```
//!
//! A row gets its outcome once. Between acting and settling a crash may come: the order is claimed again, with the same key, and
//! whoever acts is told what it became the first time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::orders::Search;
use super::rows::{self, int};
use super::session::{Failure, Session};
use super::statement::{Bind, Row, sql};
use super::{Listed, OrderFilter, Page, StoreError, cursor};
use crate::saga::input::Action;
use crate::saga::order::OrderKey;
use crate::saga::outgoing::derived_id;
use crate::saga::time::{Moment, Span};

/// The most orders one action may name: a snapshot is one transaction.
pub const ORDERS_MAX: u64 = 100_000;

/// What a person asks of every order a filter names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BulkAsk {
    pub filter: OrderFilter,
    /// The filter in the words it was given in.
    pub given: BTreeMap<String, String>,
    pub action: Action,
    /// By name; resolved in the version each order is on.
    pub step: Option<String>,
    pub actor: String,
    pub reason: String,
    /// The time from one order to the next.
    pub every: Span,
    /// How many orders the filter named one by one. Which they are is kept as the orders of the action alone.
    #[serde(default)]
    pub named: u64,
}

/// How far an action is.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulk {
    pub id: Uuid,
    pub ask: BulkAsk,
    pub state: BulkState,
    pub total: u64,
    pub done: u64,
    pub refused: u64,
    pub gone: u64,
    pub created_at: Moment,
    pub ended_at: Option<Moment>,
    pub stopped_by: Option<String>,
    pub stopped_reason: Option<String>,
}

/// Whether an action goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkState {
    Running,
    Done,
    Stopped,
}

impl BulkState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Running, Self::Done, Self::Stopped];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }

    /// The state called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// What became of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkOutcome {
    /// The journal sequence it became.
    Done(u64),
    /// Why it does not fit the order.
    Refused(String),
    /// There is no such order any more.
    Gone,
}

impl BulkOutcome {
    /// The words of the outcomes.
    pub const WORDS: [&'static str; 3] = ["done", "refused", "gone"];

    /// The word used everywhere.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::Gone => "gone",
        }
    }
}

/// One order of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkOrder {
    pub place: u64,
    pub key: OrderKey,
    /// `None`: its turn has not come.
    pub outcome: Option<BulkOutcome>,
    pub at: Option<Moment>,
}

/// One order whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkTask {
    pub id: Uuid,
    pub ask: BulkAsk,
    pub place: u64,
    pub key: OrderKey,
    /// The idempotency key of the command: of this action and this order alone.
    pub once: String,
    /// What the command became, if it was given before a crash.
    pub answered: Option<u64>,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkTurn {
    Order(Box<BulkTask>),
    /// Nothing now; the next order is due after this time, if any action is running.
    Nothing(Option<Span>),
}

/// See [`super::Store::begin_bulk`].
pub async fn begin(session: &mut dyn Session, (id, ask): &(Uuid, BulkAsk)) -> Result<Option<Bulk>, Failure> {
    let id_text = || Bind::Text(id.to_string());
    let kept = BulkAsk {
        filter: OrderFilter { named: Vec::new(), ..ask.filter.clone() },
        named: u64::try_from(ask.filter.named.len()).unwrap_or(u64::MAX),
        ..ask.clone()
    };
    let binds = vec![id_text(), Bind::Text(rows::json(&kept)?), Bind::Now];
    if session.execute(sql!("begin_bulk"), binds).await? == 0 {
        return find(session, id).await;
    }
    let total = match Search::prepare(session, &ask.filter).await? {
        None => 0,
        Some(search) => {
            let mut binds = search.binds(None, int(ORDERS_MAX + 1));
            binds.push(id_text());
            session.execute(search.drive.snapshot(), binds).await?
        }
    };
    if total > ORDERS_MAX {
        for statement in [sql!("forget_bulk_orders"), sql!("forget_bulk")] {
            session.execute(statement, vec![id_text()]).await?;
        }
        return Ok(None);
    }
    session.execute(sql!("size_bulk"), vec![id_text(), Bind::Int(int(total))]).await?;
    find(session, id).await
}

/// See [`super::Store::claim_bulk`].
pub async fn claim(session: &mut dyn Session, (owner, lease): &(Uuid, Span)) -> Result<BulkTurn, Failure> {
    loop {
        let binds = vec![Bind::Text(owner.to_string()), Bind::Int(lease.0), Bind::Now];
        let claimed = session.fetch(sql!("claim_bulk"), binds).await?;
        let Some(row) = claimed.first() else {
            let next = session.fetch(sql!("next_bulk"), vec![Bind::Now]).await?;
            let after: Option<i64> = next.first().map_or(Ok(None), |row| row.get("after"))?;
            return Ok(BulkTurn::Nothing(after.map(Span)));
        };
        let id = rows::uuid(row, "id")?;
        let ask: BulkAsk = match rows::from_json("ask", row.get::<&str>("ask")?) {
            Ok(ask) => ask,
            // One that cannot be read must not hold up the others.
            Err(error) => {
                stop(session, &(id, "escrow".to_owned(), error.to_string())).await?;
                continue;
            }
        };
        let next = session.fetch(sql!("next_bulk_order"), vec![Bind::Text(id.to_string())]).await?;
        let Some(row) = next.first() else {
            session.execute(sql!("end_bulk"), vec![Bind::Text(id.to_string()), Bind::Now]).await?;
            continue;
        };
        let (place, key): (u64, _) = (rows::number(row, "place")?, rows::key(row)?);
        let once = derived_id(&["bulk", &id.to_string(), &key.saga, &key.order_id]).to_string();
        let answered = session.fetch(sql!("answered"), vec![Bind::Text(once.clone())]).await?;
        let answered = answered.first().map(|row| rows::number(row, "sequence")).transpose()?;
        return Ok(BulkTurn::Order(Box::new(BulkTask { id, ask, place, key, once, answered })));
    }
}

/// See [`super::Store::settle_bulk`].
pub async fn settle(session: &mut dyn Session, it: &(Uuid, u64, BulkOutcome, Span)) -> Result<(), Failure> {
    let (id, place, outcome, every) = it;
    let (sequence, detail) = match outcome {
        BulkOutcome::Done(sequence) => (Some(int(*sequence)), None),
        BulkOutcome::Refused(why) => (None, Some(rows::without_nul(why))),
        BulkOutcome::Gone => (None, None),
    };
    let id = || Bind::Text(id.to_string());
    // The action's row first, as everybody does: whoever claims it waits for the whole.
    session.execute(sql!("pace_bulk"), vec![id(), Bind::Int(every.0), Bind::Now]).await?;
    let binds = vec![
        id(),
        Bind::Int(int(*place)),
        Bind::Text(outcome.word().to_owned()),
        Bind::OptInt(sequence),
        Bind::OptText(detail),
        Bind::Now,
    ];
    if session.execute(sql!("settle_bulk_order"), binds).await? > 0 {
        session.execute(sql!("count_bulk"), vec![id(), Bind::Text(outcome.word().to_owned())]).await?;
    }
    session.execute(sql!("end_bulk"), vec![id(), Bind::Now]).await?;
    Ok(())
}

/// See [`super::Store::stop_bulk`].
pub async fn stop_and_find(session: &mut dyn Session, it: &(Uuid, String, String)) -> Result<Option<Bulk>, Failure> {
    stop(session, it).await?;
    find(session, &it.0).await
}

async fn stop(session: &mut dyn Session, it: &(Uuid, String, String)) -> Result<(), Failure> {
    let (id, actor, reason) = it;
    let binds = vec![Bind::Text(id.to_string()), Bind::Text(actor.clone()), Bind::Text(reason.clone()), Bind::Now];
    session.execute(sql!("stop_bulk"), binds).await?;
    Ok(())
}

/// See [`super::Query::bulk`].
pub async fn find(session: &mut dyn Session, id: &Uuid) -> Result<Option<Bulk>, Failure> {
    let found = session.fetch(sql!("bulk"), vec![Bind::Text(id.to_string())]).await?;
    Ok(found.first().map(read).transpose()?)
}

/// See [`super::Query::bulks`].
pub async fn list(session: &mut dyn Session, it: &(Option<BulkState>, Page)) -> Result<Listed<Bulk>, Failure> {
    let (state, page) = it;
    let (at, id): (i64, Uuid) = cursor::read(page)?.unwrap_or((i64::MAX, Uuid::nil()));
    let binds = vec![
        Bind::Int(at),
        Bind::Text(id.to_string()),
        Bind::OptText(state.map(|state| state.word().to_owned())),
        Bind::Int(rows::limit(page.limit.saturating_add(1))),
    ];
    let found = session.fetch(sql!("list_bulks"), binds).await?;
    let bulks = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(cursor::cut(bulks, page.limit, |it| (it.created_at.0, it.id))?)
}

fn read(row: &Row) -> Result<Bulk, StoreError> {
    Ok(Bulk {
        id: rows::uuid(row, "id")?,
        ask: rows::from_json("ask", row.get::<&str>("ask")?)?,
        state: rows::word(row, "state", BulkState::from_word)?,
        total: rows::number(row, "total")?,
        done: rows::number(row, "done")?,
        refused: rows::number(row, "refused")?,
        gone: rows::number(row, "gone")?,
        created_at: rows::moment(row, "created_at")?,
        ended_at: rows::opt_moment(row, "ended_at")?,
        stopped_by: row.get("stopped_by")?,
        stopped_reason: row.get("stopped_reason")?,
    })
}

/// See [`super::Query::bulk_orders`].
pub async fn orders(
    session: &mut dyn Session,
    (id, outcome, page): &(Uuid, Option<String>, Page),
) -> Result<Listed<BulkOrder>, Failure> {
    let after: i64 = cursor::read(page)?.unwrap_or(0);
    let binds = vec![
        Bind::Text(id.to_string()),
        Bind::Int(after),
        Bind::OptText(outcome.clone()),
        Bind::Int(rows::limit(page.limit.saturating_add(1))),
    ];
    let found = session.fetch(sql!("bulk_orders"), binds).await?;
    let orders = found.iter().map(read_order).collect::<Result<Vec<_>, _>>()?;
    Ok(cursor::cut(orders, page.limit, |it| int(it.place))?)
}

fn read_order(row: &Row) -> Result<BulkOrder, StoreError> {
    let outcome = match row.get::<Option<&str>>("outcome")? {
        None => None,
        Some("done") => Some(BulkOutcome::Done(rows::number(row, "sequence")?)),
        Some("refused") => Some(BulkOutcome::Refused(row.get::<Option<String>>("detail")?.unwrap_or_default())),
        Some("gone") => Some(BulkOutcome::Gone),
        Some(other) => return Err(StoreError::Corrupt(format!("column `outcome` holds `{other}`"))),
    };
    Ok(BulkOrder {
        place: rows::number(row, "place")?,
        key: rows::key(row)?,
        outcome,
        at: rows::opt_moment(row, "at")?,
    })
}
