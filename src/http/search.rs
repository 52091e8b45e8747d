//! Finding an order by the beginning of its id: what the search box of the page asks while somebody types.

use axum::Json;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use crate::saga::order::OrderKey;

/// Orders given at most: each is read by itself, and more are not looked through.
const FOUND_MAX: usize = 20;

/// Orders whose id begins as asked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// By id and then saga, so the exact id comes first.
    pub orders: Vec<FoundOrder>,
    /// There are more than were given.
    pub more: bool,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FoundOrder {
    pub saga: String,
    pub order_id: String,
    pub status: String,
}

/// Finds orders by the beginning of their id, in any saga.
#[utoipa::path(get, path = "/v1/search", tag = "orders",
    params(
        ("text" = String, Query, description = "What the id begins with, exactly as it is written"),
        ("limit" = Option<u32>, Query, description = "How many: at most 20 are given"),
    ),
    responses(
        (status = 200, description = "Orders by id", body = Found),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn search_orders(state: ApiState, uri: Uri) -> Result<Json<Found>, Problem> {
    let params = Params::read(&uri, &["text", "limit"], None)?;
    let text = params.text("text").unwrap_or("");
    if text.is_empty() {
        return Err(Problem::parameter("text", "say what the id begins with"));
    }
    let limit = params.limit()?.min(FOUND_MAX);
    // No saga has an empty name: nothing comes before this that begins with the text.
    let before = OrderKey { saga: String::new(), order_id: text.to_owned() };
    let mut keys = state.query.keys_after(Some(before), limit + 1).await?;
    keys.retain(|key| key.order_id.starts_with(text));
    let more = keys.len() > limit;
    keys.truncate(limit);
    let mut orders = Vec::with_capacity(keys.len());
    for key in keys {
        let order = state.query.find_order(key).await?;
        orders.extend(order.map(|order| FoundOrder {
            status: order.life.status.word().to_owned(),
            saga: order.key.saga,
            order_id: order.key.order_id,
        }));
    }
    Ok(Json(Found { orders, more }))
}
