//! Publishes what was decided.
//!
//! Every message is a row of the outbox, written in the transaction that decided it. This loop leases rows, publishes them,
//! and settles those the broker gave its word on; the word on a retry or a compensation is one more input of its order,
//! applied in the same transaction:
//!
//! ```text
//!     pending ──lease──▶ published ──word──▶ settled (+ the order's input)
//!        ▲                   │ no word, or the lease is over
//!        └───────────────────┘
//! ```
//!
//! A crash after publishing and before settling publishes again under the same message id. Nothing else publishes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::{Publication, Published, Sink};
use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::decide::Work;
use crate::saga::input::{Confirmation, Verdict};
use crate::saga::time::{Moment, Span};
use crate::store::Claimed;
use crate::telemetry::EmissionLabels;
use crate::telemetry::traces::context::LINKS_MAX;
use crate::telemetry::traces::own::{Began, Sent};
use crate::wire::publication;

use super::traces::context_of;
use super::{Escrow, Ran, Worker, WorkerError};

/// Leases at most this many rows at once: one chunk of pipelined confirms. More would only lengthen the replay after a crash.
const CLAIM_ROWS_MAX: usize = 256;

/// Longer than the publisher waits for its confirms, so that a lease is over only when its holder is gone.
const LEASE: Span = Span::from_secs(60);

/// A row without a word is tried again after this long.
const RELEASE_AFTER: Span = Span::from_secs(2);

/// How often the outbox is looked at without a nudge: rows may be written by other replicas, or leases run out.
const TICK: Duration = Duration::from_secs(1);

/// Moves rows from the outbox to the bus.
pub struct Relay {
    escrow: Arc<Escrow>,
    /// `None`: no broker is configured, so nothing can be asked of anyone.
    sink: Option<Arc<dyn Sink>>,
    owner: Uuid,
}

impl Relay {
    /// A relay of this process.
    pub fn new(escrow: Arc<Escrow>, sink: Option<Arc<dyn Sink>>) -> Self {
        Self { escrow, sink, owner: Uuid::new_v4() }
    }

    async fn publish(&self, claimed: &[Claimed], now: Moment) -> Result<Vec<Option<Verdict>>, WorkerError> {
        let Some(sink) = &self.sink else {
            return Ok(claimed.iter().map(|row| Some(nowhere(row))).collect());
        };
        let prepared: Vec<Result<Publication, Verdict>> =
            claimed.iter().map(|row| publication(&row.outgoing, row.original.as_ref(), now)).collect();
        let sendable: Vec<Publication> = prepared.iter().filter_map(|it| it.as_ref().ok().cloned()).collect();
        let (began, beginning) = (Instant::now(), Began::now());
        let mut words = sink.publish(sendable).at("relay.publish").await?;
        if is_planted(Bug::WordByPosition) {
            words.reverse();
        }
        if let Some(traces) = self.escrow.traces.get() {
            traces.export([sent(beginning, claimed, &words).span()]);
        }
        let mut words = words.into_iter();
        self.escrow.metrics.emission_confirm.observe(began.elapsed().as_secs_f64());
        let verdicts = prepared.into_iter().zip(claimed).map(|(prepared, row)| match prepared {
            Err(verdict) => Some(verdict),
            Ok(_) => words.next().and_then(|word| verdict(row, word)),
        });
        Ok(verdicts.collect())
    }
}

impl Worker for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let store = &self.escrow.store;
            let claimed = store.claim_outbox(self.owner, LEASE, CLAIM_ROWS_MAX).at("relay.claim").await?;
            if claimed.is_empty() {
                return Ok(Ran::Idle(TICK));
            }
            let now = store.now().at("relay.now").await?;
            let keys = || claimed.iter().map(|row| row.outgoing.key);
            let verdicts = match self.publish(&claimed, now).await {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    store.release_outbox(keys().collect(), RELEASE_AFTER).at("relay.release_all").await?;
                    return Err(error);
                }
            };
            let unknown: Vec<Uuid> =
                keys().zip(&verdicts).filter(|(_, verdict)| verdict.is_none()).map(|(key, _)| key).collect();
            for (row, verdict) in claimed.iter().zip(&verdicts) {
                let labels = EmissionLabels { kind: row.outgoing.content.word(), result: in_a_word(verdict.as_ref()) };
                self.escrow.metrics.emissions.get_or_create(&labels).inc();
            }
            let work = settlements(&claimed, verdicts);
            if !work.is_empty() {
                // A row whose settlement is refused stays leased, and is tried again when that is over.
                self.escrow.commit_each(work).at("relay.settle").await?;
            }
            if !unknown.is_empty() {
                store.release_outbox(unknown, RELEASE_AFTER).at("relay.release_unknown").await?;
            }
            Ok(Ran::Did)
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.outbox.notified())
    }
}

/// The batch as one span; a retry is linked to the trace of the message it repeats.
fn sent(began: Began, claimed: &[Claimed], words: &[Published]) -> Sent {
    let kinds: BTreeSet<&'static str> = claimed.iter().map(|row| row.outgoing.content.word()).collect();
    let envelopes = claimed.iter().filter_map(|row| Some(&row.original.as_ref()?.envelope));
    Sent {
        began,
        messages: words.len(),
        kinds: kinds.into_iter().collect(),
        unknown: words.iter().filter(|word| matches!(word, Published::Unknown(_))).count(),
        contexts: envelopes.filter_map(context_of).take(LINKS_MAX).collect(),
    }
}

/// What the broker's word means for a row; `None` leaves it in the outbox.
fn verdict(row: &Claimed, word: Published) -> Option<Verdict> {
    let asks = row.outgoing.content.asks();
    match word {
        Published::Confirmed => Some(Verdict::Routed),
        Published::Unroutable(_) if is_planted(Bug::ReturnedIsRouted) => Some(Verdict::Routed),
        Published::Unknown(_) if is_planted(Bug::UnknownIsSent) => Some(Verdict::Routed),
        // Tellings need no listener.
        Published::Unroutable(_) if !asks => Some(Verdict::Routed),
        Published::Unroutable(why) => Some(Verdict::Unroutable(why)),
        // Escrow's own exchange must take tellings; that it does not is mended, not settled.
        Published::Refused(_) if !asks => None,
        Published::Refused(why) => Some(Verdict::Refused(why)),
        Published::Withheld(why) => Some(Verdict::Withheld(why)),
        Published::Unknown(_) => None,
    }
}

fn in_a_word(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Routed) => "confirmed",
        Some(Verdict::Unroutable(_)) => "unroutable",
        Some(Verdict::Refused(_)) => "refused",
        Some(Verdict::Withheld(_)) => "withheld",
        None => "unknown",
    }
}

fn nowhere(row: &Claimed) -> Verdict {
    if row.outgoing.content.asks() {
        Verdict::Refused("no broker is configured (--amqp-url)".to_owned())
    } else {
        Verdict::Routed
    }
}

fn settlements(claimed: &[Claimed], verdicts: Vec<Option<Verdict>>) -> Vec<Work> {
    let settled = claimed.iter().zip(verdicts).filter_map(|(row, verdict)| {
        Some(Work::Settled {
            order: row.outgoing.order.clone(),
            confirmation: Confirmation { key: row.outgoing.key, verdict: verdict? },
            is_input: row.outgoing.content.asks() && !is_planted(Bug::WordNotHandedOn),
        })
    });
    settled.collect()
}
