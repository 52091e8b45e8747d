//! A client that asks over HTTP as fast as it is answered: some connections that stay open, one request after the other on each.
//!
//! It writes HTTP/1.1 by hand and reads no more of an answer than its length, so that it takes little of the machine from the
//! server it measures.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::load;

/// What is asked, for how long, and where the answer to that goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Host and port.
    pub server: String,
    /// What stands before an order's id; asked as it is when there are no `orders`.
    pub path: String,
    pub orders: u64,
    pub connections: u64,
    pub seconds: f64,
    /// The file the figures are written to.
    pub figures: String,
}

/// What it came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Asked {
    /// As [`ask`] wrote it down.
    pub fn read(file: &Path) -> Self {
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }
}

/// Asks, and writes down the figures.
pub async fn ask(asking: &Ask) {
    let began = Instant::now();
    let mut connections = tokio::task::JoinSet::new();
    for number in 0..asking.connections {
        connections.spawn(connection(asking.clone(), number, began));
    }
    let took: Vec<f64> = connections.join_all().await.into_iter().flatten().collect();
    let asked = Asked {
        per_second: took.len() as f64 / began.elapsed().as_secs_f64(),
        p50_ms: super::table::quantile(&took, 0.5),
        p99_ms: super::table::quantile(&took, 0.99),
    };
    std::fs::write(&asking.figures, serde_json::to_vec(&asked).unwrap()).unwrap();
}

async fn connection(asking: Ask, number: u64, began: Instant) -> Vec<f64> {
    let stream = TcpStream::connect(&asking.server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let (mut took, mut body) = (Vec::new(), Vec::new());
    // Each connection begins elsewhere, and a step that shares no factor with the count visits all orders.
    let mut order = number * asking.orders / asking.connections.max(1);
    while began.elapsed() < Duration::from_secs_f64(asking.seconds) {
        let id = if asking.orders > 0 { load::order_id(order) } else { String::new() };
        order = (order + 7_919) % asking.orders.max(1);
        let request = format!("GET {}{id} HTTP/1.1\r\nhost: {}\r\n\r\n", asking.path, asking.server);
        let asked = Instant::now();
        stream.get_mut().write_all(request.as_bytes()).await.unwrap();
        answer(&mut stream, &mut body, &request).await;
        took.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    took
}

async fn answer(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>, request: &str) {
    let (mut line, mut length, mut is_first) = (String::new(), None, true);
    loop {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the connection was closed");
        assert!(!is_first || line.starts_with("HTTP/1.1 200"), "{request}{line}");
        is_first = false;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((_, value)) = header.split_once(": ").filter(|it| it.0.eq_ignore_ascii_case("content-length")) {
            length = value.parse::<usize>().ok();
        }
    }
    body.resize(length.expect("an answer says how long it is"), 0);
    stream.read_exact(body).await.unwrap();
}
