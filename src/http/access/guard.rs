//! What every request passes before a handler sees it.
//!
//! The order matters. Whether the host and the origin are right is asked first, because a browser that was led astray shows a valid
//! cookie. Then who it is; only then what that one may, so that a stranger learns nothing about roles. What is refused for want of a
//! token looks the same for every path that needs one.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::session;
use super::table::{self, Reach, Row, Who};
use super::{Access, Principal, Scope};
use crate::http::layers::unknown_method;
use crate::http::limits::{InHand, Refusal, host};
use crate::http::problem::{Kind, Problem};
use crate::http::state::ApiState;

/// Lets a request through to its handler, or answers it.
pub async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let access = &state.access;
    if let Err(problem) = check_host(access, &request).and_then(|()| check_origin(&request)) {
        return problem.into_response();
    }
    let Some(path) = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned()) else {
        // Nobody's path: answered by the fallback, which knows nothing.
        return next.run(request).await;
    };
    let Some(row) = table::find(request.method(), &path) else {
        return unknown_method(request.method().clone(), request.uri().clone()).await.into_response();
    };
    // Only what the check needs: a body need not be shared between threads.
    let (parts, body) = request.into_parts();
    let admitted = admit(access, row, &parts).await;
    let mut request = Request::from_parts(parts, body);
    match admitted {
        Ok((principal, in_hand)) => {
            request.extensions_mut().insert(principal);
            let response = next.run(request).await;
            drop(in_hand);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(access: &Access, row: Row, request: &Parts) -> Result<(Principal, InHand), Problem> {
    if row.who == Who::Anyone {
        let in_hand = access.shares.begin_of_stranger().map_err(refused)?;
        return Ok((Principal::anybody(), in_hand));
    }
    let principal = if access.is_open() { Principal::anybody() } else { identify(access, request).await? };
    // First its rate: a caller who may not is not served faster than one who may.
    let in_hand = access.shares.begin(principal.share.as_deref(), Instant::now()).map_err(refused)?;
    if !row.who.admits(principal.role) {
        let (role, least) = (principal.role.word(), row.who.least());
        return Err(Problem::new(Kind::NotAllowed, format!("this needs the role {least}; the token has {role}")));
    }
    if row.reach == Reach::Whole && principal.scope != Scope::All {
        let why = "this concerns all sagas together, and the token is kept to some";
        return Err(Problem::new(Kind::NotAllowed, why));
    }
    Ok((principal, in_hand))
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::TooOften => Problem::new(Kind::TooMany, "this token asks too often; ask again in a second"),
        Refusal::TooMany => Problem::new(Kind::Unavailable, "too many calls are in hand; ask again in a second"),
    }
}

async fn identify(access: &Access, request: &Parts) -> Result<Principal, Problem> {
    let (shown, by_cookie) = match request.headers.get(header::AUTHORIZATION) {
        Some(value) => (value.to_str().ok().and_then(bearer), false),
        None => (session::token(&request.headers), true),
    };
    let Some(shown) = shown else {
        return Err(Problem::new(Kind::NotSignedIn, "show a token: `Authorization: Bearer escrow_…`"));
    };
    let Some(principal) = access.who(shown).await else { return Err(wrong(access, peer(&request.extensions))) };
    if by_cookie && !is_safe(&request.method) && !request.headers.contains_key(session::PAGE_HEADER) {
        let why = format!("what a cookie vouches for is done with the header `{}` alone", session::PAGE_HEADER);
        return Err(Problem::new(Kind::NotAllowed, why));
    }
    Ok(principal)
}

/// That a token is not known, told to each address so often.
pub fn wrong(access: &Access, peer: Option<SocketAddr>) -> Problem {
    if peer.is_some_and(|peer| !access.shares.may_be_wrong(peer.ip(), Instant::now())) {
        return Problem::new(Kind::TooMany, "too many wrong tokens came from this address; wait a minute");
    }
    Problem::new(Kind::NotSignedIn, "the token is not known, or has expired")
}

/// Where a request came from.
pub fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn check_host(access: &Access, request: &Request) -> Result<(), Problem> {
    access.hosts.check(request).map_err(|host| {
        let said: String = host.chars().take(80).collect();
        let why = format!("this Escrow does not answer to the name `{said}`; `--allow-host` adds one");
        Problem::new(Kind::WrongHost, why)
    })
}

/// What another site's page asks a browser to do is not done. Programs send neither header.
fn check_origin(request: &Request) -> Result<(), Problem> {
    if is_safe(request.method()) {
        return Ok(());
    }
    let text = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap_or("?"));
    let is_own = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => is_same(origin, request),
        (None, None) => true,
    };
    if is_own { Ok(()) } else { Err(Problem::new(Kind::NotAllowed, "the page of another site asks for this")) }
}

fn is_same(origin: &str, request: &Request) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let own = request.headers().get(header::HOST).and_then(|it| it.to_str().ok());
    own.map_or_else(|| host(request).is_some_and(|own| own == authority), |own| own.eq_ignore_ascii_case(authority))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
