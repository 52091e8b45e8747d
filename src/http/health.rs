//! For machines: alive, ready, metrics, and the API's own description.
//!
//! `/livez` says that the process answers. `/readyz` says that database and broker are connected and the database takes writes,
//! whether or not the watched exchanges exist yet. `/metrics` reads gauges of stored things afresh at each scrape, and still answers when the
//! database is away.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::state::ApiState;

/// How long a probe waits for the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether Escrow can do its work.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadinessView {
    pub ready: bool,
    /// `connected`, `away`, or `refusing` when it answers and takes no writes: a standby, a full disk.
    pub database: String,
    /// `connected`, `away`, or `none` when events come over HTTP only.
    pub broker: String,
}

/// Says that the process answers.
#[utoipa::path(get, path = "/livez", tag = "health",
    responses((status = 200, description = "It answers", body = String, content_type = "text/plain")))]
pub async fn get_livez() -> &'static str {
    "ok\n"
}

/// Says whether database and broker are connected.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Ready", body = ReadinessView),
        (status = 503, description = "Not ready", body = ReadinessView),
    ))]
pub async fn get_readyz(state: ApiState) -> (StatusCode, Json<ReadinessView>) {
    let database = matches!(tokio::time::timeout(PROBE_TIMEOUT, state.query.now()).await, Ok(Ok(_)));
    let status = state.desk.status();
    let broker = status.bus.map(|bus| bus.consuming_connected && bus.publishing_connected);
    let refusing = status.refusal.is_some();
    let ready = database && !refusing && broker.unwrap_or(true);
    let word = |connected: bool| if connected { "connected" } else { "away" }.to_owned();
    let view = ReadinessView {
        ready,
        database: if database && refusing { "refusing".to_owned() } else { word(database) },
        broker: broker.map_or_else(|| "none".to_owned(), word),
    };
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(view))
}

/// Metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "The metrics", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub async fn get_metrics(state: ApiState) -> Result<Response, Problem> {
    let read = async { (state.query.count_by_status().await, state.query.outbox_backlog().await) };
    if let Ok((Ok(counts), Ok(backlog))) = tokio::time::timeout(PROBE_TIMEOUT, read).await {
        state.metrics.set_stored(&counts, backlog);
    } else {
        tracing::debug!("the database is away: its gauges stay as they were");
    }
    let text = state.metrics.encode().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::new(Kind::Internal, "the metrics cannot be written")
    })?;
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// This API as an OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "The document", body = Object)))]
pub async fn get_openapi() -> Json<serde_json::Value> {
    Json(super::docs::document().clone())
}

/// This API as a page to read.
#[utoipa::path(get, path = "/docs", tag = "health",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub async fn get_docs() -> Html<&'static str> {
    Html(super::docs::page())
}
