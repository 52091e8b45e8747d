//! The doctor of a running Escrow: who asks is answered by a look of a moment ago, or by the one look that is under way.
//!
//! ```text
//!   ask ──▶ a look that is fresh? ──▶ its findings
//!                 └─ no: one look for all who wait, in a task of its own, bounded
//! ```
//!
//! A look opens connections to the database and the broker, so a page that is left open, or many of them, must not make it again
//! and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::clock::{Clock as _, System};
use crate::config::DoctorConfig;
use crate::doctor::{Checkup, Finding};
use crate::worker::chain_of;

/// Nothing that a doctor finds changes faster than people mend it.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// Below the longest that a call may take, with room for one who waits for the look of another.
const LOOK_WITHIN: Duration = Duration::from_secs(12);

/// The doctor and what he found last.
pub struct Surgery {
    config: DoctorConfig,
    last: Mutex<Option<(Instant, Checkup)>>,
}

impl Surgery {
    /// A doctor who looks at what the settings name.
    pub fn new(config: DoctorConfig) -> Self {
        Self { config, last: Mutex::default() }
    }

    /// What was found a moment ago, or is found now. Never fails: what cannot be looked at is a finding.
    pub async fn ask(self: Arc<Self>) -> Checkup {
        // Who waits here waits for the look of whoever came first, and then has it.
        let mut last = self.last.lock().await;
        if let Some((at, checkup)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH_FOR) {
            tracing::trace!(age = ?at.elapsed(), "the doctor looked a moment ago");
            return checkup.clone();
        }
        let at = System.now();
        let mut findings = match timeout(LOOK_WITHIN, super::doctor(self.config.clone())).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(error)) => vec![Finding::problem("server", chain_of(error.as_ref()), "mend the address")],
            Err(_) => {
                let what =
                    format!("the look did not end within {} s: something does not answer", LOOK_WITHIN.as_secs());
                vec![Finding::problem("server", what, "see what `escrow doctor` says, and /readyz")]
            }
        };
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let checkup = Checkup { at, findings };
        *last = Some((Instant::now(), checkup.clone()));
        checkup
    }
}
