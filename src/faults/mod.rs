//! Where tests may break this program. In a build for use there is nothing of this: [`Step::at`] is the future itself, and
//! [`is_planted`] is `false`.
//!
//! ```text
//!   store.claim_outbox(…).at("relay.claim").await      the process may be killed here, before and after the wait,
//!                                                      and a simulator may stop, go on elsewhere, or drop the task
//!   if faults::is_planted(Bug::AckBeforeCommit)        a mistake that the tests must find
//! ```
//!
//! With the feature `faults`, which only tests switch on: `ESCROW_CRASH_AT=relay.claim:after:2` kills the process with
//! SIGKILL when it passes this point for the second time; mistakes are planted, and gates kept, for each thread by itself, so
//! that tests beside each other do not meet.

#[cfg(feature = "faults")]
mod planted;

use std::future::Future;

/// A mistake that can be planted. Each has been made in a system like this one, and each must be found by the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A batch is acknowledged first and committed then.
    AckBeforeCommit,
    /// Deadlines fire by the clock alone (rule 6).
    NoWatermark,
    /// The canary of a batch is believed before the batch is committed.
    CanaryBeforeCommit,
    /// A gap is recorded after the watermark has passed it.
    GapAfterWatermark,
    /// What the tap's bound dropped is not recorded.
    OverflowIgnored,
    /// What was published to an exchange before it was bound is not recorded.
    AppearanceIgnored,
    /// An absent exchange does not hold the watermark.
    AbsenceIgnored,
    /// Canaries are stamped by the clock of the machine, which goes ahead.
    NodeClock,
    /// The set of messages an order has seen is not asked (rule 2).
    IdentityForgotten,
    /// What the tap's last batch left behind is not asked (rule 2).
    LastBatchForgotten,
    /// A batch whose commit lost its answer is not recognised.
    TokenForgotten,
    /// A message for an order that has ended is dropped.
    LateDropped,
    /// A message nobody can read is dropped.
    UnreadableDropped,
    /// A retry does not count itself.
    RetryForgotten,
    /// The next retry is due from the decision, not from the broker's word (rule 10).
    RetryFromDecision,
    /// A retry goes out under a new message id.
    RetryRenamed,
    /// Each try of a compensation has an id of its own.
    CompensationRenamed,
    /// All compensations are asked for at once (rule 12).
    CompensationsTogether,
    /// A step times out and nothing is written to the outbox about it.
    TimeoutUntold,
    /// Rows of the outbox do not wait for the earlier ones of their order.
    OutboxOutOfOrder,
    /// A lease on a row of the outbox is over at once.
    LeaseIgnored,
    /// The broker's words are matched to messages by their position.
    WordByPosition,
    /// A returned message counts as routed.
    ReturnedIsRouted,
    /// A message about which nothing is known counts as sent.
    UnknownIsSent,
    /// The word on a compensation is not handed to its order.
    WordNotHandedOn,
    /// A failure turns an order back without waiting for the watermark (rule 7).
    TurnAtOnce,
    /// An order found due is not checked again under its lock.
    DueUnchecked,
    /// An unproven order acts (rule 8).
    UnprovenActs,
    /// `observe` asks services (rule 9).
    ObserveAsks,
    /// Orders turned back by timeout are not counted (rule 14).
    BrakeNotCounted,
    /// A brake that held an order forgets it (rule 14).
    BrakeNotLatched,
}

/// A future that is one step of a loop.
pub trait Step: Future + Sized {
    /// Names the step: `loop.step`.
    #[cfg(not(feature = "faults"))]
    fn at(self, _name: &'static str) -> Self {
        self
    }

    /// Names the step: `loop.step`. Before it begins and when it has ended, whatever a test planted there happens.
    #[cfg(feature = "faults")]
    fn at(self, name: &'static str) -> impl Future<Output = Self::Output> {
        planted::pass(name, self)
    }
}

impl<F: Future> Step for F {}

/// Whether this mistake is to be made now.
#[cfg(not(feature = "faults"))]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use planted::{Edge, Gate, crash, is_planted, plant, set_gate};
#[cfg(all(test, feature = "faults"))]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn a_gate_is_asked_on_both_sides_of_a_step_and_a_bug_is_made_until_it_is_taken_out() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        set_gate(Some(Arc::new(move |name, edge| {
            seen.lock().unwrap().push((name, edge));
            Box::pin(std::future::ready(()))
        })));
        assert_eq!(async { 3 }.at("test.step").await, 3);
        set_gate(None);
        assert_eq!(*asked.lock().unwrap(), [("test.step", Edge::Before), ("test.step", Edge::After)]);

        plant(Some(Bug::NoWatermark));
        assert_eq!((is_planted(Bug::NoWatermark), is_planted(Bug::AckBeforeCommit)), (true, false));
        plant(None);
        assert!(!is_planted(Bug::NoWatermark));
    }
}
