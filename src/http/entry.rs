//! One entry of an order's audit trail with the message behind it, as far as it is kept.
//!
//! Lists of entries leave messages out: they are large, and may hold what customers are called. Here one is read when a person
//! asks for it.

use axum::Json;
use axum::extract::Path;
use axum::http::Uri;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::{self, EntryView};
use super::orders::find;
use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use crate::saga::batch::StoredPayload;
use crate::saga::journal::hex;

/// One entry with its message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryDetail {
    pub entry: EntryView,
    /// Null where the entry is about no message, or its message was erased.
    pub payload: Option<PayloadView>,
}

/// A message as it was received.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PayloadView {
    pub message_id: String,
    /// Empty for events over HTTP.
    pub exchange: String,
    pub routing_key: String,
    /// Headers and properties.
    pub envelope: Value,
    /// The body where it is text.
    pub body: Option<String>,
    /// The body where it is not text. Null with `body`: it was too large to keep.
    pub body_base64: Option<String>,
    /// Hash of salt and body, hex: it stays when the body is erased.
    pub body_hash: String,
}

/// Shows one entry of an order's audit trail with its message.
#[utoipa::path(get, path = "/v1/sagas/{saga}/orders/{order_id}/audit/{sequence}", tag = "orders",
    params(
        ("saga" = String, Path), ("order_id" = String, Path),
        ("sequence" = u64, Path, description = "`sequence` of the entry, from 1"),
    ),
    responses(
        (status = 200, description = "The entry", body = EntryDetail),
        (status = 404, description = "No such saga, order or entry", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_order_entry(
    state: ApiState,
    uri: Uri,
    Path((saga, order_id, sequence)): Path<(String, String, String)>,
) -> Result<Json<EntryDetail>, Problem> {
    Params::read(&uri, &[], None)?;
    let order = find(&state, saga, order_id).await?;
    let last = order.sequence;
    let missing = || Problem::not_found(format!("the trail of the order has the entries 1 to {last}"));
    let wanted: u64 = sequence.parse().ok().filter(|it| (1..=last).contains(it)).ok_or_else(missing)?;
    let rows = state.query.audit(order.key.clone(), wanted - 1, 1).await?;
    let row = rows.first().filter(|row| row.sequence == wanted).ok_or_else(missing)?;
    let payload = state.query.payload(order.key, wanted).await?;
    Ok(Json(EntryDetail { entry: audit::entry(&state.desk.catalog(), row)?, payload: payload.map(payload_view) }))
}

fn payload_view(stored: StoredPayload) -> PayloadView {
    let (body, body_base64) = match stored.body.map(String::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(base64::engine::general_purpose::STANDARD.encode(error.as_bytes()))),
    };
    PayloadView {
        message_id: stored.message_id,
        exchange: stored.exchange,
        routing_key: stored.routing_key,
        envelope: stored.envelope,
        body,
        body_base64,
        body_hash: hex(&stored.body_hash),
    }
}
