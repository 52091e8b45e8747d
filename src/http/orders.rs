//! Orders: the list with its filters, one order, its audit trail, and the actions of rule 15.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::{self, EntryView};
use super::caller::{self, Caller};
use super::filter;
use super::problem::{Problem, ProblemBody, unknown};
use super::query::{JsonBody, Params};
use super::state::{ApiState, Ask};
use super::surroundings::{Surroundings, as_of, known_saga};
use super::view::{self, OrderView};
use crate::saga::input::Action;
use crate::saga::order::{Order, OrderKey};
use crate::saga::time::Span;
use crate::store::JournalRow;

/// Orders, newest created first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderList {
    pub orders: Vec<OrderView>,
    pub next_cursor: Option<String>,
    /// With `count=true`: how many orders the filter names; exact up to ten thousand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    pub as_of: Option<String>,
}

/// The trail of one order, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditTrail {
    pub entries: Vec<EntryView>,
    pub next_cursor: Option<String>,
    pub as_of: Option<String>,
}

/// An action on one order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// `retry`, `skip`, `extend`, `compensate`, `release`, `drop`, `close` or `note`.
    pub action: String,
    /// The step it is about, where the action takes one.
    #[serde(default)]
    pub step: Option<String>,
    /// For `extend`: how much longer, like `30m`.
    #[serde(default)]
    pub by: Option<String>,
    /// Goes into the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What an action became.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActionAnswer {
    /// Sequence of the journal entry.
    pub sequence: u64,
}

/// Finds orders by any combination of filters.
#[utoipa::path(get, path = "/v1/orders", tag = "orders",
    params(
        ("order_id" = Option<String>, Query, description = "Exactly this order id, in any saga"),
        ("saga" = Option<String>, Query, description = "Sagas, separated by commas"),
        ("status" = Option<String>, Query, description = "Statuses, separated by commas"),
        ("waiting_on" = Option<String>, Query, description = "Steps, separated by commas"),
        ("stuck_on" = Option<String>, Query, description = "Only those this step holds up"),
        ("reason" = Option<String>, Query, description = "Orders that are stuck for one of these reasons, separated by commas, whatever else they are stuck for"),
        ("incident" = Option<String>, Query, description = "Id of an incident"),
        ("older_than" = Option<String>, Query, description = "The oldest wait is older than this, like `10m`"),
        ("attr.NAME" = Option<String>, Query, description = "An attribute has this value; NAME is the attribute's"),
        ("count" = Option<bool>, Query, description = "Add an estimate of how many there are"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "Orders, newest created first", body = OrderList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_orders(state: ApiState, uri: Uri) -> Result<Json<OrderList>, Problem> {
    let params = Params::read(&uri, filter::NAMES, Some(filter::ATTRIBUTE_PREFIX))?;
    let catalog = state.desk.catalog();
    let filter = filter::read(&params, &catalog)?;
    let page = params.page()?;
    let wants_count = params.flag("count")?;
    let listed = state.query.list_orders(filter.clone(), page).await?;
    let count = if wants_count { Some(state.query.count_orders(filter).await?) } else { None };
    let around = Surroundings::read(&state, listed.items.iter().map(|it| it.key.saga.clone()).collect()).await?;
    Ok(Json(OrderList {
        orders: listed.items.iter().map(|order| around.show(order)).collect(),
        next_cursor: listed.next_cursor,
        count,
        as_of: view::time(as_of(&state, &catalog)),
    }))
}

/// Shows one order.
#[utoipa::path(get, path = "/v1/sagas/{saga}/orders/{order_id}", tag = "orders",
    params(("saga" = String, Path), ("order_id" = String, Path, description = "Percent-encoded: it may hold any text")),
    responses(
        (status = 200, description = "The order", body = OrderView),
        (status = 404, description = "No such saga or order", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_order(
    state: ApiState,
    uri: Uri,
    Path((saga, order_id)): Path<(String, String)>,
) -> Result<Json<OrderView>, Problem> {
    Params::read(&uri, &[], None)?;
    let order = find(&state, saga, order_id).await?;
    let around = Surroundings::read(&state, BTreeSet::from([order.key.saga.clone()])).await?;
    Ok(Json(around.show(&order)))
}

/// Shows the audit trail of one order, oldest first.
#[utoipa::path(get, path = "/v1/sagas/{saga}/orders/{order_id}/audit", tag = "orders",
    params(
        ("saga" = String, Path), ("order_id" = String, Path),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The trail", body = AuditTrail),
        (status = 404, description = "No such saga or order", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_order_audit(
    state: ApiState,
    uri: Uri,
    Path((saga, order_id)): Path<(String, String)>,
) -> Result<Json<AuditTrail>, Problem> {
    let params = Params::read(&uri, &["limit", "cursor"], None)?;
    let limit = params.limit()?;
    let after: u64 = match params.text("cursor") {
        None => 0,
        Some(cursor) => cursor.parse().ok().filter(|&it| i64::try_from(it).is_ok()).ok_or_else(|| {
            Problem::new(
                super::problem::Kind::BadCursor,
                "the cursor is not one this list gave; begin again without it",
            )
        })?,
    };
    let order = find(&state, saga, order_id).await?;
    let mut rows: Vec<JournalRow> = state.query.audit(order.key.clone(), after, limit + 1).await?;
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let catalog = state.desk.catalog();
    Ok(Json(AuditTrail {
        next_cursor: rows.last().filter(|_| is_more).map(|row| row.sequence.to_string()),
        entries: rows.iter().map(|row| audit::entry(&catalog, row)).collect::<Result<_, _>>()?,
        as_of: view::time(state.desk.watermark(&order.key.saga)),
    }))
}

/// Acts on one order. With `Idempotency-Key`, the same key on the same order gives the first answer again.
#[utoipa::path(post, path = "/v1/sagas/{saga}/orders/{order_id}/actions", tag = "orders",
    params(
        ("saga" = String, Path), ("order_id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated call safe"),
        ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts"),
    ),
    request_body = ActionRequest,
    responses(
        (status = 202, description = "Done; it became this journal entry", body = ActionAnswer),
        (status = 400, description = "The action is not right", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga or order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It does not fit where the order stands", body = ProblemBody,
            content_type = "application/problem+json"),
    ))]
pub async fn act_on_order(
    state: ApiState,
    caller: Caller,
    Path((saga, order_id)): Path<(String, String)>,
    JsonBody(request): JsonBody<ActionRequest>,
) -> Result<(StatusCode, Json<ActionAnswer>), Problem> {
    let catalog = state.desk.catalog();
    known_saga(&catalog, &saga)?;
    let key = OrderKey { saga, order_id };
    let action = action_of(&request.action, request.by.as_deref())?;
    if let Some(step) = &request.step {
        let known = filter::step_names(&catalog, std::slice::from_ref(&key.saga));
        if !known.contains(step.as_str()) {
            return Err(Problem::body("/step", unknown("step", step, known)));
        }
    }
    let ask = Ask {
        idempotency_key: caller.key_for(&key),
        key,
        action,
        step: request.step,
        actor: caller.actor,
        reason: caller::reason(request.reason.as_deref())?,
    };
    let sequence = state.desk.act(ask).await?;
    Ok((StatusCode::ACCEPTED, Json(ActionAnswer { sequence })))
}

/// The action a word names, with how much longer where it is `extend`.
pub fn action_of(word: &str, by: Option<&str>) -> Result<Action, Problem> {
    let action = match word {
        "retry" => Action::Retry,
        "skip" => Action::Skip,
        "extend" => {
            let longer = Span::parse(by.unwrap_or(""))
                .map_err(|why| Problem::body("/by", format!("`extend` needs `by`: {why}")))?;
            if longer == Span::default() {
                return Err(Problem::body("/by", "`extend` needs `by`, longer than nothing"));
            }
            Action::Extend(longer)
        }
        "compensate" => Action::Compensate,
        "release" => Action::Release,
        "drop" => Action::Drop,
        "close" => Action::Close,
        "note" => Action::Note,
        _ => return Err(Problem::body("/action", unknown("action", word, Action::WORDS))),
    };
    if by.is_some() && word != "extend" {
        return Err(Problem::body("/by", format!("`{word}` takes no `by`")));
    }
    Ok(action)
}

pub async fn find(state: &ApiState, saga: String, order_id: String) -> Result<Order, Problem> {
    let key = OrderKey { saga, order_id };
    if let Some(order) = state.query.find_order(key.clone()).await? {
        return Ok(order);
    }
    known_saga(&state.desk.catalog(), &key.saga)?;
    let said: String = key.order_id.chars().take(256).collect();
    Err(Problem::not_found(format!("saga `{}` has no order `{said}`", key.saga)))
}
