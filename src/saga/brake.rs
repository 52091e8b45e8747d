//! Rule 14: the brake of a saga, and with it what all replicas share about a saga as a whole.
//!
//! It counts the orders that turned back by timeout within the last window. Past the limit an order is held, and that latches the
//! brake: from then on every such order is held, until a person resets it. The count is a value of the store, locked by whoever
//! may add to it, so it is exact over all replicas and survives them.
//!
//! ```text
//!        ┌──── counted < limit: turns back, is counted ────┐
//!   due ─┤                                                 ├─ the same transaction
//!        └──── counted = limit, or latched: held, latches ─┘
//!
//!   reset by a person: not latched, nothing counted; what was held stays held
//! ```

use serde::{Deserialize, Serialize};

use super::batch::Sealed;
use super::definition::BrakeLimit;
use super::journal::{Entry, EntryBody, Kind, chain};
use super::order::{Digest, OrderKey};
use super::time::{Moment, Span};

/// What was counted is kept this fine: a part of the window so long is one number, so that the row stays small whatever the limit.
/// What fell into one part is forgotten with the last of it, so never too early.
const PARTS: i64 = 256;

/// How many orders turned back by timeout, and whether that was too many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// When how many turned back, oldest first.
    pub turned: Vec<(Moment, u32)>,
    /// It holds every order since then.
    pub latched_at: Option<Moment>,
}

impl Brake {
    /// How many orders it has counted in the window that ends now.
    pub fn counted(&self, limit: BrakeLimit, now: Moment) -> u32 {
        let counts = self.turned.iter().filter(|(at, _)| *at + limit.per >= now);
        counts.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Whether it holds the next order.
    pub fn holds(&self, limit: BrakeLimit, now: Moment) -> bool {
        self.latched_at.is_some() || self.counted(limit, now) >= limit.orders
    }

    /// One more order turned back.
    fn count(&mut self, limit: BrakeLimit, now: Moment) {
        self.turned.retain(|(at, _)| *at + limit.per >= now);
        let part = Span((limit.per.0 / PARTS).max(1));
        match self.turned.last_mut() {
            Some((at, count)) if at.0.div_euclid(part.0) == now.0.div_euclid(part.0) || *at > now => {
                *at = now.max(*at);
                *count = count.saturating_add(1);
            }
            Some(_) | None => self.turned.push((now, 1)),
        }
    }
}

/// What all replicas share about one saga: its brake, and where its own trail ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SagaState {
    pub brake: Brake,
    /// Of the last entry about the saga as a whole; 0 before the first.
    pub sequence: u64,
    pub head: Digest,
}

impl SagaState {
    /// An order turned back by timeout.
    pub fn count(&mut self, limit: BrakeLimit, now: Moment) {
        self.brake.count(limit, now);
    }

    /// An order was held. Gives the entry that says that the brake holds from now on, unless it did already.
    pub fn latch(&mut self, saga: &str, limit: BrakeLimit, now: Moment) -> Option<Sealed> {
        if self.brake.latched_at.is_some() {
            return None;
        }
        self.brake.latched_at = Some(now);
        let why = format!("{} orders turned back by timeout within {}", limit.orders, limit.per);
        Some(self.record(saga, now, Kind::Deadline, "brake_latched", None, why))
    }

    /// A person takes the brake off: it counts from nothing again. Orders that were held stay so.
    pub fn reset(&mut self, saga: &str, actor: String, reason: String, now: Moment) -> Sealed {
        self.brake = Brake::default();
        self.record(saga, now, Kind::Command, "brake_reset", Some(actor), reason)
    }

    /// Writes an entry about the saga as a whole; it is chained like those of an order.
    pub fn record(
        &mut self,
        saga: &str,
        at: Moment,
        kind: Kind,
        name: &str,
        actor: Option<String>,
        reason: String,
    ) -> Sealed {
        let body = EntryBody { name: Some(name.to_owned()), reason: Some(reason), ..EntryBody::default() };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let sequence = self.sequence + 1;
        let hash = chain(&self.head, &trail_of(saga), sequence, at, kind, actor.as_deref(), &text);
        (self.sequence, self.head) = (sequence, hash);
        Sealed { entry: Entry { sequence, at, kind, actor, body }, text, hash }
    }
}

/// Names the trail of the saga as a whole: no order has an empty id.
pub fn trail_of(saga: &str) -> OrderKey {
    OrderKey { saga: saga.to_owned(), order_id: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: BrakeLimit = BrakeLimit { orders: 3, per: Span::from_secs(60) };

    fn at(seconds: i64) -> Moment {
        Moment(0) + Span::from_secs(seconds)
    }

    fn turned(times: &[i64]) -> SagaState {
        let mut state = SagaState::default();
        for seconds in times {
            state.count(LIMIT, at(*seconds));
        }
        state
    }

    #[test]
    fn the_window_moves_on_until_an_order_was_held() {
        let mut state = turned(&[0, 0, 30]);
        assert!(state.brake.holds(LIMIT, at(40)), "as many as may be, and none too many");
        assert_eq!(state.brake.latched_at, None);
        assert!(state.brake.holds(LIMIT, at(60)), "the first two are just a minute ago");
        assert_eq!((state.brake.counted(LIMIT, at(61)), state.brake.holds(LIMIT, at(61))), (1, false));
        let entry = state.latch("a", LIMIT, at(40)).unwrap();
        assert_eq!(entry.entry.body.reason.as_deref(), Some("3 orders turned back by timeout within 1m"));
        assert!(state.latch("a", LIMIT, at(50)).is_none(), "it latches once");
        assert_eq!((state.brake.latched_at, state.brake.holds(LIMIT, at(900))), (Some(at(40)), true));
        state.reset("a", "ann".to_owned(), "seen to".to_owned(), at(45));
        assert_eq!((state.brake.counted(LIMIT, at(45)), state.brake.holds(LIMIT, at(45))), (0, false));
        assert_eq!(state.sequence, 2);
    }

    #[test]
    fn a_clock_that_goes_back_loses_no_count() {
        let mut state = turned(&[100]);
        state.count(LIMIT, at(90));
        assert_eq!(state.brake.turned, [(at(100), 2)], "it counts where the clock was");
        assert_eq!(state.brake.counted(LIMIT, at(100)), 2);
    }

    #[test]
    fn no_window_ever_has_more_than_the_limit() {
        let mut state = SagaState::default();
        let mut passed: Vec<Moment> = Vec::new();
        // Every 7th of a second, and a clock that goes back now and then.
        for step in 0..5_000_i64 {
            let now = Moment(step * 142_857 - if step % 100 == 0 { 3_000_000 } else { 0 });
            if !state.brake.holds(LIMIT, now) {
                state.count(LIMIT, now);
                passed.push(now);
            }
        }
        for end in &passed {
            let window = passed.iter().filter(|at| **at <= *end && **at + LIMIT.per >= *end).count();
            assert!(window <= 3, "{window} up to {end}");
        }
        assert!(passed.len() > 25, "and not many fewer either: {}", passed.len());
    }

    #[test]
    fn the_row_stays_small_whatever_the_limit() {
        let limit = BrakeLimit { orders: 1_000_000, per: Span::from_secs(86_400) };
        let mut state = SagaState::default();
        for second in 0..86_400 * 2 {
            state.count(limit, at(second));
        }
        assert!(state.brake.turned.len() <= 258, "{}", state.brake.turned.len());
        assert!(state.brake.counted(limit, at(86_400 * 2)) >= 86_400);
    }
}
