//! Since when something outside is away, by this process's own clock: a moment's interruption is none, and neither is a jump of the
//! database's clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::saga::time::{Moment, Span};

/// A connection is made anew, and a server that is well kept restarts or fails over, within this.
pub const AWAY_AFTER: Duration = Duration::from_secs(10);

/// The sight counts its own seconds; this only keeps a clock that jumps from looking like blindness.
pub const BLIND_AFTER: Duration = Duration::from_secs(3);

/// Something that is there or not.
#[derive(Debug, Default)]
pub struct Outage {
    began: Option<(Instant, Moment)>,
}

impl Outage {
    /// It is away now, or is not. Gives since when, once it has been for `after`.
    pub fn note(&mut self, is_away: bool, now: Moment, after: Duration) -> Option<Moment> {
        if !is_away {
            self.began = None;
            return None;
        }
        let (began, since) = *self.began.get_or_insert((Instant::now(), now));
        (began.elapsed() >= after).then_some(since)
    }
}

/// Calls to the database that failed, one after the other. While it is away nothing can be written down.
#[derive(Debug, Default)]
pub struct Failures {
    first_and_last: Option<(Instant, Instant)>,
    why: String,
}

impl Failures {
    /// A call failed: the database cannot be used.
    pub fn failed(&mut self, why: String) {
        let now = Instant::now();
        let first = self.first_and_last.map_or(now, |(first, _)| first);
        (self.first_and_last, self.why) = (Some((first, now)), why);
    }

    /// A write went well. Gives since when none did, and why, where that lasted for [`AWAY_AFTER`].
    pub fn went_well(&mut self, now: Moment) -> Option<(Moment, String)> {
        let (first, last) = self.first_and_last.take()?;
        let was_away = last.duration_since(first) >= AWAY_AFTER;
        let away_for = Span(i64::try_from(first.elapsed().as_micros()).unwrap_or(i64::MAX));
        was_away.then(|| (now - away_for, std::mem::take(&mut self.why)))
    }
}
