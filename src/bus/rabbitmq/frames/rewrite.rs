//! Frames made readable: bad bytes of a text become `\xNN`, what cannot be read at all becomes void, and one header of the
//! message says which parts are not as they were sent, with the original bytes.
//!
//! A service cannot write that header itself: a message that brings one is not readable in that part, and is rewritten.

use std::borrow::Cow;

use lapin::types::{AMQPValue, FieldTable};

use super::fields::{Cursor, Field, is_text, of_method};

/// The header that says what of a message is not readable. Made by the filter, taken away again by whoever reads the delivery.
pub const MARK: &str = "x-escrow-unreadable";

/// A frame may have this many bytes on every connection. A larger one is never made larger still.
const FRAME_BYTES_MIN: usize = 4_096;
/// Frame head and end.
const FRAME_BYTES_AROUND: usize = 8;
const SHORT_BYTES_MAX: usize = 255;
/// Parts that are named one by one; more are `headers` as a whole.
const PARTS_MAX: usize = 16;
/// Class, weight, and size of the body.
const CONTENT_BYTES: usize = 12;
/// Place of the header table among the properties.
const HEADERS: usize = 2;
const HEADERS_BIT: u16 = 1 << (15 - HEADERS);
/// All headers, where it cannot be told which.
const ALL_HEADERS: &str = "headers";

/// The properties in the order of their flags, from the highest.
const PROPERTIES: [(&str, Shape); 14] = [
    ("content_type", Shape::Text),
    ("content_encoding", Shape::Text),
    (ALL_HEADERS, Shape::Table),
    ("delivery_mode", Shape::Bytes(1)),
    ("priority", Shape::Bytes(1)),
    ("correlation_id", Shape::Text),
    ("reply_to", Shape::Text),
    ("expiration", Shape::Text),
    ("message_id", Shape::Text),
    ("timestamp", Shape::Bytes(8)),
    ("type", Shape::Text),
    ("user_id", Shape::Text),
    ("app_id", Shape::Text),
    ("cluster_id", Shape::Text),
];

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Table,
    Bytes(usize),
}

/// Where a delivery came from, if that is no text.
#[derive(Debug, Default)]
pub(super) struct Place {
    exchange: Option<Vec<u8>>,
    routing_key: Option<Vec<u8>>,
}

pub(super) enum Verdict {
    Clean,
    Replace(Vec<u8>),
}

/// The payload of a method, readable; `None` where it was. With the place, if it brings a message and that is no text.
pub(super) fn method(payload: &[u8]) -> Option<(Vec<u8>, Option<Place>)> {
    let fields = of_method(*payload.first_chunk()?)?;
    let mut rest = Cursor(&payload[4..]);
    let (mut readable, mut place) = (payload[..4].to_vec(), Place::default());
    let mut is_clean = true;
    for field in fields {
        if let Field::Bytes(count) = *field {
            readable.extend_from_slice(rest.take(count)?);
            continue;
        }
        let text = rest.short()?;
        if !is_text(text) {
            is_clean = false;
            match field {
                Field::Exchange => place.exchange = Some(text.to_vec()),
                Field::RoutingKey => place.routing_key = Some(text.to_vec()),
                Field::Text | Field::Bytes(_) => {}
            }
        }
        put_short(&mut readable, &escaped(text));
    }
    readable.extend_from_slice(rest.0);
    let place = (place.exchange.is_some() || place.routing_key.is_some()).then_some(place);
    (!is_clean).then_some((readable, place))
}

/// The payload of a content header, readable; `None` where it was and the place is text.
pub(super) fn header(payload: &[u8], place: Option<Place>) -> Option<Vec<u8>> {
    if place.is_none() && is_clean(payload) {
        return None;
    }
    let place = place.unwrap_or_default();
    // Too short for a header at all: no broker sends that, and the client library says so.
    let (content, raw) = payload.split_at_checked(CONTENT_BYTES)?;
    let budget = payload.len().max(FRAME_BYTES_MIN - FRAME_BYTES_AROUND);
    let mut kept = Kept::of(raw);
    kept.parts.extend(place.exchange.iter().map(|_| "exchange".to_owned()));
    kept.parts.extend(place.routing_key.iter().map(|_| "routing_key".to_owned()));
    let whole = kept.written(content, &place, raw);
    if whole.len() <= budget {
        return Some(whole);
    }
    // The original is worth more than headers that are in it anyway.
    kept.without_headers();
    let without = kept.written(content, &place, raw);
    let cut = raw.len().saturating_sub(without.len().saturating_sub(budget));
    Some(kept.written(content, &place, &raw[..cut]))
}

fn is_clean(payload: &[u8]) -> bool {
    let mut rest = Cursor(payload);
    let Some(flags) = rest.take(CONTENT_BYTES).and_then(|_| flags(&mut rest)) else { return false };
    for (ix, (_, shape)) in PROPERTIES.iter().enumerate() {
        if flags & (1 << (15 - ix)) == 0 {
            continue;
        }
        let clean = match shape {
            Shape::Text => rest.short().is_some_and(is_text),
            Shape::Bytes(count) => rest.take(*count).is_some(),
            Shape::Table => rest.long().is_some_and(is_clean_table),
        };
        if !clean {
            return false;
        }
    }
    rest.0.is_empty()
}

fn is_clean_table(inside: &[u8]) -> bool {
    let mut rest = Cursor(inside);
    while !rest.0.is_empty() {
        let name = rest.short();
        if !name.is_some_and(|name| is_text(name) && name != MARK.as_bytes()) || rest.value(0) != Some(true) {
            return false;
        }
    }
    true
}

fn flags(rest: &mut Cursor<'_>) -> Option<u16> {
    Some(u16::from_be_bytes(*rest.take(2)?.first_chunk()?))
}

/// What of a list of properties can be read.
struct Kept {
    flags: u16,
    /// Properties before and after the header table, and the inside of the table.
    before: Vec<u8>,
    table: Vec<u8>,
    after: Vec<u8>,
    /// What cannot be read as it was sent, as a selector would name it.
    parts: Vec<String>,
}

impl Kept {
    fn of(raw: &[u8]) -> Self {
        let mut kept = Self { flags: 0, before: Vec::new(), table: Vec::new(), after: Vec::new(), parts: Vec::new() };
        let mut rest = Cursor(raw);
        let flags = flags(&mut rest).unwrap_or_default();
        for ix in 0..PROPERTIES.len() {
            let bit = 1 << (15 - ix);
            if flags & bit != 0 && kept.property(ix, &mut rest).is_none() {
                // The lengths are wrong: of this one and of what comes after it nothing is known.
                let is_set = |ix: &usize| flags & (1 << (15 - ix)) != 0;
                kept.parts.extend((ix..PROPERTIES.len()).filter(is_set).map(part));
                break;
            }
            kept.flags |= flags & bit;
        }
        kept
    }

    fn property(&mut self, ix: usize, rest: &mut Cursor<'_>) -> Option<()> {
        match PROPERTIES[ix].1 {
            Shape::Table => self.headers(rest.long()?),
            Shape::Bytes(count) => self.after.extend_from_slice(rest.take(count)?),
            Shape::Text => {
                let text = rest.short()?;
                if !is_text(text) {
                    self.parts.push(part(ix));
                }
                put_short(if ix < HEADERS { &mut self.before } else { &mut self.after }, &escaped(text));
            }
        }
        Some(())
    }

    fn headers(&mut self, inside: &[u8]) {
        let mut rest = Cursor(inside);
        while !rest.0.is_empty() {
            let Some(name) = rest.short() else { return self.parts.push(ALL_HEADERS.to_owned()) };
            let shown = escaped(name);
            let mut value = rest;
            let is_readable = value.value(0);
            let of_value = &rest.0[..rest.0.len() - value.0.len()];
            let Some(is_readable) = is_readable else { return self.parts.push(ALL_HEADERS.to_owned()) };
            rest = value;
            let is_ours = name == MARK.as_bytes();
            if !is_text(name) || is_ours || !is_readable {
                self.parts.push(format!("header:{shown}"));
            }
            if !is_ours {
                put_short(&mut self.table, &shown);
                self.table.extend_from_slice(if is_readable { of_value } else { b"V" });
            }
        }
    }

    fn without_headers(&mut self) {
        if !self.table.is_empty() {
            self.table.clear();
            self.parts.retain(|part| !part.starts_with("header"));
            self.parts.push(ALL_HEADERS.to_owned());
        }
    }

    fn written(&self, content: &[u8], place: &Place, raw: &[u8]) -> Vec<u8> {
        let mut mark = Vec::new();
        let parts: Vec<u8> = self.named().iter().flat_map(|part| [b"S", &*long(part.as_bytes())].concat()).collect();
        put_entry(&mut mark, "parts", b'A', &parts);
        for (name, bytes) in [
            ("exchange", place.exchange.as_deref()),
            ("routing_key", place.routing_key.as_deref()),
            ("properties", Some(raw)),
        ] {
            if let Some(bytes) = bytes {
                put_entry(&mut mark, name, b'x', bytes);
            }
        }
        let mut table = self.table.clone();
        put_entry(&mut table, MARK, b'F', &mark);
        let flags = (self.flags | HEADERS_BIT).to_be_bytes();
        [content, &flags, &self.before, &long(&table), &self.after].concat()
    }

    /// The parts, few enough to be listed.
    fn named(&self) -> Vec<&str> {
        let parts = self.parts.iter().map(String::as_str);
        if self.parts.len() <= PARTS_MAX {
            return parts.collect();
        }
        let others = parts.filter(|part| !part.starts_with("header"));
        others.chain([ALL_HEADERS]).collect()
    }
}

/// A property as a selector would name it.
fn part(ix: usize) -> String {
    if ix == HEADERS { ALL_HEADERS.to_owned() } else { format!("property:{}", PROPERTIES[ix].0) }
}

/// A text as it is; of anything else what is text, and `\xNN` for each other byte, as far as a short string reaches.
fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        let bad = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in chunk.valid().chars().map(String::from).chain(bad) {
            if shown.len() + piece.len() > SHORT_BYTES_MAX {
                return Cow::Owned(shown);
            }
            shown.push_str(&piece);
        }
    }
    Cow::Owned(shown)
}

fn put_short(into: &mut Vec<u8>, text: &str) {
    // Every caller's text came out of a short string, or out of `escaped`.
    into.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    into.extend_from_slice(text.as_bytes());
}

fn put_entry(into: &mut Vec<u8>, name: &str, letter: u8, inside: &[u8]) {
    put_short(into, name);
    into.push(letter);
    into.extend_from_slice(&long(inside));
}

fn long(inside: &[u8]) -> Vec<u8> {
    [&u32::try_from(inside.len()).unwrap_or(u32::MAX).to_be_bytes()[..], inside].concat()
}

/// What the filter wrote down about a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::bus::rabbitmq) struct Remark<'m> {
    /// As selectors name them: `routing_key`, `exchange`, `property:NAME`, `header:NAME`; `headers` where it may be any.
    pub parts: Vec<&'m str>,
    /// The original bytes of what is not as it was sent, by name.
    pub raw: Vec<(&'m str, &'m [u8])>,
}

/// What the filter wrote down, if it did.
pub(in crate::bus::rabbitmq) fn remark(headers: &FieldTable) -> Option<Remark<'_>> {
    let AMQPValue::FieldTable(mark) = headers.inner().get(MARK)? else { return None };
    let mut remark = Remark::default();
    for (name, value) in mark {
        match value {
            AMQPValue::FieldArray(parts) => {
                let parts = parts.as_slice().iter().filter_map(AMQPValue::as_long_string);
                remark.parts = parts.filter_map(|part| std::str::from_utf8(part.as_bytes()).ok()).collect();
            }
            AMQPValue::ByteArray(bytes) => remark.raw.push((name.as_str(), bytes.as_slice())),
            _ => {}
        }
    }
    Some(remark)
}
