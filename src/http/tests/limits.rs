//! What a connection may do to a listener: heads that do not end, heads that are too large, bodies that do not come.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::support::{FakeDesk, FakeStore};
use crate::http::serving::{Serving, serve};
use crate::http::state::ApiState;
use crate::telemetry::Metrics;

/// Reached only when a connection is never cut off.
const PATIENCE: Duration = Duration::from_mins(2);

fn server(metrics: Option<TcpListener>) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let (store, desk) = (Arc::new(FakeStore::default()), Arc::new(FakeDesk::default()));
    let state = ApiState::new(store, desk, Arc::new(Metrics::new()), CancellationToken::new());
    tokio::spawn(serve(listener, Serving { tls: None, metrics }, state, shutdown.clone()));
    (address, shutdown)
}

/// Says something and stays; gives what came back before the server closed the connection.
async fn told(address: SocketAddr, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough may close while the rest is being said.
    let _ = stream.write_all(said).await;
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("it is cut off");
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn a_slow_head_and_a_large_one_are_cut_off() {
    let (address, _shutdown) = server(None);
    let large = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let lines = "x-many: 1\r\n".repeat(200);
    let many = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let (slow, large, many, body) = tokio::join!(
        told(address, b"GET /livez HTTP/1.1\r\nhost: loc"),
        told(address, large.as_bytes()),
        told(address, many.as_bytes()),
        told(
            address,
            b"POST /v1/actions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
              content-length: 100\r\n\r\n{",
        ),
    );
    assert!(!slow.contains("200 OK"), "{slow}");
    for head in [large, many] {
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 431"), "{head}");
    }
    assert!(body.starts_with("HTTP/1.1 4"), "a body that does not come: {body}");
    let usual = told(address, b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(usual.starts_with("HTTP/1.1 200"), "{usual}");
}

#[tokio::test]
async fn metrics_are_served_on_an_address_of_their_own_and_nothing_else_is() {
    let aside = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = aside.local_addr().unwrap();
    let (_, shutdown) = server(Some(aside));
    let get = async |path: &str| {
        told(at, format!("GET {path} HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n").as_bytes()).await
    };
    assert!(get("/metrics").await.contains("escrow_"));
    assert!(get("/readyz").await.starts_with("HTTP/1.1 "));
    for other in ["/v1/orders", "/", "/docs", "/v1/session"] {
        assert!(get(other).await.starts_with("HTTP/1.1 404"), "{other}");
    }
    shutdown.cancel();
}
