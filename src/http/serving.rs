//! Serves the API on a listener, with or without TLS, until it is told to stop.
//!
//! ```text
//!   listener ─▶ few enough connections ─▶ (TLS) ─▶ HTTP, slow heads cut off ─▶ router
//!   metrics listener ─▶ /metrics /livez /readyz, without a token: for a network only the scraper reaches
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::extract::Request;
use axum::{Extension, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

use super::access::{Door, Principal};
use super::limits::{self, Bounded};
use super::state::ApiState;
use super::tls::Tls;
use super::{flow, health, router};

/// How long open requests may take once Escrow stops; what is not done by then is cut off.
const DRAIN: Duration = Duration::from_secs(10);

/// Where the API is served beside its listener.
#[derive(Debug, Default)]
pub struct Serving {
    pub tls: Option<Tls>,
    /// Another address for `/metrics`.
    pub metrics: Option<TcpListener>,
}

/// Serves the API until `shutdown`, then lets open requests finish within a deadline; live streams end at once.
///
/// # Errors
/// When a listener cannot be served.
pub async fn serve(
    listener: TcpListener,
    serving: Serving,
    state: ApiState,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let access = std::sync::Arc::clone(&state.access);
    let looking = tokio::spawn(flow::watch(state.clone()));
    let keeping_up = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { access.follow(shutdown).await }
    });
    let streams = state.shutdown.clone();
    let ending = shutdown.clone();
    let stopping = tokio::spawn(async move {
        ending.cancelled().await;
        streams.cancel();
    });
    let Serving { tls, metrics } = serving;
    let aside = async {
        match metrics {
            Some(listener) => listen(listener, None, metrics_router(state.clone()), shutdown.clone()).await,
            None => Ok(()),
        }
    };
    let main = listen(listener, tls, router(state.clone()), shutdown.clone());
    let served = tokio::try_join!(main, aside).map(|_| ());
    looking.abort();
    keeping_up.abort();
    stopping.abort();
    served
}

async fn listen(listener: TcpListener, tls: Option<Tls>, app: Router, shutdown: CancellationToken) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle = Handle::<SocketAddr>::new();
    let stopping = handle.clone();
    let told = shutdown.clone();
    let watcher = tokio::spawn(async move {
        told.cancelled().await;
        stopping.graceful_shutdown(Some(DRAIN));
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    let http = server.http_builder();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_WITHIN)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(limits::HEAD_WITHIN)
        .keep_alive_timeout(limits::HEAD_WITHIN);
    let served = match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls.served())
                .handshake_timeout(limits::HANDSHAKE_WITHIN)
                .acceptor(Bounded::default());
            let renewing = tokio::spawn(async move { tls.follow(shutdown).await });
            let served = server.acceptor(acceptor).serve(app).await;
            renewing.abort();
            served
        }
        None => server.acceptor(Bounded::default()).serve(app).await,
    };
    watcher.abort();
    served
}

/// What a scraper and a prober ask, and nothing else.
fn metrics_router(state: ApiState) -> Router {
    use axum::routing::get;
    Router::new()
        .route("/metrics", get(health::get_metrics))
        .route("/livez", get(health::get_livez))
        .route("/readyz", get(health::get_readyz))
        .fallback(async |request: Request| super::layers::unknown_path(request.uri().clone()).await)
        .layer(Extension(Principal::anybody()))
        .layer(axum::middleware::from_fn(super::layers::guard_headers))
        .with_state(Door::new(state))
}
