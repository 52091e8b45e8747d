//! What happens around every handler: a span, a measure, safe headers, a time limit, and a problem instead of a panic.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Kind, Problem, unknown};
use super::state::ApiState;
use crate::telemetry::HttpLabels;

/// Longest any call but a stream may take. Every answer comes from an index; one that takes longer is of no use.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Nothing is loaded, framed or sent from what is shown; styles may stand in the page itself.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The span of a request. No query: it may hold what customers are called.
pub fn span(request: &Request) -> tracing::Span {
    let id = request.headers().get("x-request-id").and_then(|it| it.to_str().ok()).unwrap_or("");
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    tracing::debug_span!("http", method = %request.method(), route, request_id = id)
}

/// Answers 504 when a handler takes too long. What it asked of the desk goes on and is journaled.
pub async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::TimedOut, "it took too long; what was asked may still be done").into_response(),
    }
}

/// Measures every call by its route, never by its path.
pub async fn measure(
    State(state): State<ApiState>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = path.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let labels = HttpLabels { route, method: method_word(&method).to_owned(), code: response.status().as_u16().into() };
    state.metrics.http_duration.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    response
}

/// Methods are free text: only the known ones become labels.
fn method_word(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

/// Errors that no handler of ours made (a path that is no UTF-8, say) become problems too.
pub async fn only_problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("");
    if status.is_client_error() || status.is_server_error() {
        let is_ours = content_type.starts_with("application/problem+json") || content_type == "application/json";
        if !is_ours {
            let kind = match status.as_u16() {
                404 => Kind::NotFound,
                405 => Kind::MethodNotAllowed,
                413 => Kind::TooLarge,
                415 => Kind::UnsupportedMediaType,
                _ if status.is_client_error() => Kind::BadParameter,
                _ => Kind::Internal,
            };
            return Problem::new(kind, "the path or the request cannot be read").into_response();
        }
    }
    response
}

/// Sets the headers that keep browsers from doing more with an answer than showing it.
pub async fn guard_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The page has one of its own: it needs its scripts.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A path nobody answers.
pub async fn unknown_path(uri: Uri) -> Problem {
    let paths = super::docs::document()["paths"].as_object();
    let known = paths.into_iter().flatten().map(|(path, _)| path.as_str());
    Problem::not_found(unknown("path of this API (see /docs)", uri.path(), known))
}

/// A path that does not take the method.
pub async fn unknown_method(method: Method, uri: Uri) -> Problem {
    let said: String = uri.path().chars().take(200).collect();
    Problem::new(Kind::MethodNotAllowed, format!("`{said}` does not take {method}; /docs says what it takes"))
}

/// A handler that panicked: a fault of ours, said without details.
#[expect(clippy::needless_pass_by_value, reason = "the signature the layer asks for")]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    tracing::error!(panic = text, "a handler panicked");
    Problem::new(Kind::Internal, "Escrow has a fault; its log says more").into_response()
}
