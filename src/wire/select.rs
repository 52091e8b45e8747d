//! What a selector finds in a message, and what of it may be a name or an id.
//!
//! A found value is only borrowed. As a name or id it must be text or a whole number, taken as its decimal text as it was
//! written, of any length; fractions, exponents, booleans, lists and objects are none. JSON null counts as absent.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

/// Longest order id or event name.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Longest attribute value, as JSON: attributes are indexed for search, and an index entry has a bound of its own.
const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// A value in a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'m> {
    /// Out of a body, as it was written.
    Written(&'m RawValue),
    /// Out of headers or properties.
    Given(&'m Value),
    Text(&'m str),
}

impl<'m> Found<'m> {
    /// The value, unless it is null.
    pub(super) fn written(raw: &'m RawValue) -> Option<Self> {
        (raw.get() != "null").then_some(Self::Written(raw))
    }

    /// The value, unless it is null.
    pub(super) fn given(value: &'m Value) -> Option<Self> {
        (!value.is_null()).then_some(Self::Given(value))
    }

    /// A name or an id: text, or the digits of a whole number.
    ///
    /// # Errors
    /// What it is instead, to be said after "is".
    pub(super) fn text(self) -> Result<Cow<'m, str>, &'static str> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::Written(raw) => written_text(raw.get()),
            Self::Given(Value::String(text)) => Ok(Cow::Borrowed(text)),
            Self::Given(Value::Number(number)) if !number.is_f64() => Ok(Cow::Owned(number.to_string())),
            Self::Given(Value::Number(_)) => Err(NO_WHOLE_NUMBER),
            Self::Given(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Err(NO_TEXT),
        }
    }

    /// A name or an id that can be stored: 1 to 256 bytes, none of them zero.
    ///
    /// # Errors
    /// What is wrong with it, to be said after "is".
    pub(super) fn name(self) -> Result<String, &'static str> {
        let text = self.text()?;
        match text.len() {
            0 => Err("empty"),
            1..=NAME_BYTES_MAX if text.contains('\0') => Err("text with a zero byte"),
            1..=NAME_BYTES_MAX => Ok(text.into_owned()),
            _ => Err("longer than 256 bytes"),
        }
    }

    /// A value to search by: JSON as it is, but whole numbers too large for the databases as their digits, and without zero
    /// bytes. `None` if it is too long for an index or cannot be read.
    pub(super) fn attribute(self) -> Option<Value> {
        let value = match self {
            Self::Text(text) => Value::from(text),
            Self::Given(value) => value.clone(),
            Self::Written(raw) if raw.get().len() > ATTRIBUTE_BYTES_MAX => return None,
            Self::Written(raw) => match serde_json::from_str(raw.get()).ok()? {
                Value::Number(number) if number.is_f64() && is_whole_number(raw.get()) => Value::from(raw.get()),
                value => value,
            },
        };
        let value = without_zeros(value);
        (value.to_string().len() <= ATTRIBUTE_BYTES_MAX).then_some(value)
    }
}

const NO_TEXT: &str = "neither text nor a whole number";
const NO_WHOLE_NUMBER: &str = "a number with a fraction or an exponent";

fn written_text(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    match raw.as_bytes().first() {
        Some(b'"') => plain_string(raw)
            .map(Cow::Borrowed)
            .or_else(|| serde_json::from_str(raw).ok().map(Cow::Owned))
            .ok_or("text that is no Unicode"),
        Some(b'-' | b'0'..=b'9') if is_whole_number(raw) => Ok(Cow::Borrowed(raw)),
        Some(b'-' | b'0'..=b'9') => Err(NO_WHOLE_NUMBER),
        _ => Err(NO_TEXT),
    }
}

/// What stands between the quotes, where nothing in it is escaped.
fn plain_string(raw: &str) -> Option<&str> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains('\\')).then_some(inside)
}

fn is_whole_number(raw: &str) -> bool {
    raw.strip_prefix('-').unwrap_or(raw).bytes().all(|byte| byte.is_ascii_digit())
}

/// PostgreSQL cannot store a zero byte in text or JSON.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn without_zeros(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(&text)),
        Value::Array(items) => items.into_iter().map(without_zeros).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(key, member)| (storable(&key), without_zeros(member))).collect()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn name(json: &str) -> Result<String, &'static str> {
        let raw: Box<RawValue> = RawValue::from_string(json.to_owned()).unwrap();
        Found::Written(&raw).name()
    }

    #[test]
    fn text_and_whole_numbers_of_any_length_are_names() {
        for (json, text) in [
            (r#""A-1""#, "A-1"),
            (r#""\u0041\n""#, "A\n"),
            ("42", "42"),
            ("-7", "-7"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#"" ""#, " "),
        ] {
            assert_eq!(name(json).as_deref(), Ok(text));
        }
    }

    #[test]
    fn everything_else_is_no_name() {
        let long = format!("\"{}\"", "x".repeat(257));
        let long_number = "9".repeat(257);
        for json in
            ["1.0", "1e3", "-0.5", "true", "[]", "{}", "\"\"", r#""a\u0000b""#, r#""\ud800""#, &long, &long_number]
        {
            assert!(name(json).is_err(), "{json}");
        }
        assert_eq!(name(&format!("\"{}\"", "é".repeat(128))).unwrap().len(), 256);
    }

    #[test]
    fn numbers_in_headers_are_their_decimal_text() {
        for (value, text) in [(json!(4711), Ok("4711")), (json!(-1), Ok("-1")), (json!("x"), Ok("x"))] {
            assert_eq!(Found::Given(&value).name().as_deref(), text.as_deref());
        }
        for value in [json!(1.5), json!(1.0), json!(true), json!({}), json!([1])] {
            assert!(Found::Given(&value).name().is_err(), "{value}");
        }
    }

    #[test]
    fn null_is_absent() {
        assert!(Found::given(&Value::Null).is_none());
        assert!(Found::written(&RawValue::from_string("null".to_owned()).unwrap()).is_none());
    }

    #[test]
    fn attributes_keep_their_type_and_every_digit() {
        let attribute = |json: &str| Found::Written(&RawValue::from_string(json.to_owned()).unwrap()).attribute();
        assert_eq!(attribute("true"), Some(json!(true)));
        assert_eq!(attribute("12.5"), Some(json!(12.5)));
        assert_eq!(attribute("42"), Some(json!(42)));
        assert_eq!(attribute("123456789012345678901234567890"), Some(json!("123456789012345678901234567890")));
        assert_eq!(attribute(r#"{"a\u0000": ["\u0000"]}"#), Some(json!({"a\u{FFFD}": ["\u{FFFD}"]})));
        assert_eq!(attribute(&format!("\"{}\"", "x".repeat(2000))), None);
        assert_eq!(attribute("1e999"), None);
    }

    proptest! {
        #[test]
        fn any_text_within_the_bounds_comes_back(text in "[^\0]{1,60}") {
            let raw = RawValue::from_string(json!(text).to_string()).unwrap();
            prop_assert_eq!(Found::Written(&raw).name(), Ok(text));
        }
    }

    #[test]
    fn each_thing_that_is_no_name_is_told_apart() {
        let long = "9".repeat(257);
        for (json, why) in [
            ("1.5", NO_WHOLE_NUMBER),
            ("-1e3", NO_WHOLE_NUMBER),
            ("true", NO_TEXT),
            ("[]", NO_TEXT),
            ("\"\"", "empty"),
            (r#""\ud800""#, "text that is no Unicode"),
            (r#""a\u0000""#, "text with a zero byte"),
            (&long, "longer than 256 bytes"),
        ] {
            assert_eq!(name(json), Err(why), "{json}");
        }
    }

    #[test]
    fn an_attribute_may_be_as_long_as_an_index_bears() {
        let attribute = |bytes: usize| {
            let raw = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
            Found::Written(&raw).attribute().map(|value| value.to_string().len())
        };
        assert_eq!(attribute(ATTRIBUTE_BYTES_MAX), Some(ATTRIBUTE_BYTES_MAX));
        assert_eq!(attribute(ATTRIBUTE_BYTES_MAX + 1), None);
        // What is long only as it was written is short enough, if it is short as it is kept; but nobody reads so much for it.
        let escaped = RawValue::from_string(format!("\"{}\"", "\\u0041".repeat(200))).unwrap();
        assert!(Found::Written(&escaped).attribute().is_none());
    }
}
