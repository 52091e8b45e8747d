//! Lists of orders: always from an index, whatever the filter.
//!
//! The most selective part of a filter chooses the *branches*: lines of an index that are each sorted by creation. The database
//! merges their heads, applies the rest of the filter on the way, and stops when the page is full.
//!
//! ```text
//!   order ids           ▶ primary key                        a line for each id
//!   attribute           ▶ order_attributes                   one line
//!   awaited steps       ▶ orders_waiting                     a line for each set of steps that has one of them
//!   reasons             ▶ orders_stuck                       a line for each set of reasons that has one of them
//!   anything else       ▶ orders_status                      a line for each saga and status
//! ```

use super::rows;
use super::session::{Failure, Session};
use super::statement::{Bind, Row, Rows, Sql, columns, sql};
use super::{
    Listed, NamedOrder, OpenCounts, OrderFilter, Page, StatusCount, StoreError, StuckGroup, WaitingCount, cursor,
    housekeeping,
};
use crate::saga::order::{Order, OrderKey, Status, StuckReason};
use crate::saga::time::Moment;

/// Counts are exact up to here; beyond, the planner's estimate is enough.
const COUNTED_EXACTLY: u64 = 10_000;

/// Creation, saga and id of the last order of a page.
type Place = (i64, String, String);

/// A filter made ready: where to look, and what else must hold.
pub(super) struct Search {
    pub drive: Drive,
    branches: Rows,
    rest: Vec<Bind>,
}

/// Which index leads.
#[derive(Clone, Copy)]
pub(super) enum Drive {
    Id,
    Attribute,
    Waiting,
    Reason,
    Status,
}

impl Drive {
    fn list(self) -> Sql {
        match self {
            Self::Id => sql!("list_columns", "list_by_id", "list_filter", "list_page"),
            Self::Attribute => sql!("list_columns", "list_by_attribute", "list_filter", "list_page"),
            Self::Waiting => sql!("list_columns", "list_by_waiting", "list_filter", "list_page"),
            Self::Reason => sql!("list_columns", "list_by_reason", "list_filter", "list_page"),
            Self::Status => sql!("list_columns", "list_by_status", "list_filter", "list_page"),
        }
    }

    /// Keeps which orders are found, for a bulk action.
    pub fn snapshot(self) -> Sql {
        match self {
            Self::Id => sql!("insert_bulk_orders", "list_by_id", "list_filter", "list_page"),
            Self::Attribute => sql!("insert_bulk_orders", "list_by_attribute", "list_filter", "list_page"),
            Self::Waiting => sql!("insert_bulk_orders", "list_by_waiting", "list_filter", "list_page"),
            Self::Reason => sql!("insert_bulk_orders", "list_by_reason", "list_filter", "list_page"),
            Self::Status => sql!("insert_bulk_orders", "list_by_status", "list_filter", "list_page"),
        }
    }

    fn count(self) -> Sql {
        match self {
            Self::Id => sql!("count_columns", "list_by_id", "list_filter", "list_page", "count_end"),
            Self::Attribute => sql!("count_columns", "list_by_attribute", "list_filter", "list_page", "count_end"),
            Self::Waiting => sql!("count_columns", "list_by_waiting", "list_filter", "list_page", "count_end"),
            Self::Reason => sql!("count_columns", "list_by_reason", "list_filter", "list_page", "count_end"),
            Self::Status => sql!("count_columns", "list_by_status", "list_filter", "list_page", "count_end"),
        }
    }
}

impl Search {
    /// `None` when nothing can match.
    pub async fn prepare(session: &mut dyn Session, filter: &OrderFilter) -> Result<Option<Self>, Failure> {
        let waits = known_waits(session, &filter.waiting_on).await?;
        if !filter.waiting_on.is_empty() && waits.is_empty() {
            return Ok(None);
        }
        let reasons = known_reasons(session, filter).await?;
        // A step that holds orders up implies a reason.
        let is_about_stuck = !filter.reasons.is_empty() || filter.stuck_step.is_some();
        if is_about_stuck && reasons.is_empty() {
            return Ok(None);
        }
        let attributes: Vec<(String, String)> =
            filter.attributes.iter().map(|(name, value)| (name.clone(), rows::searched_value(value))).collect();
        let (drive, branches) = branches(session, filter, &attributes, &waits, &reasons).await?;
        let waiting_before = match filter.older_than {
            Some(span) => Some((housekeeping::now(session).await? - span).0),
            None => None,
        };
        let wanted: Rows = columns!(attributes; Text(|it| it.0.clone()), Text(|it| it.1.clone()));
        let rest = vec![
            Bind::Texts(filter.sagas.clone()),
            Bind::Texts(filter.statuses.iter().map(|status| status.word().to_owned()).collect()),
            Bind::Texts(waits),
            Bind::Texts(reasons),
            Bind::OptInt(waiting_before),
            Bind::OptText(filter.stuck_step.clone()),
            Bind::Rows(wanted),
        ];
        let branches = columns!(branches; Text(|it| it.0.clone()), Text(|it| it.1.clone()));
        Ok(Some(Self { drive, branches, rest }))
    }

    pub fn binds(&self, after: Option<Place>, limit: i64) -> Vec<Bind> {
        let (created_at, saga, order_id) = after.unwrap_or((i64::MAX, String::new(), String::new()));
        let mut binds =
            vec![Bind::Rows(self.branches.clone()), Bind::Int(created_at), Bind::Text(saga), Bind::Text(order_id)];
        binds.extend(self.rest.iter().cloned());
        binds.push(Bind::Int(limit));
        binds
    }
}

async fn branches(
    session: &mut dyn Session,
    filter: &OrderFilter,
    attributes: &[(String, String)],
    waits: &[String],
    reasons: &[String],
) -> Result<(Drive, Vec<(String, String)>), Failure> {
    let alone = |text: &str| (text.to_owned(), String::new());
    if let Some(id) = &filter.order_id {
        return Ok((Drive::Id, vec![alone(id)]));
    }
    if !filter.named.is_empty() {
        return Ok((Drive::Id, each_once(&filter.named)));
    }
    if let Some(first) = attributes.first() {
        return Ok((Drive::Attribute, vec![first.clone()]));
    }
    if !waits.is_empty() {
        return Ok((Drive::Waiting, waits.iter().map(|waiting| alone(waiting)).collect()));
    }
    if !reasons.is_empty() {
        return Ok((Drive::Reason, reasons.iter().map(|reason| alone(reason)).collect()));
    }
    let sagas = if filter.sagas.is_empty() { known_sagas(session).await? } else { distinct(&filter.sagas) };
    let statuses = || Status::ALL.iter().filter(|it| filter.statuses.is_empty() || filter.statuses.contains(it));
    let pairs = sagas.iter().flat_map(|saga| statuses().map(|status| (saga.clone(), status.word().to_owned())));
    Ok((Drive::Status, pairs.collect()))
}

/// Branches of ids and sagas; an id that is named for every saga needs no other.
fn each_once(named: &[NamedOrder]) -> Vec<(String, String)> {
    let all: std::collections::BTreeSet<&NamedOrder> = named.iter().collect();
    let is_covered =
        |it: &NamedOrder| it.saga.is_some() && all.contains(&NamedOrder { order_id: it.order_id.clone(), saga: None });
    let each = all.iter().filter(|it| !is_covered(it));
    each.map(|it| (it.order_id.clone(), it.saga.clone().unwrap_or_default())).collect()
}

/// Each once: a branch that is named twice would give its orders twice.
fn distinct(names: &[String]) -> Vec<String> {
    names.iter().cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Every saga that has orders.
pub async fn known_sagas(session: &mut dyn Session) -> Result<Vec<String>, Failure> {
    session.fetch(sql!("known_sagas"), Vec::new()).await?.iter().map(|row| Ok(row.get("saga")?)).collect()
}

/// The sets of awaited steps, as the column has them, that have one of `steps`.
async fn known_waits(session: &mut dyn Session, steps: &[String]) -> Result<Vec<String>, Failure> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let mut waits = Vec::new();
    for row in session.fetch(sql!("known_waits"), Vec::new()).await? {
        let waiting: String = row.get("waiting")?;
        if waiting.split(',').any(|step| steps.iter().any(|wanted| wanted == step)) {
            waits.push(waiting);
        }
    }
    Ok(waits)
}

/// The sets of reasons, as the column has them, that the filter names: those with one of its reasons; together with a step, those
/// whose first reason is one of them, because the column of the step is of the first need.
async fn known_reasons(session: &mut dyn Session, filter: &OrderFilter) -> Result<Vec<String>, Failure> {
    let of_first = filter.stuck_step.is_some();
    if filter.reasons.is_empty() && !of_first {
        return Ok(Vec::new());
    }
    let is_named = |word: &str| filter.reasons.is_empty() || filter.reasons.iter().any(|reason| reason.word() == word);
    let mut known = Vec::new();
    for row in session.fetch(sql!("known_reasons"), Vec::new()).await? {
        let reason: String = row.get("reason")?;
        let asked = if of_first { 1 } else { usize::MAX };
        if reason.split(',').take(asked).any(is_named) {
            known.push(reason);
        }
    }
    Ok(known)
}

/// See [`super::Query::list_orders`].
pub async fn list(session: &mut dyn Session, it: &(OrderFilter, Page)) -> Result<Listed<Order>, Failure> {
    let (filter, page) = it;
    let after = cursor::read::<Place>(page)?;
    let Some(search) = Search::prepare(session, filter).await? else {
        return Ok(Listed { items: Vec::new(), next_cursor: None });
    };
    let binds = search.binds(after, rows::limit(page.limit.saturating_add(1)));
    let found = session.fetch(search.drive.list(), binds).await?;
    let orders = found.iter().map(rows::order).collect::<Result<Vec<_>, _>>()?;
    let place = |order: &Order| (order.created_at.0, order.key.saga.clone(), order.key.order_id.clone());
    Ok(cursor::cut(orders, page.limit, place)?)
}

/// See [`super::Query::count_orders`].
pub async fn count(session: &mut dyn Session, filter: &OrderFilter) -> Result<u64, Failure> {
    let Some(search) = Search::prepare(session, filter).await? else { return Ok(0) };
    let most = rows::int(COUNTED_EXACTLY + 1);
    let found = session.fetch(search.drive.count(), search.binds(None, most)).await?;
    let counted: u64 = found.first().map_or(Ok(0), |row| rows::number(row, "counted"))?;
    if counted <= COUNTED_EXACTLY {
        return Ok(counted);
    }
    let plan = session.fetch(sql!("estimate", "list_filter"), search.binds(None, most)).await?;
    let estimated = plan.first().map(|row| row.get::<String>("QUERY PLAN")).transpose()?.as_deref().and_then(planned);
    Ok(estimated.unwrap_or(counted).max(counted))
}

/// The number in `(cost=… rows=12345 width=…)`.
fn planned(line: &str) -> Option<u64> {
    let (_, after) = line.split_once("rows=")?;
    after.split(' ').next()?.parse().ok()
}

/// See [`super::Query::find_order`].
pub async fn find(session: &mut dyn Session, key: &OrderKey) -> Result<Option<Order>, Failure> {
    let binds = vec![Bind::Text(key.saga.clone()), Bind::Text(key.order_id.clone())];
    let found = session.fetch(sql!("find_order"), binds).await?;
    Ok(found.first().map(rows::order).transpose()?)
}

/// See [`super::Query::keys_after`].
pub async fn keys_after(session: &mut dyn Session, it: &(Option<OrderKey>, usize)) -> Result<Vec<OrderKey>, Failure> {
    let (saga, id) = it.0.clone().map_or_else(Default::default, |key| (key.saga, key.order_id));
    let binds = vec![Bind::Text(id), Bind::Text(saga), Bind::Int(rows::limit(it.1))];
    session.fetch(sql!("keys_after"), binds).await?.iter().map(|row| Ok(rows::key(row)?)).collect()
}

/// See [`super::Query::count_by_status`].
pub async fn count_by_status(session: &mut dyn Session) -> Result<Vec<StatusCount>, Failure> {
    let read = |row: &Row| {
        Ok(StatusCount {
            saga: row.get("saga")?,
            status: rows::word(row, "status", Status::from_word)?,
            count: rows::number(row, "orders")?,
        })
    };
    session.fetch(sql!("count_by_status"), Vec::new()).await?.iter().map(read).collect()
}

/// See [`super::Query::count_open`].
pub async fn count_open(session: &mut dyn Session) -> Result<OpenCounts, Failure> {
    let mut open = OpenCounts::default();
    for row in session.fetch(sql!("count_waiting"), Vec::new()).await? {
        let (saga, waiting): (String, String) = (row.get("saga")?, row.get("waiting")?);
        let count = rows::number(&row, "orders")?;
        let steps = waiting.split(',').map(str::to_owned);
        open.waiting.extend(steps.map(|step| WaitingCount { saga: saga.clone(), step, count }));
    }
    for row in session.fetch(sql!("count_quarantine"), Vec::new()).await? {
        open.quarantine.push((row.get("reason")?, rows::number(&row, "messages")?));
    }
    Ok(open)
}

/// See [`super::Query::stuck_groups`].
pub async fn stuck_groups(session: &mut dyn Session) -> Result<Vec<StuckGroup>, Failure> {
    let read = |row: &Row| -> Result<StuckGroup, StoreError> {
        Ok(StuckGroup {
            saga: row.get("saga")?,
            step: row.get("stuck_step")?,
            reason: rows::word(row, "reason", StuckReason::from_word)?,
            count: rows::number(row, "orders")?,
            first_at: rows::moment(row, "first_at")?,
            last_at: rows::moment(row, "last_at")?,
            samples: rows::from_json("samples", row.get::<&str>("samples")?)?,
        })
    };
    session.fetch(sql!("stuck_groups"), Vec::new()).await?.iter().map(|row| Ok(read(row)?)).collect()
}

/// See [`super::Query::due_orders`].
pub async fn due(
    session: &mut dyn Session,
    (watermarks, limit): &(std::collections::BTreeMap<String, Moment>, usize),
) -> Result<Vec<OrderKey>, Failure> {
    let all: Vec<_> = watermarks.iter().collect();
    let wanted: Rows = columns!(all; Text(|it| it.0.clone()), Int(|it| it.1.0));
    let binds = vec![Bind::Rows(wanted), Bind::Int(rows::limit(*limit))];
    session.fetch(sql!("due_orders"), binds).await?.iter().map(|row| Ok(rows::key(row)?)).collect()
}

/// See [`super::Store::next_due`].
pub async fn next_due(session: &mut dyn Session, after: Option<Moment>) -> Result<Option<Moment>, Failure> {
    let found = session.fetch(sql!("next_due"), vec![Bind::OptInt(after.map(|at| at.0))]).await?;
    Ok(found.first().map(|row| rows::opt_moment(row, "at")).transpose()?.flatten())
}
