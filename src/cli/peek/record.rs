//! What was seen, as lines that `escrow try --events` reads. Pure.
//!
//! A body stands there byte for byte: as it is where it is JSON on one line, else as a string of JSON. Only text can be
//! written so; what is no text is left out and counted. Escrow's own messages are left out, because a rehearsal makes its own.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::bus::{Envelope, Peeked};
use crate::wire::is_own;

/// The lines, and how many messages are not among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub text: String,
    pub left_out: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    exchange: &'a str,
    routing_key: &'a str,
    #[serde(flatten)]
    envelope: &'a Envelope,
    body: Box<RawValue>,
}

/// Writes down what was seen, in the order in which it came.
pub fn record(seen: &[Peeked]) -> Record {
    let mut record = Record::default();
    let start = seen.first().map(|first| first.after).unwrap_or_default();
    for Peeked { after, delivery } in seen.iter().filter(|it| !is_own(&it.delivery)) {
        let line = body(&delivery.body).and_then(|body| {
            let line = Line {
                at: format!("{}ms", after.saturating_sub(start).as_millis()),
                exchange: &delivery.exchange,
                routing_key: &delivery.routing_key,
                envelope: &delivery.envelope,
                body,
            };
            serde_json::to_string(&line).ok()
        });
        match line {
            Some(line) => record.text += &(line + "\n"),
            None => record.left_out += 1,
        }
    }
    record
}

/// A body as JSON; `None` when it is no text.
fn body(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_one_line = !text.contains(['\n', '\r']) && text.trim() == text;
    // A string of JSON stands for a body that is not JSON, so a body that is one has to be written as such a string too.
    let as_it_is = (is_one_line && !text.starts_with('"')).then(|| RawValue::from_string(text.to_owned()).ok());
    as_it_is.flatten().or_else(|| RawValue::from_string(serde_json::to_string(text).ok()?).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::Delivery;
    use crate::cli::rehearsal::read_events;
    use crate::saga::time::Moment;

    fn seen(after_ms: u64, body: &[u8]) -> Peeked {
        let envelope: Envelope =
            serde_json::from_value(serde_json::json!({"headers": {"x": 1}, "properties": {"message_id": "m-1"}}))
                .unwrap();
        let delivery = Delivery {
            exchange: "shop".into(),
            routing_key: "order.placed".into(),
            envelope,
            body: body.to_vec(),
            redelivered: false,
        };
        Peeked { after: Duration::from_millis(after_ms), delivery }
    }

    #[test]
    fn what_is_recorded_is_read_again_as_it_was() {
        let bodies: [&[u8]; 7] = [
            br#"{"id": 123456789012345678901234567890, "x":1.50}"#,
            b"{\n  \"pretty\": true\n}",
            br#""a string of JSON""#,
            b"plain words, \"quoted\"",
            b"",
            b" 1 ",
            b"null",
        ];
        let all: Vec<Peeked> = (0..).zip(bodies).map(|(number, body)| seen(40 + 1500 * number, body)).collect();
        let record = record(&all);
        assert_eq!(record.left_out, 0);
        let read = read_events(&record.text).unwrap();
        for (number, ((at, delivery), peeked)) in (0_i64..).zip(read.iter().zip(&all)) {
            assert_eq!(*at, Moment(number * 1_500_000));
            assert_eq!(delivery.body, peeked.delivery.body);
            assert_eq!(delivery.envelope, peeked.delivery.envelope);
            assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("shop", "order.placed"));
        }
        assert_eq!(read.len(), all.len());
    }

    #[test]
    fn what_is_no_text_is_counted_and_escrows_own_is_not() {
        let mut own = seen(1, b"{}");
        let mark = crate::wire::own_mark("key", b"{}").into();
        own.delivery.envelope.headers.insert("x-escrow-own".into(), mark);
        assert_eq!(record(&[seen(0, b"\xff"), own]), Record { text: String::new(), left_out: 1 });
    }
}
