//! Proof that the checks bite: each mistake is planted, and must be complained about within a bounded number of seeds.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use escrow::faults::Bug;

use crate::check::Promise;
use crate::report::one;

/// A mistake that is not found in so many seeds is not found.
const SEEDS_MAX: u64 = 200;

/// Every mistake, with the promises it may break first.
const BUGS: &[(Bug, &[Promise])] = &[
    (Bug::AckBeforeCommit, &[Promise::Lost]),
    (Bug::NoWatermark, &[Promise::False]),
    (Bug::CanaryBeforeCommit, &[Promise::Watermark, Promise::False]),
    (Bug::GapAfterWatermark, &[Promise::Watermark, Promise::Unproven]),
    (Bug::OverflowIgnored, &[Promise::Watermark, Promise::Unproven]),
    (Bug::AppearanceIgnored, &[Promise::Unproven]),
    (Bug::AbsenceIgnored, &[Promise::Unproven, Promise::False]),
    (Bug::NodeClock, &[Promise::Watermark]),
    (Bug::IdentityForgotten, &[Promise::Doubled]),
    (Bug::LastBatchForgotten, &[Promise::Doubled]),
    (Bug::TokenForgotten, &[Promise::Doubled]),
    (Bug::LateDropped, &[Promise::Lost, Promise::Watermark]),
    (Bug::UnreadableDropped, &[Promise::Lost, Promise::Watermark]),
    (Bug::RetryForgotten, &[Promise::Doubled]),
    (Bug::RetryFromDecision, &[Promise::Early]),
    (Bug::RetryRenamed, &[Promise::Doubled]),
    (Bug::CompensationRenamed, &[Promise::Doubled]),
    (Bug::CompensationsTogether, &[Promise::Outbox]),
    (Bug::TimeoutUntold, &[Promise::Outbox]),
    (Bug::OutboxOutOfOrder, &[Promise::Outbox]),
    (Bug::LeaseIgnored, &[Promise::Doubled]),
    (Bug::WordByPosition, &[Promise::Outbox]),
    (Bug::ReturnedIsRouted, &[Promise::Outbox]),
    (Bug::UnknownIsSent, &[Promise::Outbox]),
    (Bug::WordNotHandedOn, &[Promise::Unarmed]),
    (Bug::TurnAtOnce, &[Promise::False]),
    (Bug::DueUnchecked, &[Promise::Early, Promise::False]),
    (Bug::UnprovenActs, &[Promise::Unproven]),
    (Bug::ObserveAsks, &[Promise::Observe]),
    (Bug::BrakeNotCounted, &[Promise::Brake]),
    (Bug::BrakeNotLatched, &[Promise::Brake]),
];

/// The mistake to be made while a seed is replayed, by the name in `ESCROW_BUG`.
pub fn asked_for() -> Option<Bug> {
    let name = std::env::var("ESCROW_BUG").ok()?;
    BUGS.iter().map(|(bug, _)| *bug).find(|bug| format!("{bug:?}") == name)
}

/// How one mistake was found.
fn found(bug: Bug, promises: &[Promise]) -> Result<String, String> {
    let seeds = std::env::var("ESCROW_BUG_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS_MAX);
    for seed in 0..seeds {
        let outcome = one(seed, Some(bug), false);
        let Some(first) = outcome.complaints.first() else { continue };
        if !one(seed, None, false).complaints.is_empty() {
            // What the sound program draws as well proves nothing.
            continue;
        }
        let told = format!("{bug:?}: seed {seed}, {:?}: {}", first.promise, first.what);
        let meant = outcome.complaints.iter().any(|complaint| promises.contains(&complaint.promise));
        return if meant { Ok(told) } else { Err(format!("{told} (another promise than meant)")) };
    }
    Err(format!("{bug:?}: not found in {seeds} seeds"))
}

#[test]
fn every_planted_mistake_is_found() {
    let only = std::env::var("ESCROW_BUG").ok();
    let bugs: Vec<_> =
        BUGS.iter().filter(|(bug, _)| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"))).collect();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((bug, promises)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match found(*bug, promises) {
                        Ok(told) => println!("{told}"),
                        Err(told) => missed.lock().unwrap_or_else(PoisonError::into_inner).push(told),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(missed.is_empty(), "\n{}", missed.join("\n"));
}
