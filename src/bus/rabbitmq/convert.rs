//! AMQP headers and properties as the JSON of an [`Envelope`], and back without a loss.
//!
//! Values are plain JSON, so that selectors and expressions read them as they are. What JSON cannot say is kept beside them,
//! in the property `$types`: the path of a value and the letter of its AMQP type, only where the plain form alone would come
//! back as something else.
//!
//! | AMQP | JSON | needs a letter |
//! |---|---|---|
//! | long string | string | `S*` (base64) when it is not UTF-8 |
//! | byte array | string | `x`, or `x*` (base64) |
//! | 32-bit integer, else 64-bit | number | no |
//! | other integers | number | `b` `B` `s` `u` `i`, `l` when it would fit in 32 bits |
//! | double, float | number | `d` when it is whole or no number, `f` |
//! | decimal | string of its digits | `D` |
//! | timestamp | RFC 3339 string | `T` |
//! | boolean, void, array, table | boolean, null, array, object | no |
//!
//! What was no text on the wire, and was made readable by [`frames`], is named in the property `$unreadable`, with the original
//! bytes in base64: `{"parts": ["header:café", …], "properties": "…", "routing_key": "…"}`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString, ShortString};
use serde_json::{Map, Value};

use super::frames;
use crate::bus::{Envelope, UNREADABLE};

/// The property that holds the letters.
pub const TYPES: &str = Envelope::TYPES;

type Letters = BTreeMap<String, String>;

/// What a message came with.
pub fn to_envelope(properties: &BasicProperties) -> Envelope {
    let mut letters = Letters::new();
    let mut envelope = Envelope::default();
    let remark = properties.headers().as_ref().and_then(frames::remark);
    if let Some(table) = properties.headers() {
        for (name, value) in table.into_iter().filter(|(name, _)| name.as_str() != frames::MARK) {
            let value = to_json(value, &join("", name.as_str()), &mut letters);
            envelope.headers.insert(name.to_string(), value);
        }
    }
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            envelope.properties.insert(name.into(), value);
        }
    };
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| Value::from(text.as_str()));
    put("content_type", text(properties.content_type()));
    put("content_encoding", text(properties.content_encoding()));
    put("delivery_mode", properties.delivery_mode().map(Value::from));
    put("priority", properties.priority().map(Value::from));
    put("correlation_id", text(properties.correlation_id()));
    put("reply_to", text(properties.reply_to()));
    put("expiration", text(properties.expiration()));
    put("message_id", text(properties.message_id()));
    put("timestamp", properties.timestamp().map(Value::from));
    put("type", text(properties.kind()));
    put("user_id", text(properties.user_id()));
    put("app_id", text(properties.app_id()));
    put("cluster_id", text(properties.cluster_id()));
    let letters: Map<String, Value> = letters.into_iter().map(|(path, letter)| (path, Value::from(letter))).collect();
    put(TYPES, (!letters.is_empty()).then_some(Value::Object(letters)));
    put(UNREADABLE, remark.map(|remark| unreadable(&remark)));
    envelope
}

fn unreadable(remark: &frames::Remark<'_>) -> Value {
    let raw = remark.raw.iter().map(|(name, bytes)| ((*name).to_owned(), Value::from(STANDARD.encode(bytes))));
    Value::Object(raw.chain([("parts".to_owned(), Value::from(remark.parts.clone()))]).collect())
}

/// What to send a message with.
///
/// # Errors
/// What cannot be said in AMQP, in words.
pub fn to_properties(envelope: &Envelope) -> Result<BasicProperties, String> {
    let letters = envelope.properties.get(TYPES).and_then(Value::as_object);
    let mut properties = BasicProperties::default();
    if !envelope.headers.is_empty() {
        let table = envelope.headers.iter().map(|(name, value)| entry("", name, value, letters));
        properties = properties.with_headers(FieldTable::from(table.collect::<Result<BTreeMap<_, _>, _>>()?));
    }
    for (name, value) in &envelope.properties {
        let text = || match value {
            Value::String(text) => short(name, text),
            Value::Number(number) => short(name, &number.to_string()),
            _ => Err(format!("the property `{name}` must be text")),
        };
        let number = || {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            number.ok_or_else(|| format!("the property `{name}` must be a whole number"))
        };
        let byte = || u8::try_from(number()?).map_err(|_| format!("the property `{name}` must be at most 255"));
        properties = match name.as_str() {
            "content_type" => properties.with_content_type(text()?),
            "content_encoding" => properties.with_content_encoding(text()?),
            "delivery_mode" => properties.with_delivery_mode(byte()?),
            "priority" => properties.with_priority(byte()?),
            "correlation_id" => properties.with_correlation_id(text()?),
            "reply_to" => properties.with_reply_to(text()?),
            "expiration" => properties.with_expiration(text()?),
            "message_id" => properties.with_message_id(text()?),
            "timestamp" => properties.with_timestamp(number()?),
            "type" => properties.with_type(text()?),
            "user_id" => properties.with_user_id(text()?),
            "app_id" => properties.with_app_id(text()?),
            "cluster_id" => properties.with_cluster_id(text()?),
            TYPES | UNREADABLE => properties,
            _ => return Err(format!("AMQP has no property `{name}`")),
        };
    }
    Ok(properties)
}

/// About how many bytes the headers and properties take in a frame; rather too many than too few.
pub(super) fn header_bytes(properties: &BasicProperties) -> usize {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts: usize = texts.into_iter().flatten().map(|text| text.as_str().len() + 1).sum();
    texts + properties.headers().as_ref().map_or(0, table_bytes)
}

fn table_bytes(table: &FieldTable) -> usize {
    4 + table.into_iter().map(|(name, value)| name.as_str().len() + 1 + value_bytes(value)).sum::<usize>()
}

fn value_bytes(value: &AMQPValue) -> usize {
    // A letter, and the widest of the fixed sizes: a length, or eight bytes.
    9 + match value {
        AMQPValue::LongString(text) => text.len(),
        AMQPValue::ByteArray(bytes) => bytes.len(),
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_bytes).sum(),
        AMQPValue::FieldTable(table) => table_bytes(table),
        _ => 0,
    }
}

/// The path of a value below `parent`, like a JSON pointer.
fn join(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn to_json(value: &AMQPValue, path: &str, letters: &mut Letters) -> Value {
    let mut say = |letter: &str| letters.insert(path.into(), letter.into());
    match value {
        AMQPValue::Boolean(value) => Value::from(*value),
        AMQPValue::ShortShortInt(value) => (say("b"), Value::from(*value)).1,
        AMQPValue::ShortShortUInt(value) => (say("B"), Value::from(*value)).1,
        AMQPValue::ShortInt(value) => (say("s"), Value::from(*value)).1,
        AMQPValue::ShortUInt(value) => (say("u"), Value::from(*value)).1,
        AMQPValue::LongInt(value) => Value::from(*value),
        AMQPValue::LongUInt(value) => (say("i"), Value::from(*value)).1,
        AMQPValue::LongLongInt(value) => {
            if i32::try_from(*value).is_ok() {
                say("l");
            }
            Value::from(*value)
        }
        AMQPValue::Float(value) => (say("f"), float(f64::from(*value))).1,
        AMQPValue::Double(value) => {
            if !value.is_finite() || value.fract() == 0.0 {
                say("d");
            }
            float(*value)
        }
        AMQPValue::DecimalValue(value) => (say("D"), Value::from(digits(*value))).1,
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => Value::from(text),
            Err(_) => (say("S*"), Value::from(STANDARD.encode(text.as_bytes()))).1,
        },
        AMQPValue::ByteArray(bytes) => match std::str::from_utf8(bytes.as_slice()) {
            Ok(text) => (say("x"), Value::from(text)).1,
            Err(_) => (say("x*"), Value::from(STANDARD.encode(bytes.as_slice()))).1,
        },
        AMQPValue::Timestamp(seconds) => (say("T"), Value::from(timestamp(*seconds))).1,
        AMQPValue::FieldArray(values) => {
            let values = values.as_slice().iter().enumerate();
            values.map(|(place, value)| to_json(value, &join(path, &place.to_string()), letters)).collect()
        }
        AMQPValue::FieldTable(table) => {
            let entries = table.into_iter();
            let entry = |(name, value): (&ShortString, &AMQPValue)| {
                (name.to_string(), to_json(value, &join(path, name.as_str()), letters))
            };
            Value::Object(entries.map(entry).collect())
        }
        AMQPValue::Void => Value::Null,
    }
}

fn entry(
    parent: &str,
    name: &str,
    value: &Value,
    letters: Option<&Map<String, Value>>,
) -> Result<(ShortString, AMQPValue), String> {
    Ok((short("headers", name)?, from_json(value, &join(parent, name), letters)?))
}

fn from_json(value: &Value, path: &str, letters: Option<&Map<String, Value>>) -> Result<AMQPValue, String> {
    if let Some(letter) = letters.and_then(|letters| letters.get(path)?.as_str())
        && let Some(value) = as_letter(value, letter)
    {
        return Ok(value);
    }
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::String(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => i32::try_from(whole).map_or(AMQPValue::LongLongInt(whole), AMQPValue::LongInt),
            (None, Some(value)) if number.is_f64() => AMQPValue::Double(value),
            (None, _) => return Err(format!("the header `{path}` holds a number AMQP has no type for: {number}")),
        },
        Value::Array(values) => {
            let values = values.iter().enumerate();
            let each = values.map(|(place, value)| from_json(value, &join(path, &place.to_string()), letters));
            AMQPValue::FieldArray(FieldArray::from(each.collect::<Result<Vec<_>, _>>()?))
        }
        Value::Object(table) => {
            let each = table.iter().map(|(name, value)| entry(path, name, value, letters));
            AMQPValue::FieldTable(FieldTable::from(each.collect::<Result<BTreeMap<_, _>, _>>()?))
        }
    })
}

/// The value as the type with this letter; `None` where it is not one (the header was given a new value since).
fn as_letter(value: &Value, letter: &str) -> Option<AMQPValue> {
    Some(match letter {
        "b" => AMQPValue::ShortShortInt(value.as_i64()?.try_into().ok()?),
        "B" => AMQPValue::ShortShortUInt(value.as_i64()?.try_into().ok()?),
        "s" => AMQPValue::ShortInt(value.as_i64()?.try_into().ok()?),
        "u" => AMQPValue::ShortUInt(value.as_i64()?.try_into().ok()?),
        "i" => AMQPValue::LongUInt(value.as_i64()?.try_into().ok()?),
        "l" => AMQPValue::LongLongInt(value.as_i64()?),
        "f" => AMQPValue::Float(narrowed(read_float(value)?)),
        "d" => AMQPValue::Double(read_float(value)?),
        "D" => AMQPValue::DecimalValue(read_digits(value.as_str()?)?),
        "S*" => AMQPValue::LongString(STANDARD.decode(value.as_str()?).ok()?.into()),
        "x" => AMQPValue::ByteArray(value.as_str()?.as_bytes().into()),
        "x*" => AMQPValue::ByteArray(STANDARD.decode(value.as_str()?).ok()?.into()),
        "T" => AMQPValue::Timestamp(read_timestamp(value.as_str()?)?),
        _ => return None,
    })
}

fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| format!("{what}: `{text:.40}…` is longer than the 255 bytes AMQP allows"))
}

/// A number where JSON has one, else its name.
fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}

fn read_float(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[expect(clippy::cast_possible_truncation, reason = "the value was a 32-bit float when it was written down")]
fn narrowed(value: f64) -> f32 {
    value as f32
}

/// A decimal with exactly as many places as its scale.
fn digits(value: DecimalValue) -> String {
    let scale = usize::from(value.scale);
    let all = format!("{:0>width$}", value.value, width = scale + 1);
    let (whole, places) = all.split_at(all.len() - scale);
    if scale == 0 { whole.to_owned() } else { format!("{whole}.{places}") }
}

fn read_digits(text: &str) -> Option<DecimalValue> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let scale = u8::try_from(places.len()).ok()?;
    Some(DecimalValue { scale, value: format!("{whole}{places}").parse().ok()? })
}

/// RFC 3339, or the bare seconds of a moment it has no form for.
fn timestamp(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| seconds.to_string(), |moment| moment.to_string())
}

fn read_timestamp(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_second()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Vec<AMQPValue> {
        let table = BTreeMap::from([("in/side~".into(), AMQPValue::ShortInt(-3))]);
        let array = vec![AMQPValue::Void, AMQPValue::ByteArray(vec![1, 255].into()), AMQPValue::LongInt(1)];
        let mut values = vec![
            AMQPValue::Boolean(true),
            AMQPValue::ShortShortInt(-8),
            AMQPValue::ShortShortUInt(200),
            AMQPValue::ShortInt(-300),
            AMQPValue::ShortUInt(60_000),
            AMQPValue::LongInt(-70_000),
            AMQPValue::LongUInt(4_000_000_000),
            AMQPValue::LongLongInt(5),
            AMQPValue::LongLongInt(i64::MIN),
            AMQPValue::Float(0.1),
            AMQPValue::Float(f32::INFINITY),
            AMQPValue::LongString("text".into()),
            AMQPValue::LongString(vec![0xff, 0x00].into()),
            AMQPValue::ByteArray(b"text".as_slice().into()),
            AMQPValue::FieldTable(FieldTable::from(table)),
            AMQPValue::FieldArray(array.into()),
            AMQPValue::Void,
        ];
        values.extend([0.5, 7.0, -0.0, 1e300, f64::NEG_INFINITY].map(AMQPValue::Double));
        values.extend([0, 1_700_000_000, u64::MAX].map(AMQPValue::Timestamp));
        for (scale, value) in [(0, 0), (2, 12_345), (2, 5), (3, 1_000), (255, 1)] {
            values.push(AMQPValue::DecimalValue(DecimalValue { scale, value }));
        }
        values
    }

    #[test]
    fn every_header_type_comes_back_exactly_also_through_stored_text() {
        let table: BTreeMap<_, _> =
            every_type().into_iter().enumerate().map(|(n, value)| (format!("h{n}").into(), value)).collect();
        let sent = BasicProperties::default().with_headers(FieldTable::from(table)).with_type("t".into());
        let stored = serde_json::to_string(&to_envelope(&sent)).unwrap();
        let read: Envelope = serde_json::from_str(&stored).unwrap();
        assert_eq!(to_properties(&read).unwrap(), sent);
    }

    #[test]
    fn every_property_comes_back_exactly() {
        let sent = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(2)
            .with_priority(9)
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_expiration("1000".into())
            .with_message_id("m".into())
            .with_timestamp(1_700_000_000)
            .with_type("t".into())
            .with_user_id("guest".into())
            .with_app_id("shop".into())
            .with_cluster_id("k".into());
        assert_eq!(to_properties(&to_envelope(&sent)).unwrap(), sent);
    }

    #[test]
    fn plain_values_need_no_letters() {
        let table = BTreeMap::from([
            ("text".into(), AMQPValue::LongString("x".into())),
            ("number".into(), AMQPValue::LongInt(3)),
            ("flag".into(), AMQPValue::Boolean(false)),
        ]);
        let envelope = to_envelope(&BasicProperties::default().with_headers(FieldTable::from(table)));
        assert_eq!(envelope.headers["text"], "x");
        assert_eq!(envelope.headers["number"], 3);
        assert!(!envelope.properties.contains_key(TYPES));
    }

    #[test]
    fn what_amqp_cannot_say_is_refused_in_words() {
        let mut envelope = Envelope::default();
        envelope.properties.insert("message_id".into(), Value::from("x".repeat(256)));
        assert!(to_properties(&envelope).unwrap_err().contains("255 bytes"));
        envelope.properties.clear();
        envelope.properties.insert("colour".into(), Value::from("red"));
        assert!(to_properties(&envelope).unwrap_err().contains("colour"));
    }
}
