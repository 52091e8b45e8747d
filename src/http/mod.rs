//! The HTTP API: what people and programs ask Escrow, and the events they send it.
//!
//! ```text
//!   request ─▶ request id ─▶ trace ─▶ panic guard ─▶ headers ─▶ measure ─▶ access ─▶ time limit ─▶ handler ─▶ Query / Desk
//! ```
//!
//! Handlers read through [`crate::store::Query`] and ask through [`state::Desk`]; none writes by itself. Every error is a
//! [`problem::Problem`]. The document at `/openapi.json` is made of the same functions that answer.

pub mod access;
mod actions;
pub mod audit;
mod brakes;
mod caller;
mod coverage;
mod docs;
mod doctor;
mod due;
mod entry;
mod events;
pub mod facts;
mod filter;
mod flow;
mod health;
mod incidents;
mod journal;
mod layers;
pub mod limits;
mod migrate;
mod orders;
pub mod page;
pub mod problem;
mod quarantine;
mod query;
mod sagas;
mod search;
pub mod serving;
pub mod state;
mod status;
mod stream;
mod surroundings;
#[cfg(test)]
pub(crate) mod tests;
pub mod tls;
pub mod view;
pub mod why;

use std::net::TcpListener;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::access::Door;
use self::state::ApiState;

/// Largest body of every call but events: actions are small.
const BODY_BYTES_MAX: usize = 2 << 20;

#[derive(OpenApi)]
#[openapi(info(
    title = "Escrow",
    description = "Follows the orders of choreographed services: where each one is, what it waits for, and why.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
struct Described;

/// Every route with its description. Streams stay apart: they have no time limit.
fn routers() -> (OpenApiRouter<Door>, OpenApiRouter<Door>) {
    let limited = OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(events::take_events))
        .layer(DefaultBodyLimit::max(events::EVENTS_BYTES_MAX))
        .routes(routes!(orders::list_orders))
        .routes(routes!(orders::get_order))
        .routes(routes!(orders::get_order_audit))
        .routes(routes!(entry::get_order_entry))
        .routes(routes!(orders::act_on_order))
        .routes(routes!(due::list_due))
        .routes(routes!(search::search_orders))
        .routes(routes!(actions::begin_bulk_action, actions::list_bulk_actions))
        .routes(routes!(actions::get_bulk_action))
        .routes(routes!(actions::stop_bulk_action))
        .routes(routes!(sagas::list_sagas))
        .routes(routes!(sagas::get_saga))
        .routes(routes!(sagas::get_saga_stats))
        .routes(routes!(coverage::get_saga_events))
        .routes(routes!(sagas::set_saga_mode))
        .routes(routes!(migrate::set_saga_version))
        .routes(routes!(migrate::migrate_orders))
        .routes(routes!(brakes::reset_saga_brake))
        .routes(routes!(incidents::list_incidents))
        .routes(routes!(incidents::get_incident))
        .routes(routes!(incidents::ack_incident))
        .routes(routes!(journal::list_journal))
        .routes(routes!(status::get_status))
        .routes(routes!(doctor::get_doctor))
        .routes(routes!(flow::get_flow))
        .routes(routes!(quarantine::list_quarantine))
        .routes(routes!(quarantine::list_reasons))
        .routes(routes!(quarantine::get_quarantined))
        .routes(routes!(quarantine::replay_quarantined))
        .routes(routes!(quarantine::drop_quarantined))
        .routes(routes!(access::session::get_session, access::session::sign_in, access::session::sign_out))
        .routes(routes!(health::get_livez))
        .routes(routes!(health::get_readyz))
        .routes(routes!(health::get_metrics))
        .routes(routes!(health::get_openapi))
        .routes(routes!(health::get_docs));
    (limited, OpenApiRouter::new().routes(routes!(stream::follow_journal)))
}

/// The OpenAPI document of every route.
pub fn described() -> utoipa::openapi::OpenApi {
    let (limited, streams) = routers();
    limited.merge(streams).into_openapi()
}

/// The whole API as one router.
pub fn router(state: ApiState) -> Router {
    let (limited, streams) = routers();
    let limited = Router::from(limited).layer(middleware::from_fn(layers::limit_time));
    limited
        .merge(Router::from(streams))
        .merge(page::router())
        .fallback(layers::unknown_path)
        .method_not_allowed_fallback(layers::unknown_method)
        .layer(middleware::from_fn_with_state(state.clone(), access::guard::guard))
        .layer(middleware::from_fn_with_state(state.clone(), layers::measure))
        .layer(middleware::from_fn(layers::only_problems))
        .layer(middleware::from_fn(layers::guard_headers))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(TraceLayer::new_for_http().make_span_with(layers::span))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyTimeoutLayer::new(limits::BODY_PAUSE))
        .with_state(Door::new(state))
}

/// Serves the API on a listener alone, without TLS.
///
/// # Errors
/// When the listener cannot be served.
pub async fn serve(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> std::io::Result<()> {
    serving::serve(listener, serving::Serving::default(), state, shutdown).await
}
