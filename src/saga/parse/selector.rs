//! Reading the text of a selector.

use super::hint;
use crate::saga::definition::Selector;

/// The properties a message can carry, by the names of the protocol.
pub(super) const PROPERTIES: [&str; 13] = [
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
];

/// All forms in one pattern, for the JSON Schema.
pub(crate) const PATTERN: &str = r"^((envelope:)?/.*|routing_key(:[1-9][0-9]{0,2})?|exchange|header:.+|property:(content_type|content_encoding|delivery_mode|priority|correlation_id|reply_to|expiration|message_id|timestamp|type|user_id|app_id|cluster_id))$";

/// What to write instead.
const FORMS: &str = "write a JSON pointer like `/data/order_id`, or `routing_key`, `routing_key:2`, `exchange`, \
                     `header:NAME`, `property:NAME`, `envelope:/POINTER`";

/// Most words a routing key can have: one byte each, with dots between, in 255 bytes.
const WORDS_MAX: usize = 128;

/// Reads one selector.
///
/// # Errors
/// What is wrong, and what was probably meant.
pub(super) fn parse(text: &str) -> Result<Selector, (String, String)> {
    if text.starts_with('/') {
        return pointer(text).map(Selector::Pointer);
    }
    let (word, rest) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
    match (word, rest) {
        ("routing_key", None) => Ok(Selector::RoutingKey),
        ("exchange", None) => Ok(Selector::Exchange),
        ("routing_key", Some(word)) => match word.parse::<usize>() {
            Ok(number @ 1..=WORDS_MAX) if !word.starts_with(['+', '0']) => Ok(Selector::RoutingKeyWord(number)),
            _ => Err((
                format!("`{text}`: the words of a routing key are counted from 1"),
                "write `routing_key:2` for the second word".to_owned(),
            )),
        },
        ("header", Some(name)) if !name.is_empty() => Ok(Selector::Header(name.to_owned())),
        ("property", Some(name)) if PROPERTIES.contains(&name) => Ok(Selector::Property(name.to_owned())),
        ("property", Some(name)) => Err((
            format!("messages have no property `{name}`"),
            hint::did_you_mean(name, PROPERTIES).unwrap_or_else(|| format!("there are {}", hint::any_of(PROPERTIES))),
        )),
        ("envelope", Some(path)) if path.starts_with('/') => pointer(path).map(Selector::Envelope),
        ("arrival", None) => {
            let hint = "write `order_id: arrival` alone; it says that messages carry no order id".to_owned();
            Err(("`arrival` is no place in a message".to_owned(), hint))
        }
        _ => Err((format!("`{text}` is no selector"), meant(text))),
    }
}

fn pointer(text: &str) -> Result<String, (String, String)> {
    let escapes_well = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if escapes_well {
        return Ok(text.to_owned());
    }
    let hint = "in a JSON pointer, `~` is written `~0`, and a `/` inside of a name `~1`".to_owned();
    Err((format!("`{text}` is no JSON pointer"), hint))
}

/// `$.data.order_id` and `data.order_id` mean `/data/order_id`.
fn meant(text: &str) -> String {
    if let Some(word) = hint::nearest(text, ["routing_key", "exchange", "arrival"]) {
        return format!("did you mean `{word}`?");
    }
    let path = text.trim_start_matches(['$', '.']);
    let is_path = !path.is_empty() && path.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    if is_path { format!("did you mean `/{}`?", path.replace('.', "/")) } else { FORMS.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_selector_is_read() {
        for (text, selector) in [
            ("/data/order_id", Selector::Pointer("/data/order_id".to_owned())),
            ("/a~1b/~0", Selector::Pointer("/a~1b/~0".to_owned())),
            ("routing_key", Selector::RoutingKey),
            ("routing_key:2", Selector::RoutingKeyWord(2)),
            ("exchange", Selector::Exchange),
            ("header:x-order", Selector::Header("x-order".to_owned())),
            ("header:cloudEvents:type", Selector::Header("cloudEvents:type".to_owned())),
            ("property:message_id", Selector::Property("message_id".to_owned())),
            ("envelope:/headers/x", Selector::Envelope("/headers/x".to_owned())),
        ] {
            assert_eq!(parse(text), Ok(selector), "{text}");
        }
    }

    #[test]
    fn a_wrong_selector_is_refused_with_what_was_meant() {
        for (text, hint) in [
            ("$.data.order_id", "`/data/order_id`"),
            ("data/order_id", "`/data/order_id`"),
            ("routingkey", "`routing_key`"),
            ("routing_key:0", "`routing_key:2`"),
            ("property:messageid", "`message_id`"),
            ("header:", "`header:NAME`"),
            ("/a~2", "`~0`"),
            ("", "`header:NAME`"),
        ] {
            let (_, found) = parse(text).unwrap_err();
            assert!(found.contains(hint), "{text}: {found}");
        }
    }
}
