//! Signing in to the page: a token is given once, and a cookie that no script can read shows it from then on.
//!
//! ```text
//!   POST /v1/session {token} ─▶ Set-Cookie: __Host-escrow=…; HttpOnly; SameSite=Strict; Secure
//!   every other call ─▶ the cookie; what changes something needs a header besides, which no other site's page can send
//! ```
//!
//! The cookie holds the token itself. So every replica knows it, no restart ends it, and a token that is taken out of the access file
//! ends every session of its at once; nothing about sessions is kept anywhere. A browser forgets it after half a day.

use axum::Json;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Principal;
use super::guard::{peer, wrong};
use crate::http::problem::{Kind, Problem, ProblemBody};
use crate::http::query::JsonBody;
use crate::http::state::ApiState;

/// Sent with every change the page asks for. A page of another site cannot: its browser would ask here first, and is not answered.
pub const PAGE_HEADER: &str = "x-escrow-page";

/// Over TLS. Browsers take a cookie of this name only if it is secure and of this very host.
const SECURE: &str = "__Host-escrow";

/// Over plain HTTP, on loopback or in a closed network.
const PLAIN: &str = "escrow-session";

/// How long a browser keeps it: a long day's work.
const SECONDS: u32 = 12 * 3600;

/// Who is signed in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Whether a token has to be shown at all.
    pub required: bool,
    /// The name that goes into the journal; null where nobody has to say who he is.
    pub name: Option<String>,
    /// `viewer`, `operator`, `admin` or `sender`.
    pub role: String,
    /// The sagas that are seen; null for all.
    pub sagas: Option<Vec<String>>,
}

/// Signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    pub token: String,
}

/// What became of signing out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedOut {
    pub signed_out: bool,
}

/// Says who calls.
#[utoipa::path(get, path = "/v1/session", tag = "session",
    responses(
        (status = 200, description = "Who calls, and what they may", body = SessionView),
        (status = 401, description = "No token, or one that is not known", body = ProblemBody,
            content_type = "application/problem+json"),
    ))]
pub async fn get_session(state: ApiState, extensions: Extensions) -> Result<Json<SessionView>, Problem> {
    let principal = extensions.get::<Principal>().cloned().unwrap_or_else(Principal::anybody);
    Ok(Json(view(&principal, !state.access.is_open())))
}

/// Signs a browser in: the token is shown from then on by a cookie that no script can read.
#[utoipa::path(post, path = "/v1/session", tag = "session", request_body = SignInRequest,
    responses(
        (status = 200, description = "Signed in", body = SessionView),
        (status = 401, description = "The token is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nobody has to sign in here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong ones", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn sign_in(
    state: ApiState,
    extensions: Extensions,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SignInRequest>,
) -> Result<Response, Problem> {
    if state.access.is_open() {
        return Err(Problem::new(Kind::Misfit, "this Escrow has no tokens: nobody has to sign in"));
    }
    let token = request.token.trim();
    let principal = state.access.who(token).await.ok_or_else(|| wrong(&state.access, peer(&extensions)))?;
    let cookie = cookie(token, SECONDS, state.access.is_tls || is_https(&headers));
    Ok(([(header::SET_COOKIE, cookie?)], Json(view(&principal, true))).into_response())
}

/// Signs a browser out: it forgets the cookie. The token stays good.
#[utoipa::path(delete, path = "/v1/session", tag = "session",
    responses((status = 200, description = "Signed out, if anybody was", body = SignedOut)))]
pub async fn sign_out(state: ApiState, headers: HeaderMap) -> Result<Response, Problem> {
    let cookie = cookie("", 0, state.access.is_tls || is_https(&headers))?;
    Ok(([(header::SET_COOKIE, cookie)], Json(SignedOut { signed_out: true })).into_response())
}

fn view(principal: &Principal, required: bool) -> SessionView {
    SessionView {
        required,
        name: principal.name.clone(),
        role: principal.role.word().to_owned(),
        sagas: principal.scope.names(),
    }
}

/// The browser's own word, where something in front of Escrow speaks TLS.
fn is_https(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn cookie(token: &str, seconds: u32, is_secure: bool) -> Result<HeaderValue, Problem> {
    let (name, secure) = if is_secure { (SECURE, "; Secure") } else { (PLAIN, "") };
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).map_err(|_| Problem::body("/token", "this is no token"))
}

/// The token a cookie shows.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut pairs = cookies.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    pairs.find(|(name, value)| (*name == SECURE || *name == PLAIN) && !value.is_empty()).map(|(_, value)| value)
}
