//! Where the time comes from when no database server tells it.
//!
//! SQLite has no clock of its own, so its store asks one of these; tests and the simulator hold the hands themselves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::saga::time::{Moment, Span};

/// Tells the time.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct Manual(AtomicI64);

impl Manual {
    /// A clock that shows `now`.
    pub fn at(now: Moment) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Shows `now` from here on.
    pub fn set(&self, now: Moment) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the hands on.
    pub fn advance(&self, by: Span) {
        self.0.fetch_add(by.0, Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = Manual::at(Moment(5));
        assert_eq!((clock.now(), clock.now()), (Moment(5), Moment(5)));
        clock.advance(Span(2));
        assert_eq!(clock.now(), Moment(7));
        clock.set(Moment(1));
        assert_eq!(clock.now(), Moment(1));
    }
}
