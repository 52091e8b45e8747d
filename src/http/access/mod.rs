//! Who may come in, what they may do, and what they see.
//!
//! ```text
//!   request ─▶ guard: host ─▶ same origin ─▶ row of the table ─▶ token, or cookie of the page ─▶ role ─▶ share ─▶ handler
//!                                                                                                            │
//!                                  ApiState, cut down to the sagas of the caller ◀── taken by the handler ◀──┘
//! ```
//!
//! Without an access file Escrow listens on loopback alone, everybody on the machine may do everything, and names himself. With one,
//! every call but those of the table's `Anyone` shows a token. Handlers take [`ApiState`] as their argument and get the one their
//! caller may see; there is no other way to it, so none can forget to ask.

pub mod book;
mod desk;
pub mod guard;
mod merge;
pub mod oidc;
mod query;
pub mod role;
pub mod scope;
pub mod session;
pub mod table;
pub mod token;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

use self::book::Kept;
use self::desk::ScopedDesk;
use self::query::ScopedQuery;
use self::role::Role;
use self::scope::Scope;
use super::limits::{Hosts, Share, Shares};
use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::clock::{Clock as _, System};

/// Who calls.
#[derive(Clone, Debug)]
pub struct Principal {
    /// For the journal; `None` where nobody has to say who he is.
    pub name: Option<String>,
    pub role: Role,
    pub scope: Scope,
    share: Option<Arc<Share>>,
}

impl Principal {
    /// Whoever calls an Escrow that asks nobody.
    pub(in crate::http) fn anybody() -> Self {
        Self { name: None, role: Role::Admin, scope: Scope::All, share: None }
    }
}

/// Who may come in.
#[derive(Debug, Default)]
pub struct Access {
    /// `None`: everybody who reaches the address.
    book: Option<Kept>,
    hosts: Hosts,
    /// This Escrow itself speaks TLS.
    is_tls: bool,
    pub(in crate::http) shares: Shares,
}

impl Access {
    /// Those in the book, or everybody without one.
    pub fn new(book: Option<Kept>, hosts: Hosts, is_tls: bool) -> Self {
        Self { book, hosts, is_tls, shares: Shares::default() }
    }

    /// Keeps up with the access file until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        if let Some(book) = &self.book {
            book.follow(shutdown).await;
        }
    }

    /// Whether nobody has to show a token.
    pub fn is_open(&self) -> bool {
        self.book.is_none()
    }

    /// Who shows this token; `None` where it is not known, or expired.
    async fn who(&self, token: &str) -> Option<Principal> {
        let book = self.book.as_ref()?.book();
        let found = book.find(token, System.now());
        let (kind, name, role, scope) = if let Some(entry) = found {
            ("token", entry.name.clone(), entry.role, entry.scope.clone())
        } else {
            let person = book.provider.as_ref()?.who(token).await?;
            ("person", person.name, person.role, person.scope)
        };
        // A person may be called as a token is; their shares are two.
        let share = self.shares.of(&format!("{kind} {name}"), tokio::time::Instant::now());
        Some(Principal { name: Some(name), role, scope, share: Some(share) })
    }
}

/// What the router holds. Handlers get nothing out of it but what their caller may see.
#[derive(Clone)]
pub struct Door(ApiState);

impl Door {
    pub fn new(whole: ApiState) -> Self {
        Self(whole)
    }
}

impl FromRequestParts<Door> for ApiState {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let Some(principal) = parts.extensions.get::<Principal>() else {
            return Err(Problem::new(Kind::Internal, "nobody looked at who calls"));
        };
        Ok(seen(&door.0, principal))
    }
}

/// The API's state as a caller sees it.
fn seen(whole: &ApiState, by: &Principal) -> ApiState {
    let mut state = whole.clone();
    state.share.clone_from(&by.share);
    if let Scope::Sagas(_) = &by.scope {
        state.query = Arc::new(ScopedQuery::new(Arc::clone(&whole.query), by.scope.clone()));
        state.desk = Arc::new(ScopedDesk::new(Arc::clone(&whole.desk), Arc::clone(&state.query), by.scope.clone()));
        state.scope = by.scope.clone();
    }
    state
}
