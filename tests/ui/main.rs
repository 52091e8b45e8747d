//! The page as people use it: `escrow demo`, a real headless Chromium, clicks and keys.
//!
//! ```text
//!   program.rs   escrow demo on a free port        browser.rs   chromedriver and Chromium; console and requests are looked at
//!   outage.rs    from what is wrong to an action   search.rs    any order in two keystrokes
//!   keyboard.rs  the same without a mouse          live.rs      what happens is seen as it happens, and only when seen
//!   many.rs      10,000 orders at once              people.rs    what people decide: incidents, quarantine, the brake
//!   long.rs      20,000 entries                    looks.rs     every page in both themes, wide and narrow; axe-core
//! ```
//!
//! Every browser that is closed also says that its console had no error, that nothing broke the content security policy, and that
//! nobody but Escrow was asked. Pictures stay in `target/ui/`. One at a time: each has a browser and a program of its own.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test there")]

mod browser;
mod keyboard;
mod live;
mod long;
mod looks;
mod many;
mod outage;
mod people;
mod program;
mod search;

use std::time::{Duration, Instant};

/// How long anything may take that should happen; machines are shared and slow.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Polls until there is an answer, or fails.
async fn until<T>(what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not so in time: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
