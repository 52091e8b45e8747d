//! Runs seeds side by side, and says what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use escrow::faults::{self, Bug};
use escrow::saga::time::Span;

use crate::schedule::{Outcome, run};

/// More failing seeds than this say nothing new.
const FAILURES_MAX: usize = 5;

/// All that came of some seeds.
#[derive(Default)]
pub struct Summary {
    pub seeds: u64,
    pub failures: Vec<String>,
    counts: BTreeMap<String, u64>,
    simulated: Span,
    elapsed: std::time::Duration,
}

/// One seed, with a mistake in the program or without.
pub fn one(seed: u64, bug: Option<Bug>, keeps_lines: bool) -> Outcome {
    let ran = std::panic::catch_unwind(|| alone(seed, bug, keeps_lines));
    ran.unwrap_or_else(|panic| {
        faults::set_gate(None);
        faults::plant(None);
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Outcome::broken(seed, text)
    })
}

fn alone(seed: u64, bug: Option<Bug>, keeps_lines: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(async {
        // While a blocking task runs, tokio's time does not move by itself: only the schedule moves it.
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let still = tokio::task::spawn_blocking(move || held.recv().is_err());
        faults::plant(bug);
        let gate: faults::Gate = std::sync::Arc::new(|name, _| Box::pin(crate::pace::point(name)));
        faults::set_gate(Some(gate));
        let outcome = run(seed, keeps_lines).await;
        faults::set_gate(None);
        faults::plant(None);
        drop(hold);
        let _ = still.await;
        outcome
    })
}

/// Seeds on as many threads as there are cores.
pub fn seeds(range: std::ops::Range<u64>) -> Summary {
    let began = std::time::Instant::now();
    let (next, summary) = (AtomicU64::new(range.start), Mutex::new(Summary::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= range.end {
                        return;
                    }
                    let outcome = one(seed, None, false);
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.add(outcome);
                    if summary.failures.len() >= FAILURES_MAX {
                        return;
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.elapsed = began.elapsed();
    summary
}

/// What must have happened somewhere among so many seeds, or the workload is not what it says.
const EVERYTHING: [&str; 29] = [
    "fault: acknowledgement lost with its connection",
    "fault: answer of the database lost",
    "fault: bus away for a while",
    "fault: consumer cancelled",
    "fault: crash",
    "fault: database away",
    "fault: database away for a while",
    "fault: database refuses",
    "fault: dropped by the bound",
    "fault: exchange gone",
    "fault: looks refused",
    "fault: looks unanswered",
    "fault: nobody listens",
    "fault: one loop stalled",
    "fault: published twice",
    "fault: published where nobody is bound",
    "fault: queue without consumer",
    "fault: refused",
    "fault: replica paused",
    "fault: returned as unroutable",
    "fault: tap deleted",
    "fault: withheld",
    "fault: word of the broker lost",
    "held back: beginning",
    "held back: completed",
    "held back: evidence",
    "held back: gap",
    "held back: inferred",
    "held back: quarantine",
];

impl Summary {
    /// What never happened.
    pub fn never(&self) -> Vec<&'static str> {
        EVERYTHING.into_iter().filter(|what| !self.counts.contains_key(*what)).collect()
    }

    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.simulated.0 += outcome.simulated.0;
        for (what, count) in outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
        if let Some(first) = outcome.complaints.first() {
            let seed = outcome.seed;
            self.failures.push(format!(
                "ESCROW_SEED={seed} cargo test --test simulation -- replay --nocapture   # {:?}: {}",
                first.promise, first.what
            ));
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3600.0;
        writeln!(f, "{} seeds, {hours:.0} simulated hours in {:.0?}", self.seeds, self.elapsed)?;
        for (what, count) in &self.counts {
            writeln!(f, "  {count:>10}  {what}")?;
        }
        Ok(())
    }
}
