//! What could not be read or placed: looked at, replayed after a fix, or dropped with a reason.
//!
//! Bodies are foreign input. They are shown as text only where they are text, else as base64, and a list shows only their
//! beginning.

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, Uri};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::caller::{self, Caller};
use super::problem::{Problem, ProblemBody, unknown};
use super::query::{JsonBody, Params};
use super::state::ApiState;
use crate::saga::batch::QuarantineReason;
use crate::store::{QuarantineFilter, QuarantineRow};

/// Bytes of a body shown in a list.
const EXCERPT_BYTES: usize = 2_048;

/// Longest order id a person may name, as everywhere.
const ORDER_ID_BYTES_MAX: usize = 256;

const REASONS: [QuarantineReason; 9] = [
    QuarantineReason::Unreadable,
    QuarantineReason::NoEvent,
    QuarantineReason::NoOrderId,
    QuarantineReason::BadOrderId,
    QuarantineReason::BadEvent,
    QuarantineReason::ConditionFailed,
    QuarantineReason::Unplaced,
    QuarantineReason::CorruptOrder,
    QuarantineReason::Refused,
];

/// Messages in quarantine, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QuarantineList {
    pub messages: Vec<QuarantinedView>,
    pub next_cursor: Option<String>,
}

/// What waits in quarantine, by reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReasonList {
    pub reasons: Vec<ReasonView>,
}

/// How many messages wait for one reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    pub reason: String,
    pub count: u64,
}

/// A message in quarantine.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QuarantinedView {
    pub id: i64,
    pub at: String,
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    pub saga: Option<String>,
    pub event: Option<String>,
    pub order_id: Option<String>,
    pub exchange: String,
    pub routing_key: String,
    /// Headers and properties.
    pub envelope: Value,
    /// The body where it is text; in lists only its beginning.
    pub body: Option<String>,
    /// The body where it is not text.
    pub body_base64: Option<String>,
    /// Size of the body as it was received.
    pub body_bytes: u64,
    /// `replayed` or `dropped`, once it was.
    pub resolved: Option<String>,
    pub resolved_by: Option<String>,
    pub resolved_reason: Option<String>,
}

/// Replays a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Goes into the journal.
    #[serde(default)]
    pub reason: Option<String>,
    /// The order it belongs to, where the message does not say.
    #[serde(default)]
    pub order_id: Option<String>,
}

/// Drops a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropRequest {
    /// Goes into the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What became of a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResolvedAnswer {
    pub id: i64,
    /// `replayed` or `dropped`.
    pub resolved: String,
}

/// Lists what is in quarantine.
#[utoipa::path(get, path = "/v1/quarantine", tag = "quarantine",
    params(
        ("saga" = Option<String>, Query, description = "Of one saga"),
        ("reason" = Option<String>, Query, description = "For one reason"),
        ("exchange" = Option<String>, Query, description = "From one exchange"),
        ("resolved" = Option<bool>, Query, description = "Also those that were replayed or dropped"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "Messages, newest first", body = QuarantineList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_quarantine(state: ApiState, uri: Uri) -> Result<Json<QuarantineList>, Problem> {
    let params = Params::read(&uri, &["saga", "reason", "exchange", "resolved", "limit", "cursor"], None)?;
    let reasons: Vec<&str> = REASONS.iter().map(|it| it.word()).collect();
    if let Some(reason) = params.text("reason")
        && !reasons.contains(&reason)
    {
        return Err(Problem::parameter("reason", unknown("reason for quarantine", reason, reasons)));
    }
    let filter = QuarantineFilter {
        saga: params.saga(&state.desk.catalog())?,
        reason: params.text("reason").map(str::to_owned),
        exchange: params.text("exchange").map(str::to_owned),
        resolved: params.flag("resolved")?,
    };
    let listed = state.query.quarantine(filter, params.page()?).await?;
    Ok(Json(QuarantineList {
        messages: listed.items.into_iter().map(|row| quarantined_view(row, EXCERPT_BYTES)).collect(),
        next_cursor: listed.next_cursor,
    }))
}

/// Counts what waits in quarantine, by reason.
#[utoipa::path(get, path = "/v1/quarantine/reasons", tag = "quarantine",
    responses((status = 200, description = "Reasons for which something waits", body = ReasonList)))]
pub async fn list_reasons(state: ApiState, uri: Uri) -> Result<Json<ReasonList>, Problem> {
    Params::read(&uri, &[], None)?;
    let reasons = state.query.quarantine_reasons().await?;
    Ok(Json(ReasonList { reasons: reasons.into_iter().map(|(reason, count)| ReasonView { reason, count }).collect() }))
}

/// Shows one message in quarantine, with all that is kept of its body.
#[utoipa::path(get, path = "/v1/quarantine/{id}", tag = "quarantine", params(("id" = i64, Path)),
    responses(
        (status = 200, description = "The message", body = QuarantinedView),
        (status = 404, description = "No such message", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_quarantined(
    state: ApiState,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Json<QuarantinedView>, Problem> {
    Params::read(&uri, &[], None)?;
    let row = match id_of(&id) {
        Some(id) => state.query.quarantined(id).await?,
        None => None,
    };
    row.map(|row| Json(quarantined_view(row, usize::MAX))).ok_or_else(|| missing(&id))
}

/// Applies a message anew, after what was wrong was mended.
#[utoipa::path(post, path = "/v1/quarantine/{id}/replay", tag = "quarantine",
    params(("id" = i64, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts")),
    request_body = ReplayRequest,
    responses(
        (status = 202, description = "It is applied", body = ResolvedAnswer),
        (status = 404, description = "No such message", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Dealt with already, or still not readable", body = ProblemBody,
            content_type = "application/problem+json"),
    ))]
pub async fn replay_quarantined(
    state: ApiState,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ReplayRequest>,
) -> Result<(StatusCode, Json<ResolvedAnswer>), Problem> {
    let reason = caller::reason(request.reason.as_deref())?;
    let number = id_of(&id).ok_or_else(|| missing(&id))?;
    if let Some(order_id) = &request.order_id
        && (order_id.is_empty() || order_id.len() > ORDER_ID_BYTES_MAX || order_id.contains('\0'))
    {
        return Err(Problem::body("/order_id", "an order id has 1 to 256 bytes, none of them zero"));
    }
    state.desk.replay(number, request.order_id, caller.actor, reason).await?;
    Ok((StatusCode::ACCEPTED, Json(ResolvedAnswer { id: number, resolved: "replayed".to_owned() })))
}

/// Gives a message up, with a reason.
#[utoipa::path(post, path = "/v1/quarantine/{id}/drop", tag = "quarantine",
    params(("id" = i64, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts")),
    request_body = DropRequest,
    responses(
        (status = 202, description = "It is dropped", body = ResolvedAnswer),
        (status = 404, description = "No such message", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Dealt with already", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn drop_quarantined(
    state: ApiState,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<DropRequest>,
) -> Result<(StatusCode, Json<ResolvedAnswer>), Problem> {
    let reason = caller::reason(request.reason.as_deref())?;
    let number = id_of(&id).ok_or_else(|| missing(&id))?;
    state.desk.drop_quarantined(number, caller.actor, reason).await?;
    Ok((StatusCode::ACCEPTED, Json(ResolvedAnswer { id: number, resolved: "dropped".to_owned() })))
}

fn id_of(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn missing(id: &str) -> Problem {
    let said: String = id.chars().take(32).collect();
    Problem::not_found(format!("there is no message `{said}` in quarantine"))
}

fn quarantined_view(row: QuarantineRow, bytes_max: usize) -> QuarantinedView {
    let (body, body_base64) = shown(&row.body, bytes_max);
    QuarantinedView {
        id: row.id,
        at: row.at.rfc3339(),
        reason: row.reason,
        detail: row.detail,
        saga: row.saga,
        event: row.event,
        order_id: row.order_id,
        exchange: row.exchange,
        routing_key: row.routing_key,
        envelope: row.envelope,
        body,
        body_base64,
        body_bytes: row.body_bytes,
        resolved: row.resolved,
        resolved_by: row.resolved_by,
        resolved_reason: row.resolved_reason,
    }
}

/// The beginning of a body as text, or as base64 where it is no text.
fn shown(body: &[u8], bytes_max: usize) -> (Option<String>, Option<String>) {
    let cut = &body[..body.len().min(bytes_max)];
    match std::str::from_utf8(cut) {
        Ok(text) => (Some(text.to_owned()), None),
        // A cut may fall inside a character: what is before it is still text.
        Err(error) if error.error_len().is_none() && cut.len() < body.len() => {
            (Some(String::from_utf8_lossy(&cut[..error.valid_up_to()]).into_owned()), None)
        }
        Err(_) => (None, Some(base64::engine::general_purpose::STANDARD.encode(cut))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_text_or_base64_and_a_cut_never_splits_a_character() {
        assert_eq!(shown("{\"a\":1}".as_bytes(), 99), (Some("{\"a\":1}".to_owned()), None));
        assert_eq!(shown("aé".as_bytes(), 2), (Some("a".to_owned()), None));
        assert_eq!(shown(&[0xff, 0x00], 99), (None, Some("/wA=".to_owned())));
        assert_eq!(shown("é".as_bytes()[..1].as_ref(), 99), (None, Some("ww==".to_owned())));
    }
}
