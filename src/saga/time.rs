//! Moments and spans: the only notion of time the pure core has.
//!
//! Both are whole microseconds, the unit both databases store. Nothing here reads a clock: `now` is an
//! argument everywhere in `saga`, and the caller takes it from the database once per batch.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

/// A length of time in microseconds; never negative when it comes from a definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

/// The longest span a definition may name: ten years. Longer is a typing error, and sums must not overflow.
const SPAN_MAX: Span = Span::from_secs(10 * 366 * 86_400);

impl Moment {
    /// Reads an RFC 3339 timestamp; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_microsecond()))
    }

    /// The moment as RFC 3339 in UTC with as many digits as it needs.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_microsecond(self.0).map_or_else(|_| format!("{}us", self.0), |at| at.to_string())
    }

    /// The time from `earlier` to `self`; zero when `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }
}

impl Span {
    /// Whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Whole milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000)
    }

    /// The span as a standard duration; zero when negative.
    pub fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }

    /// Seconds, with fractions: for people and metrics only.
    #[expect(clippy::cast_precision_loss, reason = "shown to people and metrics, never compared")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The span times `factor`, capped at the longest a definition may name.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "backoff is a rough factor and the result is capped"
    )]
    pub fn scaled(self, factor: f64) -> Self {
        Self(((self.0 as f64) * factor).clamp(0.0, SPAN_MAX.0 as f64) as i64)
    }

    /// Reads `500ms`, `30s`, `2h30m`, `14d`: whole numbers with units, largest first, each once.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, i64); 6] = [
            ("w", 604_800_000_000),
            ("d", 86_400_000_000),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1_000),
        ];
        let wrong = || format!("`{text}` is not a duration; write it like 500ms, 30s, 2h30m or 14d");
        let (mut rest, mut total, mut next_unit) = (text, 0_i64, 0);
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = UNITS.iter().position(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?;
            if unit < next_unit {
                return Err(wrong());
            }
            next_unit = unit + 1;
            total = number.checked_mul(UNITS[unit].1).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            rest = &rest[letters..];
        }
        if total > SPAN_MAX.0 { Err(format!("`{text}` is longer than ten years")) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Display for Span {
    /// The two largest units that say something: `42 s` is written `42s`, 3,700 s as `1h1m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.max(0);
        if micros < 1_000_000 {
            return write!(f, "{}ms", micros / 1_000);
        }
        let seconds = micros / 1_000_000;
        if seconds < 10 && micros % 1_000_000 >= 100_000 {
            return write!(f, "{}.{}s", seconds, micros % 1_000_000 / 100_000);
        }
        let parts =
            [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
        let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
        for (count, unit) in parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0) {
            write!(f, "{count}{unit}")?;
        }
        Ok(())
    }
}

impl Add<Span> for Moment {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Moment {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_they_are_written() {
        for (text, micros) in
            [("500ms", 500_000), ("30s", 30_000_000), ("2h30m", 9_000_000_000), ("14d", 1_209_600_000_000), ("0s", 0)]
        {
            assert_eq!(Span::parse(text), Ok(Span(micros)), "{text}");
        }
        for text in
            ["", "30", "s", "1.5h", "30s2h", "5 m", "-3s", "99999999999999999999d", "9999w", "30é", "5s5s", "1h1h"]
        {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_shown_in_two_units() {
        for (micros, text) in [
            (0, "0ms"),
            (250_000, "250ms"),
            (999_000, "999ms"),
            (1_000_000, "1s"),
            (1_200_000, "1.2s"),
            (9_900_000, "9.9s"),
            (10_500_000, "10s"),
            (42_000_000, "42s"),
            (3_700_000_000, "1h1m"),
            (172_800_000_000, "2d"),
        ] {
            assert_eq!(Span(micros).to_string(), text);
        }
    }

    #[test]
    fn a_span_of_ten_years_is_the_longest_that_can_be_written() {
        assert_eq!(Span::parse("3660d"), Ok(Span(316_224_000_000_000)));
        assert_eq!(Span::parse("316224000s"), Span::parse("3660d"));
        assert!(Span::parse("3660d1ms").unwrap_err().contains("ten years"));
        assert_eq!(Span::from_secs(1).scaled(1e30), Span(316_224_000_000_000));
        assert_eq!((Span::from_secs(4).scaled(1.5), Span::from_secs(4).scaled(-1.0)), (Span(6_000_000), Span(0)));
    }

    #[test]
    fn a_moment_moves_by_spans() {
        assert_eq!((Moment(5) + Span(3), Moment(5) - Span(3)), (Moment(8), Moment(2)));
    }

    #[test]
    fn a_span_is_the_same_in_every_unit() {
        assert_eq!((Span::from_secs(2), Span::from_millis(2)), (Span(2_000_000), Span(2_000)));
        assert_eq!(Span(1_500_000).as_std(), std::time::Duration::from_millis(1_500));
        assert_eq!(Span(-1).as_std(), std::time::Duration::ZERO);
        assert!((Span(1_500_000).as_secs_f64() - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_moment_is_shown_as_it_is_read() {
        let text = "2026-01-01T00:00:00.000001Z";
        let moment = Moment::parse(text).unwrap();
        assert_eq!((moment, moment.to_string().as_str()), (Moment(1_767_225_600_000_001), text));
        assert_eq!(Moment(i64::MAX).to_string(), format!("{}us", i64::MAX), "later than any calendar");
        assert_eq!((moment.since(Moment(1_767_225_600_000_000)), Moment(0).since(moment)), (Span(1), Span(0)));
        assert_eq!(Moment::parse("yesterday"), None);
    }
}
