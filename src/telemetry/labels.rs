//! The labels of the metrics: sagas, steps, and words of fixed lists. Never an order id, and never without a bound.
//!
//! ```text
//!   saga, step ──▶ Names: known, or one of the first few hundred? ── yes ──▶ itself
//!                                                                   no ───▶ `other`, and the overflow is counted
//! ```

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;

/// More sagas than anybody watches with one Escrow. Every one has about a hundred series of its own.
const SAGAS_MAX: usize = 100;

/// Steps of all sagas together. Every one has about eighty series of its own, nearly all of them in histograms.
const STEPS_MAX: usize = 500;

/// What stands for every name beyond these.
pub const OTHER: &str = "other";

/// A fixed word.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

/// A saga.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SagaLabel {
    pub saga: String,
}

/// A saga, empty where a delivery could not be read so far, and what became of a delivery.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct EventLabels {
    pub saga: String,
    pub result: &'static str,
}

/// A saga and the status of its orders.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OrdersLabels {
    pub saga: String,
    pub status: &'static str,
}

/// A step of a saga.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct StepLabels {
    pub saga: String,
    pub step: String,
}

/// A saga and how an order of it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct EndLabels {
    pub saga: String,
    pub outcome: &'static str,
}

/// A step of a saga and how it was closed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ClosedLabels {
    pub saga: String,
    pub step: String,
    pub outcome: &'static str,
}

/// What was published, and the broker's word on it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct EmissionLabels {
    pub kind: &'static str,
    pub result: &'static str,
}

/// Which of the two connections to the broker: `consume` or `publish`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RoleLabel {
    pub role: &'static str,
}

/// Why something happened, from a fixed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

/// What holds orders up, from a fixed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CauseLabel {
    pub cause: &'static str,
}

/// Why the database was asked again: `conflict` or `unavailable`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ClassLabel {
    pub class: &'static str,
}

/// What kind of receiver people are told through.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ChannelLabel {
    pub channel: &'static str,
}

/// One kind of HTTP call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HttpLabels {
    pub route: String,
    pub method: String,
    pub code: u32,
}

/// Keeps the number of names in labels bounded, whatever definitions come and go in the life of a process.
#[derive(Debug, Default)]
pub struct Names {
    sagas: Mutex<BTreeSet<String>>,
    steps: Mutex<BTreeSet<StepLabels>>,
    overflow: Counter,
}

impl Names {
    /// How often a name had no place.
    pub fn overflow(&self) -> Counter {
        self.overflow.clone()
    }

    /// The label of a saga. An empty one is no saga, and needs no place.
    pub fn saga(&self, saga: &str) -> String {
        let mut sagas = self.sagas.lock().unwrap_or_else(PoisonError::into_inner);
        if saga.is_empty() || sagas.contains(saga) {
            return saga.to_owned();
        }
        if sagas.len() >= SAGAS_MAX {
            self.overflow.inc();
            return OTHER.to_owned();
        }
        sagas.insert(saga.to_owned());
        saga.to_owned()
    }

    /// Every step that has a label of its own.
    pub fn steps(&self) -> Vec<StepLabels> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The labels of a step.
    pub fn step(&self, saga: &str, step: &str) -> StepLabels {
        let labels = StepLabels { saga: self.saga(saga), step: step.to_owned() };
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.contains(&labels) {
            return labels;
        }
        if steps.len() >= STEPS_MAX {
            self.overflow.inc();
            return StepLabels { step: OTHER.to_owned(), ..labels };
        }
        steps.insert(labels.clone());
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_share_one_label_and_are_counted() {
        let names = Names::default();
        for n in 0..SAGAS_MAX {
            assert_eq!(names.saga(&format!("saga{n}")), format!("saga{n}"));
        }
        assert_eq!(names.overflow().get(), 0);
        assert_eq!((names.saga("one-more").as_str(), names.saga("saga7").as_str()), (OTHER, "saga7"));
        assert_eq!((names.saga(""), names.overflow().get()), (String::new(), 1));
    }

    #[test]
    fn steps_beyond_the_bound_do_too_within_their_saga() {
        let names = Names::default();
        for n in 0..STEPS_MAX {
            names.step("order", &format!("step{n}"));
        }
        let beyond = names.step("order", "one-more");
        assert_eq!((beyond.saga.as_str(), beyond.step.as_str()), ("order", OTHER));
        assert_eq!(names.step("order", "step3").step, "step3");
        assert_eq!(names.overflow().get(), 1);
    }
}
