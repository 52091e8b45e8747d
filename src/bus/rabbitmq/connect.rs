//! One supervised connection to the broker: always there, or being made again.
//!
//! Promises that a [`Live`] connection is replaced as soon as it ends, for ever, with a growing and jittered wait between
//! attempts, and that a connection given up leaves neither a thread nor a socket behind. It never recovers anything inside a
//! connection: whoever used channels of the old one builds them again on the next.
//!
//! ```text
//!   supervise: connect ──ok──▶ Live ──ended, or given up──▶ wait 0.5 … 30 s ──▶ connect …
//!                 └── refused (credentials, vhost): said at error level, tried again every 30 s
//! ```
//!
//! Where calls may be refused they go through [`Live::ask`]. A refusal closes its channel, and the client library then poisons the
//! channel's number for good: the next channel to get that number fails at once with the old refusal. Numbers come round only
//! after all were used, so a connection is replaced before that, and an error on opening a channel is never taken for an answer.
//!
//! The socket is opened here and not by the client library: a handshake that is abandoned there would keep its thread until the
//! peer hangs up, so a second handle on the socket is kept to shut it down. Everything read from it goes through [`frames`].

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_compat::CompatExt;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ErrorKind};
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::frames::{self, Wire};
use crate::bus::BusError;

/// Resolving and connecting; a broker in reach answers in milliseconds.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// From nothing to an open connection, TLS and AMQP handshakes included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// One synchronous method. A broker that is this slow is treated as gone.
const RPC_TIMEOUT: Duration = Duration::from_secs(15);
/// A polite close; past it the socket is shut down.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Unacknowledged bytes for this long mean the peer is gone, also where heartbeats cannot be written.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Seconds without a frame after which the broker is asked, and at twice which it is given up.
const HEARTBEAT_SECONDS: u16 = 10;
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that stood this long was a good one: the next wait starts small again.
const STEADY: Duration = Duration::from_secs(10);
/// How often the state is looked at besides the events, which the client library may drop.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Channels opened on one connection before it is renewed; RabbitMQ numbers them up to 2,047.
const CHANNELS_MAX: usize = 1_900;
/// A renewed connection is back in well under a second.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a failed call on a connection means.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The broker closed the channel and says why; the connection stands.
    Channel { code: u16, text: String },
    /// The connection is gone, or silent.
    Gone(String),
}

impl From<&lapin::Error> for Fault {
    fn from(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(amqp) if error.is_amqp_soft_error() => {
                Self::Channel { code: amqp.get_id(), text: amqp.get_message().to_string() }
            }
            _ => Self::Gone(error.to_string()),
        }
    }
}

impl From<Fault> for BusError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Channel { code: 403 | 405 | 406, text } => Self::Misconfigured(text),
            Fault::Channel { text, .. } | Fault::Gone(text) => Self::Disconnected(text),
        }
    }
}

/// A connection that stands, or stood.
pub(super) struct Live {
    connection: Connection,
    socket: Socket,
    given_up: CancellationToken,
    /// Its channels are nearly used up: another one should take its place, while it still works.
    worn: CancellationToken,
    opened: AtomicUsize,
    /// An idle channel for asking.
    spare: Mutex<Option<Channel>>,
}

impl Live {
    /// A fresh channel.
    pub(super) async fn channel(&self) -> Result<Channel, Fault> {
        if self.opened.fetch_add(1, Ordering::AcqRel) >= CHANNELS_MAX {
            self.worn.cancel();
            return Err(Fault::Gone("all channels of the connection are used up; it is being renewed".into()));
        }
        match self.rpc("channel.open", self.connection.create_channel()).await {
            Err(Fault::Channel { text, .. }) => {
                // The broker refuses no channel: this is what a former owner of its number was told.
                self.give_up();
                Err(Fault::Gone(format!("a channel could not be opened: {text}")))
            }
            answer => answer,
        }
    }

    /// Makes a call that may be refused, on a channel nobody else needs. A refused or cancelled call takes the channel with it.
    pub(super) async fn ask<T, C>(&self, what: &str, call: impl FnOnce(Channel) -> C + Send) -> Result<T, Fault>
    where
        C: Future<Output = lapin::Result<T>> + Send,
    {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let channel = match spare.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.channel().await?,
        };
        let answer = self.rpc(what, call(channel.clone())).await?;
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel);
        Ok(answer)
    }

    /// Waits for one synchronous method, but not for ever.
    pub(super) async fn rpc<T>(
        &self,
        what: &str,
        call: impl Future<Output = lapin::Result<T>> + Send,
    ) -> Result<T, Fault> {
        match timeout(RPC_TIMEOUT, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Fault::from(&error)),
            Err(_) if self.is_blocked() => Err(Fault::Gone(format!("{what}: the broker blocks this connection"))),
            Err(_) => {
                self.give_up();
                Err(Fault::Gone(format!("{what} was not answered within {} s", RPC_TIMEOUT.as_secs())))
            }
        }
    }

    /// Whether it stands now.
    pub(super) fn is_up(&self) -> bool {
        !self.given_up.is_cancelled() && self.connection.status().connected()
    }

    /// Whether the broker takes nothing on it (a memory or disk alarm). The client library then writes nothing at all.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// The largest frame both sides agreed on, in bytes.
    pub(super) fn frame_max_bytes(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Ends it at once; the supervisor makes another.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
        // Fails when the socket is closed already: that is what is wanted.
        self.socket.shutdown(Shutdown::Both).ok();
    }

    /// Closes it politely, or not.
    pub(super) async fn close(&self) {
        if timeout(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await.is_err() {
            tracing::debug!("the broker did not answer a close in time");
        }
        self.give_up();
    }

    /// Returns why it ended, once it has; `None` when it only is to be replaced.
    pub(super) async fn ended(&self) -> Option<String> {
        let mut events = Box::pin(self.connection.events_listener());
        let mut last = String::from("the connection ended");
        while self.is_up() {
            tokio::select! {
                () = self.given_up.cancelled() => return Some("given up: it did not answer".into()),
                () = self.worn.cancelled() => return None,
                event = events.next() => match event {
                    Some(lapin::Event::Error(error)) => last = error.to_string(),
                    Some(lapin::Event::ConnectionBlocked(reason)) => tracing::warn!(reason, "the broker blocks publishing"),
                    Some(_) => {}
                    None => return Some(last),
                },
                () = sleep(WATCH_EVERY) => {}
            }
        }
        Some(last)
    }
}

/// A supervised connection.
pub(super) struct Link {
    live: watch::Receiver<Option<Arc<Live>>>,
    problem: Arc<Mutex<Option<String>>>,
    stop: CancellationToken,
    supervisor: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Link {
    /// Starts to connect, under a name the broker shows.
    pub(super) fn start(uri: AMQPUri, name: &'static str) -> Self {
        let (publish, live) = watch::channel(None);
        let problem = Arc::new(Mutex::new(Some(String::from("not connected yet"))));
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(uri, name, publish, Arc::clone(&problem), stop.clone()));
        Self { live, problem, stop, supervisor: Mutex::new(Some(supervisor)) }
    }

    /// The connection, if it stands now.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live.borrow().clone().filter(|live| live.is_up())
    }

    /// The connection if it stands, else what is wrong with it.
    pub(super) fn now(&self) -> Result<Arc<Live>, BusError> {
        self.live().ok_or_else(|| {
            BusError::Disconnected(self.problem().unwrap_or_else(|| "the connection is being made".into()))
        })
    }

    /// The connection, as soon as it stands.
    ///
    /// # Errors
    /// `Disconnected` when the link was closed.
    pub(super) async fn wait(&self) -> Result<Arc<Live>, BusError> {
        let mut changes = self.live.clone();
        loop {
            if let Some(live) = self.live() {
                return Ok(live);
            }
            if changes.changed().await.is_err() {
                return Err(BusError::Disconnected("closed".into()));
            }
        }
    }

    /// The connection with channels to spare, as soon as it stands; what is wrong with it if that takes long.
    pub(super) async fn fresh(&self) -> Result<Arc<Live>, BusError> {
        let live = self.now()?;
        let opened = live.opened.load(Ordering::Acquire);
        if opened >= CHANNELS_MAX / 2 {
            live.worn.cancel();
        }
        if opened < CHANNELS_MAX {
            return Ok(live);
        }
        let mut changes = self.live.clone();
        let replaced = changes.wait_for(|now| now.as_ref().is_some_and(|now| !Arc::ptr_eq(now, &live)));
        timeout(RENEWAL_TIMEOUT, replaced).await.ok();
        self.now()
    }

    /// What is wrong with it, while it does not stand.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes it for good.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor {
            supervisor.await.ok();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn supervise(
    uri: AMQPUri,
    name: &'static str,
    publish: watch::Sender<Option<Arc<Live>>>,
    problem: Arc<Mutex<Option<String>>>,
    stop: CancellationToken,
) {
    let say = |text: Option<String>| *problem.lock().unwrap_or_else(PoisonError::into_inner) = text;
    let mut backoff = fresh_backoff();
    loop {
        let attempt = tokio::select! {
            () = stop.cancelled() => return retire(&publish),
            attempt = connect(&uri, name) => attempt,
        };
        let pause = match attempt {
            Ok(live) => {
                let (live, since) = (Arc::new(live), Instant::now());
                tracing::info!(connection = name, host = uri.authority.host, "connected to the broker");
                say(None);
                publish.send_replace(Some(Arc::clone(&live)));
                let why = tokio::select! {
                    () = stop.cancelled() => {
                        publish.send_replace(None);
                        return live.close().await;
                    }
                    why = live.ended() => why,
                };
                let Some(why) = why else {
                    // It works until the next one is there, and for whoever still uses it then.
                    tracing::debug!(connection = name, "the connection to the broker is renewed");
                    continue;
                };
                publish.send_replace(None);
                live.give_up();
                tracing::warn!(connection = name, why, "the connection to the broker ended");
                say(Some(why));
                if since.elapsed() >= STEADY {
                    backoff = fresh_backoff();
                }
                backoff.next()
            }
            Err(Refusal { text, lasting: true }) => {
                tracing::error!(connection = name, why = text, "the broker refuses: a person has to change something");
                say(Some(text));
                None
            }
            Err(Refusal { text, lasting: false }) => {
                tracing::warn!(connection = name, why = text, "no connection to the broker");
                say(Some(text));
                backoff.next()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return retire(&publish),
            () = sleep(pause.unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX)) => {}
        }
    }
}

/// Ends a connection that was to be replaced, when there will be no other.
fn retire(publish: &watch::Sender<Option<Arc<Live>>>) {
    if let Some(live) = publish.send_replace(None) {
        live.give_up();
    }
}

fn fresh_backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF_MIN)
        .with_max_delay(BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Why a connection could not be made.
struct Refusal {
    text: String,
    /// Wrong credentials or virtual host: trying sooner will not help.
    lasting: bool,
}

impl From<lapin::Error> for Refusal {
    fn from(error: lapin::Error) -> Self {
        let lasting = match error.kind() {
            ErrorKind::ProtocolError(amqp) => matches!(amqp.get_id(), 403 | 530),
            ErrorKind::AuthProviderError(_) => true,
            _ => false,
        };
        Self { text: error.to_string(), lasting }
    }
}

/// One connection without a supervisor: for what a person waits for.
pub(super) async fn once(uri: &AMQPUri, name: &'static str) -> Result<Live, BusError> {
    connect(uri, name).await.map_err(|refusal| match refusal {
        Refusal { text, lasting: true } => BusError::Misconfigured(text),
        Refusal { text, lasting: false } => BusError::Disconnected(text),
    })
}

async fn connect(uri: &AMQPUri, name: &'static str) -> Result<Live, Refusal> {
    let mut uri = uri.clone();
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let handle: Arc<Mutex<Option<Socket>>> = Arc::default();
    let kept = Arc::clone(&handle);
    let dialled = async move |uri: AMQPUri, _| dial(&uri, &kept).await.map_err(lapin::Error::from);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let attempt = timeout(HANDSHAKE_TIMEOUT, Connection::connector(uri, frames::runtime(), dialled, properties)).await;
    let socket = handle.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (attempt, socket) {
        (Ok(Ok(connection)), Some(socket)) => Ok(Live {
            connection,
            socket,
            given_up: CancellationToken::new(),
            worn: CancellationToken::new(),
            opened: AtomicUsize::new(0),
            spare: Mutex::new(None),
        }),
        (outcome, socket) => {
            // Without this the client's thread would wait for the peer, perhaps for ever.
            if let Some(socket) = socket {
                socket.shutdown(Shutdown::Both).ok();
            }
            Err(match outcome {
                Ok(Err(error)) => error.into(),
                Ok(Ok(_)) => Refusal { text: "the socket could not be kept".into(), lasting: false },
                Err(_) => Refusal {
                    text: format!("no AMQP handshake within {} s", HANDSHAKE_TIMEOUT.as_secs()),
                    lasting: false,
                },
            })
        }
    }
}

async fn dial(uri: &AMQPUri, handle: &Mutex<Option<Socket>>) -> std::io::Result<AsyncTcpStream<Wire>> {
    let address = (uri.authority.host.as_str(), uri.authority.port);
    let stream = timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await.map_err(|_| {
        let text = format!("{}:{} does not answer", address.0, address.1);
        std::io::Error::new(std::io::ErrorKind::TimedOut, text)
    })??;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_IDLE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    *handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.try_clone()?);
    let plain = AsyncTcpStream::Plain(stream.compat());
    let stream = match uri.scheme {
        AMQPScheme::AMQP => plain,
        AMQPScheme::AMQPS => plain.into_tls(&uri.authority.host, OwnedTLSConfig::default().as_ref()).await?,
    };
    // Plain as far as the client library is concerned: the filter stands above TLS.
    Ok(AsyncTcpStream::Plain(Wire::new(stream)))
}
