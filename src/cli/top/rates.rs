//! How much goes in and out each minute, from two or more looks at the counters of `/metrics`.

use std::collections::VecDeque;

use crate::saga::time::{Moment, Span};

/// How far back rates look.
const WINDOW: Span = Span::from_secs(60);

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at: Moment,
    /// Deliveries dealt with, once for each saga they concern.
    pub received: f64,
    /// Messages the broker confirmed.
    pub sent: f64,
}

impl Sample {
    /// Reads the text of `/metrics`; `None` where the counters are not in it.
    pub fn read(at: Moment, text: &str) -> Option<Self> {
        let sum = |begins: &str, holds: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(begins)).filter(|rest| rest.contains(holds));
            let values = lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
            values.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
        };
        let sent = sum("escrow_emissions_total{", "result=\"confirmed\"")?;
        Some(Self { at, received: sum("escrow_events_total{", "")?, sent })
    }
}

/// The last minute of samples.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
}

/// So many in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMinute {
    pub received: u64,
    pub sent: u64,
}

impl Rates {
    /// Adds what was counted. Counters that went back are those of another process: it begins anew.
    pub fn add(&mut self, sample: Sample) {
        let went_back =
            |last: &Sample| sample.received < last.received || sample.sent < last.sent || sample.at < last.at;
        if self.samples.back().is_some_and(went_back) {
            self.samples.clear();
        }
        self.samples.push_back(sample);
        while self.samples.get(1).is_some_and(|second| sample.at.since(second.at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Over the last minute, or as much of it as was seen; `None` before two moments are known.
    pub fn per_minute(&self) -> Option<PerMinute> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.at.since(first.at).as_secs_f64();
        let rate = |from: f64, to: f64| whole((to - from) * 60.0 / seconds);
        (seconds > 0.0)
            .then(|| PerMinute { received: rate(first.received, last.received), sent: rate(first.sent, last.sent) })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and counters do not fall")]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::batch::{Outcome, Tally};
    use crate::telemetry::{EmissionLabels, Metrics};

    fn at(seconds: i64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn the_counters_are_those_of_the_program() {
        let metrics = Metrics::new();
        let mut tally = Tally::default();
        tally.by_saga.insert(("order".to_owned(), Outcome::Applied), 4);
        tally.by_saga.insert(("other".to_owned(), Outcome::Ignored), 2);
        metrics.count(&tally);
        for (kind, result, count) in
            [("retry", "confirmed", 3), ("telling", "confirmed", 4), ("retry", "unroutable", 5)]
        {
            metrics.emissions.get_or_create(&EmissionLabels { kind, result }).inc_by(count);
        }
        let sample = Sample::read(at(1), &metrics.encode().unwrap());
        assert_eq!(sample, Some(Sample { at: at(1), received: 6.0, sent: 7.0 }));
        assert_eq!(Sample::read(at(1), "something else\n"), None);
    }

    #[test]
    fn rates_are_of_the_last_minute_and_begin_anew_with_another_process() {
        let mut rates = Rates::default();
        let sample = |seconds: i64, received: f64| Sample { at: at(seconds), received, sent: received / 2.0 };
        rates.add(sample(0, 100.0));
        assert_eq!(rates.per_minute(), None);
        rates.add(sample(10, 110.0));
        assert_eq!(rates.per_minute(), Some(PerMinute { received: 60, sent: 30 }));
        rates.add(sample(70, 410.0));
        assert_eq!(rates.per_minute(), Some(PerMinute { received: 300, sent: 150 }), "the first ten seconds are gone");
        rates.add(sample(80, 4.0));
        assert_eq!(rates.per_minute(), None);
    }
}
