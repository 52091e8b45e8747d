//! Every route, and who may call it. What is not in this table is answered by nobody.
//!
//! The tests walk it, role by role, and hold it against the routes that there are: a new route without a row fails them, and is
//! refused until it has one. A `HEAD` is a `GET` without the body.

use axum::http::Method;

use super::role::Role;
use crate::http::page;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Also those who show no token: nothing of an order is in the answer.
    Anyone,
    /// Whoever shows a token that is known.
    Known,
    Viewers,
    Operators,
    Admins,
    Senders,
}

impl Who {
    /// Whether a caller with this role may.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Anyone | Self::Known => true,
            Self::Viewers => matches!(role, Role::Viewer | Role::Operator | Role::Admin),
            Self::Operators => matches!(role, Role::Operator | Role::Admin),
            Self::Admins => matches!(role, Role::Admin),
            Self::Senders => matches!(role, Role::Sender | Role::Operator | Role::Admin),
        }
    }

    /// The least role that may.
    pub fn least(self) -> &'static str {
        match self {
            Self::Anyone | Self::Known => "any",
            Self::Viewers => "viewer",
            Self::Operators => "operator",
            Self::Admins => "admin",
            Self::Senders => "sender or operator",
        }
    }
}

/// How much of what Escrow knows an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What is asked for is cut down to the sagas of the caller.
    Sagas,
    /// It is of all sagas at once: a caller who is kept to some may not.
    Whole,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub method: &'static str,
    pub path: &'static str,
    pub who: Who,
    pub reach: Reach,
}

const fn row(method: &'static str, path: &'static str, who: Who) -> Row {
    Row { method, path, who, reach: Reach::Sagas }
}

const fn whole(method: &'static str, path: &'static str, who: Who) -> Row {
    Row { method, path, who, reach: Reach::Whole }
}

/// Every route of the API.
pub const TABLE: &[Row] = &[
    row("GET", "/v1/orders", Who::Viewers),
    row("GET", "/v1/sagas/{saga}/orders/{order_id}", Who::Viewers),
    row("GET", "/v1/sagas/{saga}/orders/{order_id}/audit", Who::Viewers),
    row("GET", "/v1/sagas/{saga}/orders/{order_id}/audit/{sequence}", Who::Viewers),
    row("POST", "/v1/sagas/{saga}/orders/{order_id}/actions", Who::Operators),
    row("GET", "/v1/due", Who::Viewers),
    row("GET", "/v1/search", Who::Viewers),
    row("GET", "/v1/flow", Who::Viewers),
    row("POST", "/v1/actions", Who::Operators),
    row("GET", "/v1/actions", Who::Viewers),
    row("GET", "/v1/actions/{id}", Who::Viewers),
    row("POST", "/v1/actions/{id}/stop", Who::Operators),
    row("GET", "/v1/sagas", Who::Viewers),
    row("GET", "/v1/sagas/{saga}", Who::Viewers),
    row("GET", "/v1/sagas/{saga}/stats", Who::Viewers),
    row("GET", "/v1/sagas/{saga}/events", Who::Viewers),
    row("PUT", "/v1/sagas/{saga}/mode", Who::Admins),
    row("PUT", "/v1/sagas/{saga}/version", Who::Admins),
    row("POST", "/v1/sagas/{saga}/migrate", Who::Admins),
    row("POST", "/v1/sagas/{saga}/brake/reset", Who::Operators),
    row("GET", "/v1/incidents", Who::Viewers),
    row("GET", "/v1/incidents/{id}", Who::Viewers),
    row("POST", "/v1/incidents/{id}/ack", Who::Operators),
    row("GET", "/v1/journal", Who::Viewers),
    row("GET", "/v1/status", Who::Viewers),
    // Servers, queues and files in words, of every saga.
    whole("GET", "/v1/doctor", Who::Viewers),
    row("GET", "/v1/quarantine", Who::Viewers),
    row("GET", "/v1/quarantine/reasons", Who::Viewers),
    row("GET", "/v1/quarantine/{id}", Who::Viewers),
    row("POST", "/v1/quarantine/{id}/replay", Who::Operators),
    row("POST", "/v1/quarantine/{id}/drop", Who::Operators),
    row("GET", "/v1/stream", Who::Viewers),
    // An event goes to every saga that names it.
    whole("POST", "/v1/events", Who::Senders),
    row("GET", "/v1/session", Who::Known),
    // Whoever signs in has not shown a token yet; the route looks at the one in the body.
    row("POST", "/v1/session", Who::Anyone),
    row("DELETE", "/v1/session", Who::Anyone),
    row("GET", "/livez", Who::Anyone),
    row("GET", "/readyz", Who::Anyone),
    whole("GET", "/metrics", Who::Viewers),
    // The same in every Escrow.
    row("GET", "/openapi.json", Who::Anyone),
    row("GET", "/docs", Who::Anyone),
    row("GET", ASSETS, Who::Anyone),
];

/// The files of the page; what it shows it asks the API for.
pub const ASSETS: &str = "/assets/{*path}";

/// The row of a route; `None` where the path does not take the method, or nobody said who may.
pub fn find(method: &Method, path: &str) -> Option<Row> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    if method == "GET" && page::PATHS.contains(&path) {
        return Some(row("GET", ASSETS, Who::Anyone));
    }
    TABLE.iter().find(|row| row.method == method && row.path == path).copied()
}
