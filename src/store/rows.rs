//! Values to rows and back: the one place that knows how an order looks in a table.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use uuid::Uuid;

use super::StoreError;
use super::statement::Row;
use crate::saga::batch::SavedOrder;
use crate::saga::journal::hex;
use crate::saga::order::{Attribute, Earlier, Identity, Life, Order, OrderKey, StepState, StepStatus, TurnPhase};
use crate::saga::time::{Moment, Span};

/// The most that `waiting` holds: an index row of PostgreSQL must fit a third of a page. An order that waits for more
/// steps at once than fit is found by the first of them only.
const WAITING_BYTES: usize = 1_500;
/// Longer attribute values are searched by their hash, for the same reason.
const SEARCHED_BYTES: usize = 256;

/// What of an order is kept as JSON.
#[derive(Deserialize)]
struct State {
    life: Life,
    steps: Vec<StepState>,
}

#[derive(Serialize)]
struct StateRef<'a> {
    life: &'a Life,
    steps: &'a [StepState],
}

/// The columns of an order that are made from it and only searched, never read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    pub waiting: String,
    pub waiting_since: Option<i64>,
    pub reason: Option<String>,
    pub stuck_step: Option<String>,
    pub stuck_since: Option<i64>,
}

impl Searched {
    pub fn of(saved: &SavedOrder) -> Self {
        let order = &saved.order;
        let name = |step: usize| saved.step_names.get(step).cloned();
        let mut names: Vec<String> = order.waiting_on().filter_map(name).collect();
        names.sort_unstable();
        let need = order.first_need();
        Self {
            waiting: joined(&names),
            waiting_since: order.waiting_on().filter_map(|step| waiting_since(order, step)).min().map(|at| at.0),
            reason: reasons(order),
            stuck_step: need.and_then(|need| need.step).and_then(name),
            stuck_since: need.map(|need| need.since.0),
        }
    }
}

/// Why an order is stuck: the first need's reason first, then those of its other needs, each once and sorted, so that there are few
/// different texts.
fn reasons(order: &Order) -> Option<String> {
    let first = order.first_need()?.reason.word();
    let rest: BTreeSet<&str> =
        order.life.needs.iter().map(|need| need.reason.word()).filter(|it| *it != first).collect();
    Some(std::iter::once(first).chain(rest).collect::<Vec<_>>().join(","))
}

fn joined(names: &[String]) -> String {
    let mut text = String::new();
    for name in names {
        if text.len() + 1 + name.len() > WAITING_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
    }
    text
}

fn waiting_since(order: &Order, step: usize) -> Option<Moment> {
    let step = &order.steps[step];
    let turned = order.life.turn.as_ref().and_then(|turn| match turn.phase {
        TurnPhase::Turned(at) => Some(at),
        TurnPhase::Due(_) | TurnPhase::Withheld => None,
    });
    match step.status {
        StepStatus::Compensating | StepStatus::CompensationFailed => turned.or(step.undo.confirmed_at),
        StepStatus::Pending
        | StepStatus::Waiting
        | StepStatus::Done
        | StepStatus::Failed
        | StepStatus::TimedOut
        | StepStatus::Skipped
        | StepStatus::Compensated => step.opened_at,
    }
}

/// The value as it is searched for.
pub fn searched_value(value: &str) -> String {
    if value.len() <= SEARCHED_BYTES {
        without_nul(value)
    } else {
        format!("sha256:{}", hex(&sha2::Sha256::digest(value)))
    }
}

/// The attribute's value as people type it: text without quotes, all else as JSON.
pub fn searched_attribute(attribute: &Attribute) -> String {
    match attribute.value.as_str() {
        Some(text) => searched_value(text),
        None => searched_value(&attribute.value.to_string()),
    }
}

/// PostgreSQL keeps no NUL in text; where the text is only shown or searched, a mark stands for it.
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// JSON text of a value of ours; such values always have one.
pub fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads JSON that was stored.
pub fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// The order's `state`.
pub fn state(order: &Order) -> Result<String, StoreError> {
    json(&StateRef { life: &order.life, steps: &order.steps })
}

/// The names `saga` and `order_id` of a row.
pub fn key(row: &Row) -> Result<OrderKey, StoreError> {
    Ok(OrderKey { saga: row.get("saga")?, order_id: row.get("order_id")? })
}

/// A whole order.
pub fn order(row: &Row) -> Result<Order, StoreError> {
    let key = key(row)?;
    let unreadable = |error| match error {
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("order {key}: {why}")),
        other => other,
    };
    read_order(row, key.clone()).map_err(unreadable)
}

fn read_order(row: &Row, key: OrderKey) -> Result<Order, StoreError> {
    let State { life, steps } = from_json("state", row.get::<&str>("state")?)?;
    if life.status.word() != row.get::<&str>("status")? {
        return Err(StoreError::Corrupt("the status column differs from the state".to_owned()));
    }
    let seen: &[u8] = row.get("seen")?;
    let (identities, rest) = seen.as_chunks::<{ size_of::<Identity>() }>();
    if !rest.is_empty() {
        return Err(StoreError::Corrupt("the messages seen are cut off".to_owned()));
    }
    Ok(Order {
        key,
        version: number(row, "version")?,
        earlier: earlier(row)?,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
        sequence: number(row, "sequence")?,
        head: bytes(row, "head")?,
        life,
        steps,
        attributes: from_json("attributes", row.get::<&str>("attributes")?)?,
        seen: identities.to_vec(),
        duplicates: number(row, "duplicates")?,
    })
}

/// The versions an order was on before: `1 17,2 40`, each with its last entry; empty for nearly all.
pub fn earlier_text(earlier: &[Earlier]) -> String {
    let each: Vec<String> = earlier.iter().map(|was| format!("{} {}", was.version, was.until)).collect();
    each.join(",")
}

/// Reads them back.
pub fn earlier(row: &Row) -> Result<Vec<Earlier>, StoreError> {
    let text: &str = row.get("earlier")?;
    let read = |part: &str| {
        let (version, until) = part.split_once(' ')?;
        Some(Earlier { version: version.parse().ok()?, until: until.parse().ok()? })
    };
    let corrupt = |part: &str| StoreError::Corrupt(format!("column `earlier` holds `{part}`"));
    text.split(',').filter(|part| !part.is_empty()).map(|part| read(part).ok_or_else(|| corrupt(part))).collect()
}

/// A moment column.
pub fn moment(row: &Row, column: &str) -> Result<Moment, StoreError> {
    Ok(Moment(row.get(column)?))
}

/// A moment column that may be empty.
pub fn opt_moment(row: &Row, column: &str) -> Result<Option<Moment>, StoreError> {
    Ok(row.get::<Option<i64>>(column)?.map(Moment))
}

/// A span column.
pub fn span(row: &Row, column: &str) -> Result<Span, StoreError> {
    Ok(Span(row.get(column)?))
}

/// A number that is never negative.
pub fn number<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T, StoreError> {
    let value: i64 = row.get(column)?;
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("column `{column}` holds {value}")))
}

/// Exactly `N` bytes.
pub fn bytes<const N: usize>(row: &Row, column: &str) -> Result<[u8; N], StoreError> {
    let value: &[u8] = row.get(column)?;
    value.try_into().map_err(|_| StoreError::Corrupt(format!("column `{column}` holds {} bytes", value.len())))
}

/// A UUID kept as text by SQLite and read as text from PostgreSQL.
pub fn uuid(row: &Row, column: &str) -> Result<Uuid, StoreError> {
    let text: &str = row.get(column)?;
    Uuid::parse_str(text).map_err(|error| StoreError::Corrupt(format!("column `{column}`: {error}")))
}

/// A word of ours, read by `from_word`.
pub fn word<T>(row: &Row, column: &str, from_word: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = row.get(column)?;
    from_word(text).ok_or_else(|| StoreError::Corrupt(format!("column `{column}` holds `{text}`")))
}

/// A number for a column.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// As many as the caller asks for, as the statement takes it.
pub fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_searched_by_their_hash() {
        assert_eq!(searched_value("John Doe"), "John Doe");
        let long = "x".repeat(SEARCHED_BYTES + 1);
        assert!(searched_value(&long).starts_with("sha256:"));
        assert_ne!(searched_value(&long), searched_value(&format!("{long}y")));
    }

    #[test]
    fn waiting_names_never_outgrow_an_index_row() {
        let names: Vec<String> = (0..500).map(|n| format!("step-{n:04}")).collect();
        let text = joined(&names);
        assert!(text.len() <= WAITING_BYTES && text.starts_with("step-0000,step-0001,"));
        assert!(!text.ends_with(',') && text.split(',').all(|name| names.contains(&name.to_owned())));
    }
}
