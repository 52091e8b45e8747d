//! Finds a few places in a JSON text without building a tree of it.
//!
//! The text is walked once, whatever the number of pointers: what no pointer leads to is only checked for its syntax. What
//! is found is the text as it was written, so that a number of forty digits keeps them all. The answers are those of
//! `serde_json::Value::pointer`: the last of two equal keys counts, `~1` and `~0` stand for `/` and `~`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting that is read: what `serde_json` reads into a value. One limit for both, so that whether a message can be
/// read does not depend on how much of it a definition asks for.
const NESTING_MAX: usize = 127;

/// The text of each pointer's place, in the order of `pointers`; `None` where there is none.
///
/// # Errors
/// The whole text is no JSON, or nested too deeply; in words that follow "is".
pub(super) fn find<'b>(text: &'b str, pointers: &[&str]) -> Result<Vec<Option<&'b RawValue>>, String> {
    if is_nested_too_deeply(text) {
        return Err(format!("JSON nested more than {NESTING_MAX} levels deep"));
    }
    let active: Vec<Active> = pointers
        .iter()
        .enumerate()
        .filter(|(_, pointer)| pointer.is_empty() || pointer.starts_with('/'))
        .map(|(ix, pointer)| Active { ix, rest: pointer })
        .collect();
    let mut found = vec![None; pointers.len()];
    walk(text, &active, &mut found).map_err(|error| format!("no JSON: {error}"))?;
    Ok(found)
}

/// The text of a body: UTF-8, without the byte order mark some serializers write.
///
/// # Errors
/// It is not UTF-8; in words that follow "is".
pub(super) fn text(body: &[u8]) -> Result<&str, String> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    std::str::from_utf8(body).map_err(|error| format!("no UTF-8 text from byte {} on", error.valid_up_to()))
}

fn walk<'b>(text: &'b str, active: &[Active<'_>], found: &mut [Option<&'b RawValue>]) -> serde_json::Result<()> {
    let mut source = serde_json::Deserializer::from_str(text);
    Walk { active, found }.deserialize(&mut source)?;
    source.end()
}

fn is_nested_too_deeply(text: &str) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > NESTING_MAX {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A pointer on its way: what is left of it at this place. Empty when it has arrived, else it begins with a slash.
#[derive(Clone, Copy)]
struct Active<'p> {
    ix: usize,
    rest: &'p str,
}

impl<'p> Active<'p> {
    fn has_arrived(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next token, still escaped, and what comes after it.
    fn step(self) -> Option<(&'p str, Self)> {
        let path = self.rest.strip_prefix('/')?;
        let end = path.find('/').unwrap_or(path.len());
        Some((&path[..end], Self { ix: self.ix, rest: &path[end..] }))
    }
}

/// The pointers that go on under the member called `key`.
fn under_key<'p>(active: &[Active<'p>], key: &str) -> Vec<Active<'p>> {
    let leads = |token: &str| {
        if token.contains('~') { token.replace("~1", "/").replace("~0", "~") == key } else { token == key }
    };
    active.iter().filter_map(|pointer| pointer.step()).filter(|(token, _)| leads(token)).map(|(_, next)| next).collect()
}

/// The pointers that go on under the element at `at`.
fn under_index<'p>(active: &[Active<'p>], at: usize) -> Vec<Active<'p>> {
    active
        .iter()
        .filter_map(|pointer| pointer.step())
        .filter(|(token, _)| index(token) == Some(at))
        .map(|(_, next)| next)
        .collect()
}

/// An array index as RFC 6901 writes it: digits alone, no leading zero.
fn index(token: &str) -> Option<usize> {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token.len() == 1 || !token.starts_with('0'));
    if is_plain { token.parse().ok() } else { None }
}

struct Walk<'p, 'f, 'b> {
    active: &'f [Active<'p>],
    found: &'f mut [Option<&'b RawValue>],
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        if self.active.is_empty() {
            return source.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        if !self.active.iter().any(Active::has_arrived) {
            return source.deserialize_any(self);
        }
        let place: &'de RawValue = serde::Deserialize::deserialize(source)?;
        let (arrived, further): (Vec<Active>, Vec<Active>) =
            self.active.iter().partition(|pointer| pointer.has_arrived());
        for pointer in arrived {
            self.found[pointer.ix] = Some(place);
        }
        if further.is_empty() { Ok(()) } else { walk(place.get(), &further, self.found).map_err(D::Error::custom) }
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(under) = map.next_key_seed(Key { active: self.active })? {
            // An equal key before this one no longer counts, nor what was found under it.
            for pointer in &under {
                self.found[pointer.ix] = None;
            }
            map.next_value_seed(Walk { active: &under, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut at = 0;
        loop {
            let under = under_index(self.active, at);
            if seq.next_element_seed(Walk { active: &under, found: self.found })?.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a key and says which pointers go on under it.
struct Key<'p, 'f> {
    active: &'f [Active<'p>],
}

impl<'de, 'p> DeserializeSeed<'de> for Key<'p, '_> {
    type Value = Vec<Active<'p>>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p, '_> {
    type Value = Vec<Active<'p>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(under_key(self.active, key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn at<'b>(text: &'b str, pointer: &str) -> Option<&'b str> {
        find(text, &[pointer]).unwrap()[0].map(RawValue::get)
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let text = r#"{"id": 123456789012345678901234567890, "n": [1.50, -0]}"#;
        assert_eq!(at(text, "/id"), Some("123456789012345678901234567890"));
        assert_eq!(at(text, "/n/0"), Some("1.50"));
        assert_eq!(at(text, "/n/1"), Some("-0"));
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_with_all_that_is_under_it() {
        assert_eq!(at(r#"{"a": 1, "a": 2}"#, "/a"), Some("2"));
        assert_eq!(at(r#"{"a": {"id": 1}, "a": {"x": 2}}"#, "/a/id"), None);
        assert_eq!(at(r#"{"a": {"id": 1}, "a": 3}"#, "/a/id"), None);
        assert_eq!(at(r#"{"\u0061": {"id": 1}}"#, "/a/id"), Some("1"));
    }

    #[test]
    fn one_walk_serves_pointers_that_lie_in_each_other() {
        let found =
            find(r#"{"a": {"b": [10, {"c": "x"}]}}"#, &["", "/a", "/a/b/1/c", "/a/b/01", "/a/b/+0", "a", "/"]).unwrap();
        let texts: Vec<_> = found.into_iter().map(|place| place.map(RawValue::get)).collect();
        assert_eq!(
            texts,
            [
                Some(r#"{"a": {"b": [10, {"c": "x"}]}}"#),
                Some(r#"{"b": [10, {"c": "x"}]}"#),
                Some(r#""x""#),
                None,
                None,
                None,
                None
            ]
        );
    }

    #[test]
    fn the_rest_of_the_text_must_be_json_too() {
        for text in ["", "{", r#"{"a": 1"#, r#"{"a": 1,}"#, r#"{"a": 1} x"#, r#"{"a": 1, "b": nul}"#, r#"{"a": 01}"#] {
            assert!(find(text, &["/a"]).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_as_in_a_full_parse() {
        for depth in [1, NESTING_MAX, NESTING_MAX + 1, 100_000] {
            let text = format!(r#"{}"[{{\"["{}"#, "[".repeat(depth), "]".repeat(depth));
            assert_eq!(find(&text, &["/0"]).is_ok(), serde_json::from_str::<Value>(&text).is_ok(), "{depth}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec!["a", "b", "/", "~", "a/b", "m~n", "0", "1", "", "~1", "é", "\"", "\n"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..4)
                    .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    /// As text, with members of objects sometimes written twice.
    fn written(value: &Value, twice: bool) -> String {
        match value {
            Value::Object(members) => {
                let mut parts = Vec::new();
                for (key, member) in members {
                    if twice {
                        parts.push(format!("{}:{{\"a\":1,\"0\":[2]}}", json!(key)));
                    }
                    parts.push(format!("{} : {}", json!(key), written(member, twice)));
                }
                format!("{{{}}}", parts.join(", "))
            }
            Value::Array(items) => {
                format!("[{}]", items.iter().map(|item| written(item, twice)).collect::<Vec<_>>().join(" ,"))
            }
            other => other.to_string(),
        }
    }

    /// The pointer of every place in the tree.
    fn places(value: &Value, prefix: &str, into: &mut Vec<String>) {
        into.push(prefix.to_owned());
        match value {
            Value::Object(members) => members.iter().for_each(|(key, member)| {
                places(member, &format!("{prefix}/{}", key.replace('~', "~0").replace('/', "~1")), into);
            }),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(ix, item)| places(item, &format!("{prefix}/{ix}"), into));
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_full_parse(value in any_json(), twice: bool, strangers in prop::collection::vec("(/([ab01~]|~0|~1){0,2}){0,3}", 0..4)) {
            let text = written(&value, twice);
            let tree: Value = serde_json::from_str(&text).unwrap();
            let mut pointers = strangers;
            places(&value, "", &mut pointers);
            let asked: Vec<&str> = pointers.iter().map(String::as_str).collect();
            let found = find(&text, &asked).unwrap();
            for (pointer, place) in asked.iter().zip(found) {
                let place = place.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
                prop_assert_eq!(place.as_ref(), tree.pointer(pointer), "{}", pointer);
            }
        }

        #[test]
        fn what_a_full_parse_takes_the_walk_takes(text in r#"[\[\]{}",:0-9a\\. -]{0,24}"#) {
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert!(find(&text, &["/a", "/0/a"]).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn only_brackets_that_nest_count_and_none_within_a_text() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_nested_too_deeply(&nested(NESTING_MAX)) && is_nested_too_deeply(&nested(NESTING_MAX + 1)));
        assert!(!is_nested_too_deeply(&format!("\"{}\"", "[".repeat(NESTING_MAX + 1))), "in a text they nest nothing");
        let side_by_side = format!("[{}]", "{},".repeat(NESTING_MAX + 1));
        assert!(!is_nested_too_deeply(&side_by_side), "what is closed counts no more");
        // A closing bracket within a text closes nothing, and a quote that is escaped ends none.
        let hidden = format!("{}\"]]]]\\\"\",{}", "[".repeat(NESTING_MAX - 1), "[".repeat(2));
        assert!(is_nested_too_deeply(&hidden));
    }
}
