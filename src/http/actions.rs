//! Actions on many orders: on what a filter names at one moment, at a rate, with what became of each.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::{self, Caller};
use super::filter;
use super::orders::action_of;
use super::problem::{Kind, Problem, ProblemBody, unknown};
use super::query::{JsonBody, Params};
use super::state::ApiState;
use super::surroundings::Surroundings;
use super::view;
use crate::saga::catalog::Catalog;
use crate::saga::input::Action;
use crate::saga::time::Span;
use crate::store::{BULK_ORDERS_MAX, Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, OrderFilter, Page};

/// Orders a second where nothing is said: a service that just came back is not run over.
const PER_SECOND: f64 = 10.0;

/// Each order is a transaction of its own, one after the other; more would be promised than kept.
const PER_SECOND_MAX: f64 = 100.0;

/// Orders a dry run shows.
const SAMPLES: usize = 10;

/// An action on every order a filter names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// The filter of `GET /v1/orders`, by the same names: text, or a list of texts. At least one. Besides, `order_ids`: a list of up to
    /// 1,000 orders, each an id or `{"saga": …, "order_id": …}`; of these, those that the rest of the filter names too.
    pub filter: BTreeMap<String, Value>,
    /// `retry`, `skip`, `extend`, `compensate`, `release`, `drop`, `close` or `note`.
    pub action: String,
    /// The step it is about, where the action takes one.
    #[serde(default)]
    pub step: Option<String>,
    /// For `extend`: how much longer, like `30m`.
    #[serde(default)]
    pub by: Option<String>,
    /// Goes into the journal of each order. A dry run needs none.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only say how many orders there are, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Orders a second, up to 100; 10 when left out.
    #[serde(default)]
    pub per_second: Option<f64>,
}

/// What a dry run answers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkPreview {
    pub dry_run: bool,
    /// Orders the filter names now; exact up to ten thousand.
    pub count: u64,
    /// Up to ten of them, the newest.
    pub samples: Vec<BulkSample>,
}

/// An order a dry run names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkSample {
    pub saga: String,
    pub order_id: String,
    pub status: String,
    pub why: String,
}

/// An action on many orders, and how far it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkView {
    pub id: String,
    /// `running`, `done` or `stopped`.
    pub status: String,
    pub action: String,
    pub step: Option<String>,
    pub by: Option<String>,
    /// As it was given, without `order_ids`.
    pub filter: BTreeMap<String, String>,
    /// How many orders were named one by one, by `order_ids`; null where none was. Which they are, the results say.
    pub named: Option<u64>,
    pub actor: String,
    pub reason: String,
    pub per_second: f64,
    /// Orders it is about: those that the filter named when it began.
    pub total: u64,
    pub done: u64,
    /// Did not fit the order; what stood against it is in its result.
    pub refused: u64,
    /// Orders that were there no more.
    pub gone: u64,
    /// Not acted on: their turn has not come, or the action was stopped before.
    pub left: u64,
    pub created_at: String,
    pub ended_at: Option<String>,
    pub stopped_by: Option<String>,
    pub stopped_reason: Option<String>,
}

/// Bulk actions, the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkList {
    pub actions: Vec<BulkView>,
    pub next_cursor: Option<String>,
}

/// A bulk action with what became of each order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkDetail {
    #[serde(flatten)]
    pub bulk: BulkView,
    /// In the sequence they are acted on: the oldest order first.
    pub results: Vec<BulkResultView>,
    pub next_cursor: Option<String>,
}

/// What became of one order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkResultView {
    pub saga: String,
    pub order_id: String,
    /// `done`, `refused` or `gone`; null while its turn has not come.
    pub outcome: Option<String>,
    /// Sequence of the journal entry it became.
    pub sequence: Option<u64>,
    /// What stood against it.
    pub detail: Option<String>,
    pub at: Option<String>,
}

/// Stops a bulk action.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkStopRequest {
    /// Why; kept with the action.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Acts on every order a filter names at this moment, one after the other, at a rate. An order that changed meanwhile so that the
/// filter names it no more is left alone. With `Idempotency-Key`, the same key gives the first action again.
#[utoipa::path(post, path = "/v1/actions", tag = "actions",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated call safe"),
        ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts"),
    ),
    request_body = BulkRequest,
    responses(
        (status = 200, description = "A dry run: what the filter names", body = BulkPreview),
        (status = 202, description = "It began", body = BulkView),
        (status = 400, description = "The action or the filter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn begin_bulk_action(
    state: ApiState,
    caller: Caller,
    JsonBody(mut request): JsonBody<BulkRequest>,
) -> Result<Response, Problem> {
    let catalog = state.desk.catalog();
    let action = action_of(&request.action, request.by.as_deref())?;
    let named = match request.filter.remove(filter::ORDER_IDS) {
        Some(value) => filter::named(&value, &catalog)?,
        None => Vec::new(),
    };
    let given = given(&request.filter)?;
    if given.is_empty() && named.is_empty() {
        return Err(Problem::body("/filter", "a filter that names nothing means every order; say which ones"));
    }
    let filter = OrderFilter { named, ..read_filter(&given, &catalog)? };
    if filter.order_id.is_some() && !filter.named.is_empty() {
        return Err(Problem::body("/filter/order_id", "say `order_id` or `order_ids`, not both"));
    }
    if let Some(step) = &request.step {
        let known = filter::step_names(&catalog, &filter.sagas);
        if !known.contains(step.as_str()) {
            return Err(Problem::body("/step", unknown("step", step, known)));
        }
    }
    let every = every(request.per_second.unwrap_or(PER_SECOND))?;
    if request.dry_run {
        return Ok(Json(preview(&state, filter).await?).into_response());
    }
    let reason = caller::reason(request.reason.as_deref())?;
    let id = caller.id_for("bulk");
    let named = u64::try_from(filter.named.len()).unwrap_or(u64::MAX);
    let ask = BulkAsk { filter, given, action, step: request.step, actor: caller.actor, reason, every, named };
    let bulk = state.desk.begin_bulk(id, ask).await?.ok_or_else(|| {
        Problem::body("/filter", format!("the filter names more than {BULK_ORDERS_MAX} orders; narrow it"))
    })?;
    Ok((StatusCode::ACCEPTED, Json(bulk_view(bulk))).into_response())
}

/// Lists bulk actions and how far they are, the newest first.
#[utoipa::path(get, path = "/v1/actions", tag = "actions",
    params(
        ("status" = Option<String>, Query, description = "`running`, `done` or `stopped`"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The actions", body = BulkList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_bulk_actions(state: ApiState, uri: Uri) -> Result<Json<BulkList>, Problem> {
    let params = Params::read(&uri, &["status", "limit", "cursor"], None)?;
    let status = match params.text("status") {
        None => None,
        Some(word) => Some(BulkState::from_word(word).ok_or_else(|| {
            Problem::parameter("status", unknown("status of an action", word, BulkState::ALL.map(BulkState::word)))
        })?),
    };
    let listed = state.query.bulks(status, params.page()?).await?;
    let actions = listed.items.into_iter().map(bulk_view).collect();
    Ok(Json(BulkList { actions, next_cursor: listed.next_cursor }))
}

/// Shows how far a bulk action is, with what became of each order.
#[utoipa::path(get, path = "/v1/actions/{id}", tag = "actions",
    params(
        ("id" = String, Path),
        ("outcome" = Option<String>, Query, description = "Only orders of which became this: `done`, `refused` or `gone`"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The action", body = BulkDetail),
        (status = 404, description = "No such action", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_bulk_action(state: ApiState, uri: Uri, Path(id): Path<String>) -> Result<Json<BulkDetail>, Problem> {
    let params = Params::read(&uri, &["outcome", "limit", "cursor"], None)?;
    let outcome = params.text("outcome").map(str::to_owned);
    if let Some(word) = &outcome
        && !BulkOutcome::WORDS.contains(&word.as_str())
    {
        return Err(Problem::parameter("outcome", unknown("outcome", word, BulkOutcome::WORDS)));
    }
    let page = params.page()?;
    let known = known(&id)?;
    let bulk = state.query.bulk(known).await?.ok_or_else(|| no_such(&id))?;
    let listed = state.query.bulk_orders(known, outcome, page).await?;
    Ok(Json(BulkDetail {
        bulk: bulk_view(bulk),
        results: listed.items.into_iter().map(result_view).collect(),
        next_cursor: listed.next_cursor,
    }))
}

/// Stops a bulk action after the order in hand. What was done stays.
#[utoipa::path(post, path = "/v1/actions/{id}/stop", tag = "actions",
    params(("id" = String, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts")),
    request_body = BulkStopRequest,
    responses(
        (status = 202, description = "It is stopped", body = BulkView),
        (status = 404, description = "No such action", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is done already", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn stop_bulk_action(
    state: ApiState,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<BulkStopRequest>,
) -> Result<(StatusCode, Json<BulkView>), Problem> {
    let known = known(&id)?;
    let reason = caller::reason(request.reason.as_deref())?;
    let bulk = state.desk.stop_bulk(known, caller.actor, reason).await?.ok_or_else(|| no_such(&id))?;
    if bulk.state == BulkState::Done {
        return Err(Problem::new(Kind::Misfit, format!("action {id} is done already: there is nothing to stop")));
    }
    Ok((StatusCode::ACCEPTED, Json(bulk_view(bulk))))
}

fn known(id: &str) -> Result<Uuid, Problem> {
    id.parse().map_err(|_| no_such(id))
}

fn no_such(id: &str) -> Problem {
    let said: String = id.chars().take(80).collect();
    Problem::not_found(format!("there is no action `{said}`"))
}

/// The filter as the words of the order list.
fn given(filter: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Problem> {
    let words = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            items.iter().map(Value::as_str).collect::<Option<Vec<&str>>>().map(|items| items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let read = |(name, value): (&String, &Value)| match words(value).filter(|it| !it.is_empty()) {
        Some(words) => Ok((name.clone(), words)),
        None => Err(Problem::body(&pointer(name), format!("`{name}` is a text or a list of texts, and not empty"))),
    };
    filter.iter().map(read).collect()
}

fn read_filter(given: &BTreeMap<String, String>, catalog: &Catalog) -> Result<OrderFilter, Problem> {
    let pairs = given.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let read = Params::given(pairs, filter::FILTERS, Some(filter::ATTRIBUTE_PREFIX));
    read.and_then(|params| filter::read(&params, catalog)).map_err(|problem| {
        let errors = problem.errors.into_iter().map(|mut fault| {
            fault.pointer = pointer(&fault.pointer);
            fault
        });
        Problem { kind: Kind::BadBody, errors: errors.collect(), ..problem }
    })
}

fn pointer(name: &str) -> String {
    format!("/filter/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The time from one order to the next.
#[expect(clippy::cast_possible_truncation, reason = "bounded: from 10 ms to 100 s")]
fn every(per_second: f64) -> Result<Span, Problem> {
    if !(0.01..=PER_SECOND_MAX).contains(&per_second) {
        let why = format!("`per_second` is a number from 0.01 to {PER_SECOND_MAX}");
        return Err(Problem::body("/per_second", why));
    }
    Ok(Span((1e6 / per_second) as i64))
}

async fn preview(state: &ApiState, filter: OrderFilter) -> Result<BulkPreview, Problem> {
    let listed = state.query.list_orders(filter.clone(), Page { limit: SAMPLES, cursor: None }).await?;
    let count = state.query.count_orders(filter).await?;
    let around = Surroundings::read(state, listed.items.iter().map(|it| it.key.saga.clone()).collect()).await?;
    let samples = listed.items.iter().map(|order| around.show(order)).map(|shown| BulkSample {
        saga: shown.saga,
        order_id: shown.order_id,
        status: shown.status,
        why: shown.why,
    });
    Ok(BulkPreview { dry_run: true, count, samples: samples.collect() })
}

fn bulk_view(bulk: Bulk) -> BulkView {
    let Bulk { id, ask, state, total, done, refused, gone, created_at, ended_at, stopped_by, stopped_reason } = bulk;
    let by = if let Action::Extend(by) = ask.action { Some(by.to_string()) } else { None };
    BulkView {
        id: id.to_string(),
        status: state.word().to_owned(),
        action: ask.action.word().to_owned(),
        step: ask.step,
        by,
        filter: ask.given,
        named: (ask.named > 0).then_some(ask.named),
        actor: ask.actor,
        reason: ask.reason,
        per_second: (1e3 / ask.every.as_secs_f64()).round() / 1e3,
        total,
        done,
        refused,
        gone,
        left: total.saturating_sub(done + refused + gone),
        created_at: created_at.rfc3339(),
        ended_at: view::time(ended_at),
        stopped_by,
        stopped_reason,
    }
}

fn result_view(order: BulkOrder) -> BulkResultView {
    let (sequence, detail) = match &order.outcome {
        Some(BulkOutcome::Done(sequence)) => (Some(*sequence), None),
        Some(BulkOutcome::Refused(why)) => (None, Some(why.clone())),
        Some(BulkOutcome::Gone) | None => (None, None),
    };
    BulkResultView {
        saga: order.key.saga,
        order_id: order.key.order_id,
        outcome: order.outcome.map(|outcome| outcome.word().to_owned()),
        sequence,
        detail,
        at: view::time(order.at),
    }
}
