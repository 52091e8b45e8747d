//! What a canary looks like on the bus, and what its journey says about the lag of the tap.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

use super::{Envelope, Item};
use crate::saga::time::{Moment, Span};

/// The exchange canaries take into the tap.
pub const EXCHANGE: &str = "escrow.canary";

const SENT_AT: &str = "x-escrow-sent-at-us";
const CARRIED: &str = "x-escrow-watermark-us";

/// Canaries that never come back are forgotten beyond this many: at one in five seconds, an hour's worth.
const OUT_MAX: usize = 720;

/// The envelope of a canary.
pub(super) fn envelope(sent_at: Moment, carried: Option<Moment>) -> Envelope {
    let mut envelope = Envelope::default();
    envelope.headers.insert(SENT_AT.into(), Value::from(sent_at.0));
    if let Some(carried) = carried {
        envelope.headers.insert(CARRIED.into(), Value::from(carried.0));
    }
    envelope.properties.insert("delivery_mode".into(), Value::from(2));
    envelope
}

/// The canary in an envelope; `None` if it holds none.
pub(super) fn read(envelope: &Envelope) -> Option<Item> {
    let moment = |name: &str| envelope.headers.get(name).and_then(Value::as_i64).map(Moment);
    Some(Item::Canary { sent_at: moment(SENT_AT)?, carried: moment(CARRIED) })
}

/// How long canaries take, by this process's own clock: database clocks only name them.
#[derive(Default)]
pub(super) struct Flights(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    out: BTreeMap<Moment, Instant>,
    last: Option<Span>,
}

impl Flights {
    pub(super) fn sent(&self, sent_at: Moment) {
        let mut inner = self.lock();
        if inner.out.len() >= OUT_MAX {
            inner.out.pop_first();
        }
        inner.out.insert(sent_at, Instant::now());
    }

    /// A canary came back. Those sent before it are not waited for any longer.
    pub(super) fn back(&self, sent_at: Moment) {
        let mut inner = self.lock();
        let later = inner.out.split_off(&Moment(sent_at.0.saturating_add(1)));
        let earlier = std::mem::replace(&mut inner.out, later);
        if let Some(started) = earlier.get(&sent_at) {
            inner.last = Some(span(*started));
        }
    }

    /// The lag: what the last canary took, or what the oldest one out has taken so far where that is more.
    pub(super) fn lag(&self) -> Option<Span> {
        let inner = self.lock();
        let out = inner.out.values().next().copied().map(span);
        inner.last.map(|last| out.map_or(last, |out| last.max(out)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn span(since: Instant) -> Span {
    Span(i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_reads_as_it_was_written() {
        for carried in [None, Some(Moment(5))] {
            let written = envelope(Moment(7), carried);
            assert_eq!(read(&written), Some(Item::Canary { sent_at: Moment(7), carried }));
        }
        assert_eq!(read(&Envelope::default()), None);
    }

    #[test]
    fn the_lag_is_unknown_until_a_canary_came_back() {
        let flights = Flights::default();
        flights.sent(Moment(1));
        assert_eq!(flights.lag(), None);
        flights.back(Moment(1));
        assert!(flights.lag().is_some());
        flights.back(Moment(99));
        assert!(flights.lag().is_some(), "a canary of another replica says nothing about ours");
    }
}
