//! The tap on RabbitMQ: what its replicas share on the broker, and what this process knows of it.
//!
//! Opening it declares what is missing and looks for losses: a tap that is not there, one that is nearly full, messages among
//! the lost. A tap that is not there is declared only after the gap that says so is committed, so that a crash in between
//! cannot forget it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::time::timeout;

use super::connect::{Fault, Link, Live};
use super::gaps::Gaps;
use super::names::Names;
use super::source::RabbitSource;
use super::topology::{self, Bound, Made};
use super::{Options, convert, look};
use crate::bus::canary::{self, Flights};
use crate::bus::{BusError, GapKind, Look, Source, Tap, TapHealth, Wanted};
use crate::saga::time::Moment;

/// Past this, in percent of the bound, a tap may have dropped messages before anybody looked.
const NEARLY_FULL_PERCENT: u64 = 95;
/// Below this, in percent of the bound, it counts as emptied again.
const RELIEVED_PERCENT: u64 = 90;
/// A canary that is not confirmed by then is as good as lost; the next one is due in 5 s anyway.
const CANARY_TIMEOUT: Duration = Duration::from_secs(10);
/// `depth` before anybody has looked.
const DEPTH_UNKNOWN: u64 = u64::MAX;

/// What the tap, its sources and their receipts share.
pub(super) struct Shared {
    pub(super) names: Names,
    pub(super) options: Options,
    pub(super) consume: Link,
    publish: Arc<Link>,
    pub(super) look: Arc<Link>,
    /// A confirming channel with no canary in flight.
    canaries: tokio::sync::Mutex<Option<(Arc<Live>, Channel)>>,
    pub(super) gaps: Gaps,
    pub(super) flights: Flights,
    /// Sources whose consumer is registered.
    pub(super) consumers: AtomicUsize,
    depth: AtomicU64,
    nearly_full: AtomicBool,
    /// Lost messages that are in a gap already.
    lost_told: AtomicU32,
    /// What the last look was asked for: a tap that is declared anew is bound to it at once.
    pub(super) wanted: Mutex<Vec<Wanted>>,
    /// This user may declare nothing, not even the tap: what is there is an administrator's, and so are the bindings.
    pub(super) administered: AtomicBool,
    problem: Mutex<Option<String>>,
}

impl Shared {
    /// Looks at the tap and at what was lost; what it finds becomes a gap. Returns whether the tap is there.
    pub(super) async fn check(&self) -> Result<bool, BusError> {
        let live = self.look.fresh().await?;
        let lost = topology::own_queue(&live, &self.names.lost).await?;
        if let Some(lost) = lost {
            self.note_lost(lost.messages);
        } else {
            topology::declare_lost(&live, &self.names).await?;
        }
        let state = topology::own_queue(&live, &self.names.tap).await?;
        if let Some(state) = state {
            self.note_depth(state.messages);
            if lost.is_none() {
                let detail = format!("`{}` was not there: what the tap dropped is not known", self.names.lost);
                self.gaps.add(GapKind::Overflow, detail);
            }
        }
        Ok(state.is_some())
    }

    pub(super) fn note_depth(&self, messages: u32) {
        let (depth, bound) = (u64::from(messages), self.options.bound.messages);
        self.depth.store(depth, Ordering::Relaxed);
        if depth.saturating_mul(100) >= bound.saturating_mul(NEARLY_FULL_PERCENT) {
            if !self.nearly_full.swap(true, Ordering::AcqRel) {
                let detail = format!("`{}` held {depth} of at most {bound} messages", self.names.tap);
                self.gaps.add(GapKind::NearlyFull, detail);
            }
        } else if depth.saturating_mul(100) < bound.saturating_mul(RELIEVED_PERCENT) {
            self.nearly_full.store(false, Ordering::Release);
        }
    }

    fn note_lost(&self, messages: u32) {
        let told = self.lost_told.swap(messages, Ordering::AcqRel);
        if messages > told {
            let detail = format!("the bound of `{}` dropped messages, at least {}", self.names.tap, messages - told);
            self.gaps.add(GapKind::Overflow, detail);
        }
    }

    /// Gaps up to the `through`-th are committed. What was lost has been told, so it need not be kept.
    pub(super) async fn committed(&self, through: u64) {
        let settled = self.gaps.settle(through);
        if settled.iter().any(|gap| gap.kind == GapKind::Overflow) {
            match self.empty_lost().await {
                Ok(gone) => {
                    let told = self.lost_told.swap(0, Ordering::AcqRel);
                    if gone > told {
                        let detail =
                            format!("the bound of `{}` dropped messages, {} more", self.names.tap, gone - told);
                        self.gaps.add(GapKind::Overflow, detail);
                    }
                }
                Err(error) => tracing::warn!(%error, "the lost messages could not be cleared; they will be told again"),
            }
        }
    }

    async fn empty_lost(&self) -> Result<u32, BusError> {
        let live = self.look.fresh().await?;
        Ok(topology::empty(&live, &self.names.lost).await?)
    }

    pub(super) fn say(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// The tap of one Escrow on a virtual host.
pub struct RabbitTap(Arc<Shared>);

impl RabbitTap {
    pub(super) fn new(names: Names, options: Options, consume: Link, publish: Arc<Link>, look: Arc<Link>) -> Self {
        Self(Arc::new(Shared {
            names,
            options,
            consume,
            publish,
            look,
            canaries: tokio::sync::Mutex::new(None),
            gaps: Gaps::default(),
            flights: Flights::default(),
            consumers: AtomicUsize::new(0),
            depth: AtomicU64::new(DEPTH_UNKNOWN),
            nearly_full: AtomicBool::new(false),
            lost_told: AtomicU32::new(0),
            wanted: Mutex::new(Vec::new()),
            administered: AtomicBool::new(false),
            problem: Mutex::new(None),
        }))
    }

    async fn open(&self) -> Result<RabbitSource, BusError> {
        let shared = &self.0;
        let live = shared.consume.wait().await?;
        shared.look.wait().await?;
        let look = shared.look.fresh().await?;
        let exchanges = topology::declare_exchanges(&look, &shared.names).await?;
        if shared.check().await? {
            // What is there may have been made by an older version: declaring it again shows a difference.
            topology::declare_lost(&look, &shared.names).await?;
            let tap = topology::declare_tap(&look, &shared.names, shared.options.bound).await?;
            let administered = exchanges == Made::Administrator && tap == Made::Administrator;
            if administered && !shared.administered.swap(true, Ordering::AcqRel) {
                tracing::warn!(
                    "this user may declare nothing: arguments and bindings are taken on the administrator's word"
                );
            }
            shared.administered.store(administered, Ordering::Release);
        } else {
            let detail = format!("`{}` was not there and had to be declared anew", shared.names.tap);
            shared.gaps.add(GapKind::DeclaredAnew, detail);
        }
        Ok(RabbitSource::new(Arc::clone(shared), live))
    }

    async fn release_canary(&self, sent_at: Moment, carried: Option<Moment>) -> Result<(), BusError> {
        let shared = &self.0;
        let live = shared.publish.now()?;
        if live.is_blocked() {
            return Err(BusError::Disconnected("the broker blocks publishing".into()));
        }
        let properties =
            convert::to_properties(&canary::envelope(sent_at, carried)).map_err(BusError::Misconfigured)?;
        // Taken while in use: after a failed or cancelled call the next canary gets a fresh one.
        let mut kept = shared.canaries.lock().await;
        let kept_channel = kept.take().filter(|(of, channel)| Arc::ptr_eq(of, &live) && channel.status().connected());
        let channel = if let Some((_, channel)) = kept_channel {
            channel
        } else {
            let channel = live.channel().await?;
            live.rpc("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
            channel
        };
        shared.flights.sent(sent_at);
        let (exchange, key) = (shared.names.canary_exchange.short(), shared.names.key.clone());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sending = async { channel.basic_publish(exchange, key, options, b"", properties).await?.await };
        match timeout(CANARY_TIMEOUT, sending).await {
            // One message at a time on a channel of its own: here a returned message is surely this one.
            Ok(Ok(Confirmation::Ack(None))) => {
                *kept = Some((live, channel));
                Ok(())
            }
            Ok(Ok(Confirmation::Ack(Some(_)))) => {
                Err(BusError::Disconnected(format!("`{}` is not there to take the canary", shared.names.tap)))
            }
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => {
                Err(BusError::Disconnected("the canary was refused".into()))
            }
            Ok(Err(error)) => Err(Fault::from(&error).into()),
            Err(_) => Err(BusError::Disconnected(format!("no word on a canary for {} s", CANARY_TIMEOUT.as_secs()))),
        }
    }
}

impl Tap for RabbitTap {
    fn name(&self) -> &str {
        self.0.names.tap.as_str()
    }

    fn source(&self) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        Box::pin(async move {
            let opened = self.open().await;
            self.0.say(opened.as_ref().err().map(ToString::to_string));
            opened.map(|source| Box::new(source) as Box<dyn Source>)
        })
    }

    fn send_canary(&self, sent_at: Moment, carried: Option<Moment>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.release_canary(sent_at, carried))
    }

    fn look(&self, wanted: Vec<Wanted>) -> BoxFuture<'_, Result<Vec<Look>, BusError>> {
        Box::pin(look::look(&self.0, wanted))
    }

    fn unbind(&self, exchange: String, keys: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(look::unbind(&self.0, exchange, keys))
    }

    fn is_administered(&self) -> bool {
        self.0.administered.load(Ordering::Acquire)
    }

    fn health(&self) -> TapHealth {
        let shared = &self.0;
        let (consume, publish) = (shared.consume.live(), shared.publish.live());
        let own = shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let depth = shared.depth.load(Ordering::Relaxed);
        TapHealth {
            connected: consume.is_some(),
            consuming: consume.is_some() && shared.consumers.load(Ordering::Acquire) > 0,
            publishing: publish.is_some(),
            blocked: publish.as_ref().is_some_and(|live| live.is_blocked()),
            depth: (depth != DEPTH_UNKNOWN).then_some(depth),
            limit: Some(shared.options.bound.messages),
            problem: match (&consume, &publish) {
                (None, _) => shared.consume.problem(),
                (_, None) => shared.publish.problem(),
                (Some(_), Some(_)) => own.or_else(|| shared.look.problem()),
            },
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.consume.close().await;
            self.0.publish.close().await;
            self.0.look.close().await;
        })
    }
}

/// Closes a channel in the background. Explicitly, and before its consumer is dropped: dropping a consumer of an open channel
/// would cancel it, and that hands the tap over while messages are in hand.
pub(super) fn close_channel(channel: Channel, consumer: Option<lapin::Consumer>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            timeout(CANARY_TIMEOUT, channel.close(200, "OK".into())).await.ok();
            drop(consumer);
        });
    }
}

/// The default bound, for those who start without options.
impl Default for Options {
    fn default() -> Self {
        Self { bound: Bound::default(), batch_messages: 1_000, batch_bytes: 8 * 1024 * 1024 }
    }
}
