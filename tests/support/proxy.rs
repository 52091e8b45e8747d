//! A network that can be broken: a TCP proxy between Escrow and its database or broker.
//!
//! ```text
//!   Escrow ──▶ Proxy ──▶ PostgreSQL or RabbitMQ
//!                │ pass · silent (nothing passes, nothing ends) · slow (delay, throttle)
//!                │ reset() every connection, refuse new ones, lead new ones elsewhere (a failover)
//!                └ a trap: at the first bytes that match (a commit's answer, a compensation), reset or fall silent
//! ```
//!
//! It never changes a byte and never reorders. What is silent stays in the sockets' buffers and passes on when the line is mended,
//! as it does when a cable is plugged in again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Read at once; also the burst of a slow line.
const CHUNK_BYTES: usize = 16 << 10;

/// Where bytes are going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    Server,
    Client,
}

/// What a trap does with the line. The bytes that sprang it never arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// This connection is reset.
    Reset,
    /// All connections fall silent, until [`Proxy::pass`].
    Silence,
}

/// Waits for bytes.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    pub toward: Toward,
    pub pattern: &'static [u8],
    pub then: Then,
}

/// How the line is now.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Connections of an earlier one are reset.
    generation: u64,
    silent: bool,
    refusing: bool,
    delay: Duration,
    bytes_per_second: Option<u64>,
}

struct Shared {
    line: watch::Sender<Line>,
    port: Mutex<u16>,
    /// The trap, how often it may still spring, and how often it has.
    trap: Mutex<(Option<Trap>, usize, usize)>,
}

/// Why a connection ends before its peers end it.
enum Cut {
    Reset,
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Stands before the server that `url` names.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (line, _) = watch::channel(Line::default());
        let shared = Arc::new(Shared { line, port: Mutex::new(port_of(url)), trap: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { port, shared, accepting }
    }

    /// The same URL through this proxy.
    pub fn url(&self, url: &str) -> String {
        url.replace(&format!(":{}/", port_of(url)), &format!(":{}/", self.port))
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        self.shared.line.send_modify(change);
    }

    /// Everything passes at once, and what was held back.
    pub fn pass(&self) {
        self.change(|line| *line = Line { generation: line.generation, ..Line::default() });
    }

    /// Nothing passes, and nobody is told.
    pub fn silence(&self) {
        self.change(|line| line.silent = true);
    }

    /// Every connection is reset; new ones are taken.
    pub fn reset(&self) {
        self.change(|line| line.generation += 1);
    }

    /// Every connection is reset, and new ones too, until [`pass`](Self::pass).
    pub fn refuse(&self) {
        self.change(|line| {
            line.generation += 1;
            line.refusing = true;
        });
    }

    /// A slow line, each way.
    pub fn slow(&self, delay: Duration, bytes_per_second: u64) {
        self.change(|line| (line.delay, line.bytes_per_second) = (delay, Some(bytes_per_second)));
    }

    /// Connections are reset, and led to another server from now on.
    pub fn lead_to(&self, url: &str) {
        *lock(&self.shared.port) = port_of(url);
        self.reset();
    }

    /// Sets a trap that springs up to so many times.
    pub fn trap(&self, trap: Trap, times: usize) {
        *lock(&self.shared.trap) = (Some(trap), times, 0);
    }

    /// How often the trap has sprung.
    pub fn sprung(&self) -> usize {
        lock(&self.shared.trap).2
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connect(client, Arc::clone(&shared)));
    }
}

/// One connection, until either side ends it or the line does.
async fn connect(mut client: TcpStream, shared: Arc<Shared>) {
    let mut line = shared.line.subscribe();
    let born = line.borrow().generation;
    let refusing = line.wait_for(|line| !line.silent).await.map_or(true, |line| line.refusing);
    if refusing {
        return reset(client);
    }
    let port = *lock(&shared.port);
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return reset(client) };
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            ended = async { tokio::try_join!(
                carry(from_client, to_server, Toward::Server, &shared),
                carry(from_server, to_client, Toward::Client, &shared),
            ) } => ended.map(drop),
            _ = line.wait_for(|line| line.generation != born) => Err(Cut::Reset),
        }
    };
    if let Err(Cut::Reset) = ended {
        reset(client);
        reset(server);
    }
}

/// Carries bytes one way, until there are no more.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, toward: Toward, shared: &Shared) -> Result<(), Cut> {
    let mut line = shared.line.subscribe();
    let (mut chunk, mut tail) = (vec![0; CHUNK_BYTES], Vec::new());
    loop {
        let read = from.read(&mut chunk).await.map_err(|_| Cut::Reset)?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| Cut::Reset);
        }
        match sprung(shared, toward, &mut tail, &chunk[..read]) {
            Some(Then::Reset) => return Err(Cut::Reset),
            // These bytes are lost, so this connection is of no use once the line is mended.
            Some(Then::Silence) => {
                shared.line.send_modify(|line| line.silent = true);
                line.wait_for(|line| !line.silent).await.ok();
                return Err(Cut::Reset);
            }
            None => {}
        }
        let now = *line.wait_for(|line| !line.silent).await.map_err(|_| Cut::Reset)?;
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        let paced = now.bytes_per_second.map_or(0, |rate| bytes.saturating_mul(1_000_000) / rate);
        let pause = now.delay + Duration::from_micros(paced);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        to.write_all(&chunk[..read]).await.map_err(|_| Cut::Reset)?;
    }
}

/// Whether the trap springs at these bytes. The pattern may begin in the bytes before.
fn sprung(shared: &Shared, toward: Toward, tail: &mut Vec<u8>, chunk: &[u8]) -> Option<Then> {
    let mut state = lock(&shared.trap);
    let (Some(trap), left, times) = &mut *state else { return None };
    if trap.toward != toward || *left == 0 {
        return None;
    }
    tail.extend_from_slice(chunk);
    let found = tail.windows(trap.pattern.len()).any(|bytes| bytes == trap.pattern);
    let keep = tail.len().saturating_sub(trap.pattern.len() - 1);
    tail.drain(..keep);
    if !found {
        return None;
    }
    tail.clear();
    *left -= 1;
    *times += 1;
    Some(trap.then)
}

/// Closes without a goodbye: what is unsent is lost, and the peer gets an error.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
    drop(stream);
}

/// The port in `scheme://user@127.0.0.1:PORT/name`.
fn port_of(url: &str) -> u16 {
    let after_host = url.rsplit_once("127.0.0.1:").expect("a server of ours").1;
    let digits = after_host.split(|it: char| !it.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).expect("a port")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
