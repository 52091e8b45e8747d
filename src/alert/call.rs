//! A call over HTTP as a value, and what a receiver's answer to it means.

use serde_json::Value;

use super::secret::Secret;
use crate::saga::time::{Moment, Span};

/// A POST of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub url: Secret,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// What became of a try to tell a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Taken,
    /// Not now; not before the span is over, where the receiver says so.
    Later { after: Option<Span>, why: String },
    /// It never will, as it is.
    Refused(String),
}

/// Longest wait a receiver can ask for: an alert that comes a day later helps nobody.
pub const AFTER_MAX: Span = Span::from_secs(3600);

impl Call {
    /// Posts `body`.
    pub fn post(url: Secret, body: &Value) -> Self {
        Self { url, headers: Vec::new(), body: body.to_string() }
    }
}

/// What an answer means. `retry_after` is the header, `said` what the body says, fit to be shown.
pub fn meaning(status: u16, retry_after: Option<&str>, said: &str, now: Moment) -> Answer {
    let why = if said.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {said}") };
    match status {
        200..=299 => Answer::Taken,
        300..=399 => Answer::Later {
            after: None,
            why: format!("it answered {status}, a redirect, which is not followed: set the address it leads to"),
        },
        408 | 425 | 429 | 500..=599 => Answer::Later { after: retry_after.and_then(|it| wait(it, now)), why },
        _ => Answer::Refused(why),
    }
}

/// The header `Retry-After`: seconds, or a date.
fn wait(header: &str, now: Moment) -> Option<Span> {
    let header = header.trim();
    let span = if let Ok(seconds) = header.parse::<u32>() {
        Span::from_secs(i64::from(seconds))
    } else {
        let date = jiff::fmt::rfc2822::parse(header).ok()?;
        Moment(date.timestamp().as_microsecond()).since(now)
    };
    Some(span.min(AFTER_MAX))
}

/// Of several that should all know: one that has it is enough, for the others are told again; and while any may take it later,
/// it is not refused.
pub fn together(answers: Vec<Answer>) -> Answer {
    let mut refused = None;
    let mut later: Option<(Option<Span>, Vec<String>)> = None;
    for answer in answers {
        match answer {
            Answer::Taken => return Answer::Taken,
            Answer::Later { after, why } => {
                let (longest, reasons) = later.get_or_insert_default();
                *longest = (*longest).max(after);
                reasons.push(why);
            }
            Answer::Refused(why) => refused = refused.or(Some(why)),
        }
    }
    match (later, refused) {
        (Some((after, reasons)), _) => Answer::Later { after, why: reasons.join("; ") },
        (None, Some(why)) => Answer::Refused(why),
        (None, None) => Answer::Refused("there is nobody to tell".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(784_111_770_000_000);

    #[test]
    fn only_what_can_never_be_taken_is_refused() {
        for (status, is_taken, is_refused) in [
            (200, true, false),
            (202, true, false),
            (302, false, false),
            (400, false, true),
            (401, false, true),
            (404, false, true),
            (408, false, false),
            (410, false, true),
            (429, false, false),
            (500, false, false),
            (503, false, false),
        ] {
            let answer = meaning(status, None, "", NOW);
            assert_eq!(answer == Answer::Taken, is_taken, "{status}");
            assert_eq!(matches!(answer, Answer::Refused(_)), is_refused, "{status}");
        }
    }

    #[test]
    fn a_receiver_says_when_it_will_take_it() {
        let after = |header| match meaning(429, Some(header), "", NOW) {
            Answer::Later { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Span::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Span::from_secs(7)));
        assert_eq!(after("Sat, 06 Nov 1993 08:49:37 GMT"), Some(Span(0)));
        assert_eq!(after("86400"), Some(AFTER_MAX), "nobody is silenced for a day");
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn one_of_several_is_enough() {
        let later = |seconds| Answer::Later { after: Some(Span::from_secs(seconds)), why: format!("in {seconds}") };
        let refused = || Answer::Refused("no".to_owned());
        assert_eq!(together(vec![refused(), Answer::Taken, later(1)]), Answer::Taken);
        assert_eq!(
            together(vec![later(1), refused(), later(3)]),
            Answer::Later { after: Some(Span::from_secs(3)), why: "in 1; in 3".to_owned() }
        );
        assert_eq!(together(vec![refused(), refused()]), refused());
    }
}
