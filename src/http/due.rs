//! What is due next: the orders with the nearest deadline, soonest first.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use super::surroundings::{Surroundings, as_of};
use super::view::{self, OrderView};
use crate::saga::time::{Moment, Span};

/// How far ahead is looked where nothing is said.
const WITHIN: Span = Span::from_secs(3_600);

/// Orders shown at most: each is read by itself, and a longer list is the order list.
const ORDERS_MAX: usize = 50;

/// Orders by their next deadline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DueList {
    /// The one due soonest first; `next` says when and what happens then.
    pub orders: Vec<OrderView>,
    /// How far ahead was looked.
    pub within: String,
    pub as_of: Option<String>,
}

/// Lists the orders whose deadline comes next, the soonest first; also those whose deadline waits for the watermark.
#[utoipa::path(get, path = "/v1/due", tag = "orders",
    params(
        ("saga" = Option<String>, Query, description = "Of one saga"),
        ("within" = Option<String>, Query, description = "How far ahead, like 10m; one hour when left out"),
        ("limit" = Option<u32>, Query, description = "How many: at most 50 are given"),
    ),
    responses(
        (status = 200, description = "The orders, the one due soonest first", body = DueList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_due(state: ApiState, uri: Uri) -> Result<Json<DueList>, Problem> {
    let params = Params::read(&uri, &["saga", "within", "limit"], None)?;
    let catalog = state.desk.catalog();
    let wanted = params.saga(&catalog)?;
    let within = params.span("within")?.unwrap_or(WITHIN);
    let limit = params.limit()?.min(ORDERS_MAX);
    let until = state.query.now().await? + within;
    let sagas = catalog.newest_all().map(|saga| saga.name.clone());
    let horizon: BTreeMap<String, Moment> =
        sagas.filter(|saga| wanted.as_ref().is_none_or(|it| it == saga)).map(|saga| (saga, until)).collect();
    let around = Surroundings::read(&state, horizon.keys().cloned().collect()).await?;
    let mut orders = Vec::new();
    for key in state.query.due_orders(horizon, limit).await? {
        // One that changed since is not due any more.
        let order = state.query.find_order(key).await?;
        orders.extend(order.map(|order| around.show(&order)).filter(|shown| shown.next.is_some()));
    }
    Ok(Json(DueList { orders, within: within.to_string(), as_of: view::time(as_of(&state, &catalog)) }))
}
