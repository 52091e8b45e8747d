//! Tells people: each channel has a loop of its own, so one that is dead holds up no other.
//!
//! ```text
//!     pending ──lease──▶ sent ──taken, or refused for good──▶ settled
//!        ▲                 │ later: 429, 5xx, nobody there
//!        └──── backoff ────┘
//! ```
//!
//! A notice is a row, written with its incident. A crash after sending and before settling sends it again, under the same key:
//! receivers that drop repeats have it once. No transaction is held while a receiver is waited for.
//!
//! An Alertmanager wants more: it is told again and again what lasts ([`Standing`]), and takes what it does not hear of as over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use uuid::Uuid;

use crate::alert::{Alertmanager, Alerts, Answer, Channel, RESOLVED_FOR, Receiver};
use crate::faults::Step as _;
use crate::saga::time::Span;
use crate::store::{ClaimedNotice, NoticeVerdict};
use crate::telemetry::ChannelLabel;

use super::{Escrow, Ran, Worker, WorkerError};

/// Longer than the slowest receiver is waited for, and how long an alert is late when a replica dies over it.
const LEASE: Span = Span::from_secs(30);

/// How often rows are looked for without a nudge: another replica may have written them, or a lease run out.
const TICK: Duration = Duration::from_secs(2);

/// The wait after the first failure of a channel; each is twice the one before, up to the cap.
const BACKOFF: Span = Span::from_secs(1);
const BACKOFF_CAP: Span = Span::from_secs(120);

/// Sends the notices of one channel.
pub struct Alerting {
    escrow: Arc<Escrow>,
    alerts: Alerts,
    channel: Channel,
    owner: Uuid,
    /// In a row.
    failures: u32,
    not_before: Option<Instant>,
}

impl Alerting {
    /// The loop of one channel.
    pub fn new(escrow: Arc<Escrow>, alerts: Alerts, channel: Channel) -> Self {
        Self { escrow, alerts, channel, owner: Uuid::new_v4(), failures: 0, not_before: None }
    }

    async fn tell(&mut self, claimed: ClaimedNotice) -> Result<(), WorkerError> {
        let store = &self.escrow.store;
        let key = claimed.notice.key();
        let now = store.now().at("alerting.now").await?;
        let answer = self.alerts.tell(&self.channel, claimed.notice, now).at("alerting.send").await;
        self.count(&answer);
        let verdict = match answer {
            Answer::Taken => {
                self.escrow.troubles.gone(&self.channel.name);
                NoticeVerdict::Sent
            }
            Answer::Refused(why) => {
                let (channel, kind) = (&self.channel.name, self.channel.receiver.kind());
                let fix = self.channel.receiver.advice();
                tracing::error!(channel, kind, why, fix, "a channel refuses an alert; it is not sent again");
                self.escrow.troubles.found(&self.channel.name, format!("refuses what it is told: {why}; {fix}"));
                NoticeVerdict::Refused(why)
            }
            Answer::Later { after, why } => return self.again(key, after, why).await,
        };
        (self.failures, self.not_before) = (0, None);
        store.settle_notice(key, verdict).at("alerting.settle").await?;
        Ok(())
    }

    /// Gives the row back, and leaves the channel alone for a while.
    async fn again(&mut self, key: Uuid, after: Option<Span>, why: String) -> Result<(), WorkerError> {
        self.failures += 1;
        let pause = after.unwrap_or_default().max(backoff(self.failures));
        let (channel, kind) = (&self.channel.name, self.channel.receiver.kind());
        tracing::warn!(channel, kind, why, %pause, "a channel could not be told; it is tried again");
        self.escrow.troubles.found(&self.channel.name, format!("cannot be told of anything: {why}; it is tried again"));
        self.not_before = Some(Instant::now() + pause.as_std());
        self.escrow.store.release_notice(key, self.owner, pause, why).at("alerting.release").await?;
        Ok(())
    }

    fn count(&self, answer: &Answer) {
        let (metrics, label) = (&self.escrow.metrics, label(&self.channel));
        metrics.alert_notifications.get_or_create(&label).inc();
        if *answer != Answer::Taken {
            metrics.alert_notifications_failed.get_or_create(&label).inc();
        }
    }
}

impl Worker for Alerting {
    fn name(&self) -> &'static str {
        "alerting"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let left = self.not_before.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
            if !left.is_zero() {
                return Ok(Ran::Idle(left));
            }
            let claim = self.escrow.store.claim_notice(self.channel.name.clone(), self.owner, LEASE);
            match claim.at("alerting.claim").await? {
                Some(claimed) => {
                    self.tell(claimed).await?;
                    Ok(Ran::Did)
                }
                None => Ok(Ran::Idle(TICK)),
            }
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.notices.notified())
    }
}

/// Tells an Alertmanager again what lasts, and for a while what is over.
pub struct Standing {
    escrow: Arc<Escrow>,
    alerts: Alerts,
    channel: Channel,
    alertmanager: Alertmanager,
    /// It took nothing the last time.
    is_lost: bool,
}

impl Standing {
    async fn say(&mut self) -> Result<(), WorkerError> {
        let store = &self.escrow.store;
        let lasting = store.standing_notices(self.channel.name.clone(), RESOLVED_FOR).at("alerting.standing").await?;
        if lasting.is_empty() {
            return Ok(());
        }
        let now = store.now().at("alerting.standing_now").await?;
        let said = self.alerts.stand(&self.channel, &self.alertmanager, lasting, now).at("alerting.stand").await;
        match said {
            Answer::Taken if self.is_lost => {
                self.is_lost = false;
                self.escrow.troubles.gone(&self.channel.name);
                tracing::info!(channel = self.channel.name, "the Alertmanager is told again what lasts");
            }
            Answer::Taken => {}
            Answer::Later { why, .. } | Answer::Refused(why) => {
                self.escrow.metrics.alert_notifications_failed.get_or_create(&label(&self.channel)).inc();
                let words = format!("does not hear that alerts last, and will take them as over: {why}");
                self.escrow.troubles.found(&self.channel.name, words);
                if !self.is_lost {
                    tracing::warn!(channel = self.channel.name, why, "the Alertmanager cannot be told what lasts");
                }
                self.is_lost = true;
            }
        }
        Ok(())
    }
}

impl Worker for Standing {
    fn name(&self) -> &'static str {
        "alerting, what lasts"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            self.say().await?;
            Ok(Ran::Idle(self.alertmanager.every.as_std()))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The loops of all channels.
pub fn workers(escrow: &Arc<Escrow>, alerts: &Alerts) -> Vec<Box<dyn Worker>> {
    let mut workers: Vec<Box<dyn Worker>> = Vec::new();
    for channel in &alerts.rules.channels {
        workers.push(Box::new(Alerting::new(Arc::clone(escrow), alerts.clone(), channel.clone())));
        if let Receiver::Alertmanager(alertmanager) = &channel.receiver {
            workers.push(Box::new(Standing {
                escrow: Arc::clone(escrow),
                alerts: alerts.clone(),
                channel: channel.clone(),
                alertmanager: alertmanager.clone(),
                is_lost: false,
            }));
        }
    }
    workers
}

/// Channels that cannot be told of anything now, each with the reason; for the page of how Escrow is.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    fn found(&self, channel: &str, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(channel.to_owned(), why);
    }

    fn gone(&self, channel: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
    }

    /// A sentence for each.
    pub fn words(&self) -> Vec<String> {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.iter().map(|(channel, why)| format!("the alert channel {channel} {why}")).collect()
    }
}

fn label(channel: &Channel) -> ChannelLabel {
    ChannelLabel { channel: channel.receiver.kind() }
}

fn backoff(failures: u32) -> Span {
    Span(BACKOFF.0.saturating_mul(1 << failures.saturating_sub(1).min(20))).min(BACKOFF_CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_left_alone_for_longer_and_longer() {
        assert_eq!([1, 2, 3].map(backoff), [1, 2, 4].map(Span::from_secs));
        assert_eq!(backoff(u32::MAX), BACKOFF_CAP);
    }

    #[test]
    fn what_is_wrong_is_told_until_it_is_not() {
        let troubles = Troubles::default();
        troubles.found("pager", "is away".to_owned());
        assert_eq!(troubles.words(), ["the alert channel pager is away"]);
        troubles.gone("pager");
        assert!(troubles.words().is_empty());
    }
}
