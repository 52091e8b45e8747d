//! What goes wrong, and when: a script that depends on the seed and on nothing that happens.
//!
//! ```text
//!   run       0 % ─────── 20 % ─────────────── 60 % ─ 70 % ─── no new orders ─ 100 %
//!   inventory up           down                 up      up
//! ```
//!
//! An endless run repeats the outage every minute. Everything else is a fate of one answer: declined, late, given twice, or
//! lost on the way.

use std::time::Duration;

use super::rng::Rng;

/// Shares in a thousand.
const DECLINED: u64 = 60;
const LATE: u64 = 40;
const TWICE: u64 = 50;
/// Of the answers given twice: done twice, with an identity each, rather than sent twice.
const DONE_TWICE: u64 = 200;
const NOTIFICATION_LOST: u64 = 20;
/// A refund that is not answered when it is first asked for.
const REFUND_UNHEARD: u64 = 150;

/// Stretches of time, in the length of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Every so often …
    pub period: Duration,
    /// … inventory goes down this long after the period began …
    pub down_after: Duration,
    /// … for this long.
    pub down_for: Duration,
    /// The outage comes once, not in every period.
    pub once: bool,
    /// A service needs at most this long for an answer that is not late, and at least an eighth of it.
    pub work_max: Duration,
    /// How much later than usual a late answer is.
    pub late_by: Duration,
    /// Nothing is ordered from here on.
    pub last_order_after: Option<Duration>,
}

const WORK_MAX: Duration = Duration::from_millis(600);
/// Longer than any wait of the demo's definition.
const LATE_BY: Duration = Duration::from_secs(7);
/// An endless run repeats itself this often.
const PERIOD: Duration = Duration::from_mins(1);
const PERIOD_DOWN_AFTER: Duration = Duration::from_secs(10);
const PERIOD_DOWN_FOR: Duration = Duration::from_secs(14);
/// The share of a run at whose end no more is ordered, and the longest that may be: the last orders are to be seen through.
const SETTLE_SHARE: f64 = 0.3;
const SETTLE_MAX: Duration = Duration::from_secs(12);
/// A longer outage teaches nothing more, and the brake would hold what a person should see turn back.
const DOWN_MAX: Duration = Duration::from_secs(20);

impl Timing {
    /// The timing of a run of this length; `None` is one without end.
    pub fn of(run_for: Option<Duration>) -> Self {
        match run_for {
            None => Self {
                period: PERIOD,
                down_after: PERIOD_DOWN_AFTER,
                down_for: PERIOD_DOWN_FOR,
                once: false,
                work_max: WORK_MAX,
                late_by: LATE_BY,
                last_order_after: None,
            },
            Some(length) => Self {
                period: length.max(Duration::from_millis(1)),
                down_after: length.mul_f64(0.2),
                down_for: length.mul_f64(0.4).min(DOWN_MAX),
                once: true,
                work_max: WORK_MAX,
                late_by: LATE_BY,
                last_order_after: Some(length.saturating_sub(length.mul_f64(SETTLE_SHARE).min(SETTLE_MAX))),
            },
        }
    }
}

/// Whether inventory is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inventory {
    /// For this long still; `None`: for good.
    Up(Option<Duration>),
    Down {
        since: Duration,
        back_in: Duration,
    },
}

/// How often and as what an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    Once,
    /// The same message is sent twice.
    SentTwice,
    /// The work is done twice, and said twice.
    DoneTwice,
}

/// What becomes of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// From hearing to saying.
    pub after: Duration,
    pub copies: Copies,
    /// It never arrives.
    pub is_lost: bool,
}

/// The script.
#[derive(Clone, Debug)]
pub struct Faults {
    seed: u64,
    timing: Timing,
}

impl Faults {
    /// The script of `seed`.
    pub fn new(seed: u64, timing: Timing) -> Self {
        Self { seed, timing }
    }

    /// A stream of chance for one question.
    pub fn rng(&self, question: &str) -> Rng {
        Rng::of(self.seed, question)
    }

    /// Whether the payment of an order is declined.
    pub fn is_declined(&self, order: u64) -> bool {
        self.rng(&format!("declined {order}")).happens(DECLINED)
    }

    /// Whether a refund is not answered when it is first asked for.
    pub fn is_refund_unheard(&self, order: u64) -> bool {
        self.rng(&format!("refund {order}")).happens(REFUND_UNHEARD)
    }

    /// What becomes of `service`'s answer about an order.
    pub fn fate(&self, service: &str, order: u64) -> Fate {
        let mut rng = self.rng(&format!("{service} {order}"));
        let micros = u64::try_from(self.timing.work_max.as_micros()).unwrap_or(u64::MAX);
        let work = Duration::from_micros(micros / 8 + rng.below(micros - micros / 8));
        let late = if rng.happens(LATE) { self.timing.late_by } else { Duration::ZERO };
        let copies = match (rng.happens(TWICE), rng.happens(DONE_TWICE)) {
            (false, _) => Copies::Once,
            (true, false) => Copies::SentTwice,
            (true, true) => Copies::DoneTwice,
        };
        let is_lost = service == "notification" && rng.happens(NOTIFICATION_LOST);
        Fate { after: work + late, copies, is_lost }
    }

    /// Whether inventory is there, so long after the beginning.
    pub fn inventory(&self, elapsed: Duration) -> Inventory {
        let Timing { period, down_after, down_for, once, .. } = self.timing;
        let periods = if once { 0 } else { elapsed.as_nanos() / period.as_nanos().max(1) };
        let began = period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX));
        let within = elapsed.saturating_sub(began);
        if within < down_after {
            Inventory::Up(Some(down_after.checked_sub(within).unwrap_or_default()))
        } else if within < down_after + down_for {
            let since = within.saturating_sub(down_after);
            Inventory::Down { since, back_in: down_for.saturating_sub(since) }
        } else if once {
            Inventory::Up(None)
        } else {
            Inventory::Up(Some(period.saturating_sub(within) + down_after))
        }
    }

    /// Whether orders are still placed, so long after the beginning.
    pub fn takes_orders(&self, elapsed: Duration) -> bool {
        self.timing.last_order_after.is_none_or(|last| elapsed < last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_script_is_the_same_for_the_same_seed_and_another_for_another() {
        let script = |seed| {
            let faults = Faults::new(seed, Timing::of(Some(secs(30))));
            let services = ["payment", "inventory", "notification"];
            let fates = move |order| services.map(|service| faults.fate(service, order));
            let declined = Faults::new(seed, Timing::of(None));
            (1..500).map(|order| (fates(order), declined.is_declined(order))).collect::<Vec<_>>()
        };
        assert_eq!(script(42), script(42));
        assert_ne!(script(42), script(43));
    }

    #[test]
    fn every_kind_of_fault_comes_up_in_a_few_hundred_orders() {
        let faults = Faults::new(1, Timing::of(None));
        let fates: Vec<Fate> = (1..500).map(|order| faults.fate("notification", order)).collect();
        assert!(fates.iter().any(|fate| fate.is_lost));
        assert!(fates.iter().any(|fate| fate.after > LATE_BY));
        assert!(fates.iter().any(|fate| fate.copies == Copies::SentTwice));
        assert!(fates.iter().any(|fate| fate.copies == Copies::DoneTwice));
        assert!((1..500).any(|order| faults.is_declined(order)));
        assert!((1..500).all(|order| !faults.fate("payment", order).is_lost));
    }

    #[test]
    fn a_run_has_one_outage_and_ends_without_new_orders() {
        let faults = Faults::new(1, Timing::of(Some(secs(30))));
        assert_eq!(faults.inventory(secs(2)), Inventory::Up(Some(secs(4))));
        assert_eq!(faults.inventory(secs(10)), Inventory::Down { since: secs(4), back_in: secs(8) });
        assert_eq!(faults.inventory(secs(18)), Inventory::Up(None));
        assert!(faults.takes_orders(secs(20)) && !faults.takes_orders(secs(21)));
    }

    #[test]
    fn an_endless_run_has_an_outage_every_minute() {
        let faults = Faults::new(1, Timing::of(None));
        for minute in [0, 1, 90] {
            let at = |second: u64| faults.inventory(secs(minute * 60 + second));
            assert_eq!(at(0), Inventory::Up(Some(secs(10))));
            assert_eq!(at(12), Inventory::Down { since: secs(2), back_in: secs(12) });
            assert_eq!(at(50), Inventory::Up(Some(secs(20))));
        }
        assert!(faults.takes_orders(secs(1_000_000)));
    }
}
