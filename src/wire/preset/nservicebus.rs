//! NServiceBus: the message is the body, everything else is in headers that begin with `NServiceBus.`.

use std::borrow::Cow;

use serde_json::Value;

use super::{text, type_names};
use crate::saga::time::Moment;
use crate::wire::frame::{Facts, Frame, Parts, Rest};
use crate::wire::select::Found;

/// Takes a message apart. One without these headers has no event name.
pub(in crate::wire) fn frame(parts: Parts<'_>) -> Frame<'_> {
    let headers = &parts.envelope.headers;
    let header = |name: &str| text(headers.get(name).and_then(Found::given));
    let enclosed = header("NServiceBus.EnclosedMessageTypes").unwrap_or_default();
    let types = enclosed.split(';').flat_map(|name| type_names(full_name(name.trim()), '.')).collect();
    let facts = Facts {
        id: header("NServiceBus.MessageId"),
        source: None,
        time: header("NServiceBus.TimeSent").and_then(|time| time_sent(&time)),
    };
    let rest = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let payload = (!parts.body.is_empty()).then_some(Cow::Borrowed(parts.body));
    Frame::new(types, facts, payload, Rest::Table(Value::Object(rest)))
}

/// `Shop.Orders.OrderPlaced, Shop, Version=1.0.0.0, …` without the assembly.
fn full_name(qualified: &str) -> &str {
    let name = qualified.split([',', '[']).next().unwrap_or(qualified);
    name.trim_end()
}

/// Reads `2026-11-21 08:15:30:123456 Z`: a format of its own, in which a colon stands before the fraction.
fn time_sent(text: &str) -> Option<Moment> {
    let (date, rest) = text.trim().split_once(' ')?;
    let (clock, fraction) = rest.trim_end_matches('Z').trim_end().rsplit_once(':')?;
    if clock.matches(':').count() == 2 {
        Moment::parse(&format!("{date}T{clock}.{fraction}Z"))
    } else {
        Moment::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_their_own_format() {
        assert_eq!(time_sent("1970-01-01 00:00:01:000250 Z"), Some(Moment(1_000_250)));
        assert_eq!(time_sent("1970-01-01 00:00:01Z"), Some(Moment(1_000_000)));
        for text in ["", "Z", "yesterday", "1970-01-01", "1970-01-01 00:00:01:é Z", "1970-01-01 99:00:01:000250 Z"] {
            assert_eq!(time_sent(text), None, "{text}");
        }
    }

    #[test]
    fn the_assembly_is_no_part_of_the_name() {
        assert_eq!(full_name("Shop.OrderPlaced, Shop, Version=1.0.0.0, Culture=neutral"), "Shop.OrderPlaced");
        assert_eq!(full_name("Shop.Changed`1[[Shop.Order, Shop]], Shop"), "Shop.Changed`1");
    }
}
