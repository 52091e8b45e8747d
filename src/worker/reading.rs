//! Reads deliveries as every saga that watches their exchange does, and says what a batch has to do about each.
//!
//! What no saga names costs nothing more than its name. What a saga names and cannot read is quarantined with a doubt; what is
//! no event at all is kept as a sample only, so that a foreign exchange cannot flood the quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::Digest as _;

use crate::bus::{Delivery, Gap, GapKind};
use crate::faults::{Bug, is_planted};
use crate::saga::batch::{NewDoubt, QuarantineReason, Quarantined};
use crate::saga::catalog::Catalog;
use crate::saga::coverage::Coverage;
use crate::saga::decide::{Arrival, Candidate, Delivered, OrderRef, Unread, Work};
use crate::saga::order::{Digest, DoubtKind};
use crate::saga::time::{Moment, Span};
use crate::store::TapRow;
use crate::wire::Message;
use crate::wire::is_own;
use crate::wire::{self, Reading};

use super::sight::Sight;

/// Of messages that are no event of a saga, this many are kept for each exchange and reason of a process: enough to see what
/// they look like.
const SAMPLES_MAX: u32 = 100;

/// Reads deliveries, counting what it kept.
pub struct Readings {
    body_keep_bytes: usize,
    /// Whose every message is, where a person says so.
    order_id: Option<String>,
    samples: BTreeMap<(String, QuarantineReason), u32>,
    /// What was met since it was last taken.
    coverage: Coverage,
}

impl Readings {
    /// Readings that keep bodies up to this size.
    pub fn new(body_keep_bytes: usize) -> Self {
        Self { body_keep_bytes, order_id: None, samples: BTreeMap::new(), coverage: Coverage::default() }
    }

    /// Readings of messages whose order a person names, whatever they say themselves.
    pub fn of_order(self, order_id: Option<String>) -> Self {
        Self { order_id, ..self }
    }

    /// The events met since this was last asked, named or not.
    pub fn take_coverage(&mut self) -> Coverage {
        std::mem::take(&mut self.coverage)
    }

    /// What there is to do about one delivery. Escrow's own messages are none (rule 4).
    pub fn read(
        &mut self,
        catalog: &Catalog,
        sight: &Sight,
        delivery: &Delivery,
        salt: [u8; 16],
        lag: Option<Span>,
    ) -> Option<Delivered> {
        if is_own(delivery) {
            return None;
        }
        let order_id = self.order_id.clone();
        let message = Message::new(delivery, salt, self.body_keep_bytes, lag).of_order(order_id.as_deref());
        let mut arrivals = Vec::new();
        let mut readable = true;
        for saga in catalog.newest_all() {
            let (mut candidates, mut unread, mut is_met, mut is_watched) = (Vec::new(), None, false, false);
            for version in catalog.versions(&saga.name) {
                let reading = wire::read(version, &message);
                if let (false, Some(event)) = (is_met, reading.event()) {
                    let is_named = catalog.versions(&saga.name).any(|it| it.roles.contains_key(event));
                    self.coverage.add(&saga.name, &delivery.exchange, event, is_named);
                    is_met = true;
                }
                is_watched |= !matches!(reading, Reading::Elsewhere);
                match reading {
                    Reading::Elsewhere | Reading::Ignored { .. } => {}
                    Reading::Event { order, event } => {
                        let place = match order {
                            wire::OrderRef::Id(id) => OrderRef::Id(id),
                            wire::OrderRef::Arrival => OrderRef::Arrival,
                        };
                        candidates.push(Candidate { version: version.version, place, event: *event });
                    }
                    Reading::Unreadable { reason, detail, event, order_id } => {
                        // Only the newest version judges what cannot be read; an older one may still read its own.
                        if version.version == saga.version {
                            readable &= reason == QuarantineReason::NoEvent;
                            let found = Found { saga: &saga.name, reason, detail, event, order_id };
                            unread = self
                                .unreadable(&message, &delivery.exchange, found)
                                .filter(|_| !is_planted(Bug::UnreadableDropped));
                        }
                    }
                }
            }
            if !candidates.is_empty() || unread.is_some() {
                arrivals.push(Arrival { saga: saga.name.clone(), candidates, unread });
            } else if is_watched {
                self.coverage.ignore(&saga.name);
            }
        }
        sight.read(&delivery.exchange, readable);
        let is_without_id = arrivals.iter().any(Arrival::is_without_id);
        (!arrivals.is_empty()).then(|| Delivered {
            arrivals,
            redelivered: delivery.redelivered,
            content_hash: is_without_id.then(|| message.content_hash()),
            message: Arc::new(message.raw()),
        })
    }

    fn unreadable(&mut self, message: &Message<'_>, exchange: &str, found: Found<'_>) -> Option<Unread> {
        if found.event.is_none() {
            let samples = self.samples.entry((exchange.to_owned(), found.reason)).or_default();
            if *samples >= SAMPLES_MAX {
                return None;
            }
            *samples += 1;
        }
        // What is readable and names no event may be anybody's; what cannot be read may be what an order waits for.
        let doubt = found.reason != QuarantineReason::NoEvent;
        let message = Quarantined {
            saga: Some(found.saga.to_owned()),
            event: found.event,
            order_id: found.order_id,
            ..message.raw().quarantined(found.reason, found.detail)
        };
        Some(Unread { message: Box::new(message), doubt })
    }
}

struct Found<'a> {
    saga: &'a str,
    reason: QuarantineReason,
    detail: String,
    event: Option<String>,
    order_id: Option<String>,
}

/// A salt for the n-th message of a batch. Knowing one tells nothing about another, so an erased one stays unknown.
pub fn salt(secret: &Digest, number: u64) -> [u8; 16] {
    let mut hash = sha2::Sha256::new();
    hash.update(secret);
    hash.update(number.to_be_bytes());
    let digest: Digest = hash.finalize().into();
    let mut salt = [0; 16];
    salt.copy_from_slice(&digest[..16]);
    salt
}

/// The doubt a gap of the tap is; none for a tap that begins.
pub fn gap(gap: &Gap, row: Option<&TapRow>) -> Option<NewDoubt> {
    let row = row?;
    if is_planted(Bug::OverflowIgnored) && gap.kind == GapKind::Overflow {
        return None;
    }
    let from = match gap.kind {
        // One that was read from before has orders, also if no canary ever came back.
        GapKind::DeclaredAnew => row.watermark.or(row.committed_at)?,
        GapKind::NearlyFull | GapKind::Overflow => row.watermark.unwrap_or(row.now),
    };
    Some(gap_doubt(&gap.detail, from, row.now))
}

/// The sagas that have deliveries among `work`.
pub fn sagas_of(work: &[Work]) -> BTreeSet<String> {
    let delivered = work.iter().filter_map(Work::delivered);
    delivered.flat_map(|delivered| &delivered.arrivals).map(|arrival| arrival.saga.clone()).collect()
}

/// A gap of one tap, from its last watermark to now.
fn gap_doubt(detail: &str, from: Moment, to: Moment) -> NewDoubt {
    NewDoubt {
        kind: DoubtKind::Gap,
        saga: None,
        from,
        to,
        event: None,
        order_id: None,
        detail: detail.to_owned(),
        quarantined: None,
    }
}
