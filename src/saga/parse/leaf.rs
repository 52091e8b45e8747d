//! Checks of single values, and how each kind is described: in findings, and as a JSON Schema.

use serde_json::{Number, Value, json};

use super::grammar::{EVENT_BYTES_MAX, EXCHANGE_TYPES, FACTOR_MAX, Leaf, NAME_BYTES_MAX, SETTABLE, SHORT_BYTES_MAX};
use super::{hint, selector};
use crate::saga::expression::Template;
use crate::saga::time::Span;

/// What is wrong, and what to do about it where that is known.
type Wrong = (String, Option<String>);

/// How findings name the kind.
pub(crate) fn what(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::Name => "a name",
        Leaf::Attribute => "the name of an attribute",
        Leaf::Event => "the name of an event",
        Leaf::Place => "the name of an exchange or queue",
        Leaf::Key => "a routing key",
        Leaf::ExchangeType => "the type of an exchange",
        Leaf::Header => "the name of a header",
        Leaf::Property => "the name of a property",
        Leaf::Selector => "a selector",
        Leaf::OrderId => "a selector or `arrival`",
        Leaf::Duration => "a duration like 30s",
        Leaf::Deadline => "a duration like 30s, or an expression in `\"{{ }}\"`",
        Leaf::Count => "a whole number, or an expression in `\"{{ }}\"`",
        Leaf::Expression => "an expression",
        Leaf::Template | Leaf::Text => "text",
        Leaf::Bool => "true or false",
        Leaf::Positive => "a whole number from 1",
        Leaf::Factor => "a number from 1",
    }
}

/// The value as JSON Schema sees it; never stricter than [`text`] and [`number`].
pub(crate) fn schema(leaf: Leaf) -> Value {
    let braces = json!({"type": "string", "pattern": r"^\s*\{\{[\s\S]*\}\}\s*$"});
    match leaf {
        Leaf::Name => json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "maxLength": NAME_BYTES_MAX}),
        Leaf::Attribute => json!({"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$", "maxLength": NAME_BYTES_MAX}),
        Leaf::Event => json!({"type": "string", "minLength": 1, "maxLength": EVENT_BYTES_MAX}),
        Leaf::Place | Leaf::Header => json!({"type": "string", "minLength": 1, "maxLength": SHORT_BYTES_MAX}),
        Leaf::Key => json!({"type": "string", "maxLength": SHORT_BYTES_MAX}),
        Leaf::ExchangeType => {
            json!({"type": "string", "anyOf": [{"enum": EXCHANGE_TYPES}, {"pattern": "^x-.+$"}], "maxLength": SHORT_BYTES_MAX})
        }
        Leaf::Property => json!({"enum": SETTABLE}),
        Leaf::Selector => json!({"type": "string", "pattern": selector::PATTERN}),
        Leaf::OrderId => json!({"anyOf": [{"const": "arrival"}, schema(Leaf::Selector)]}),
        Leaf::Duration => {
            json!({"type": "string", "minLength": 2, "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"})
        }
        Leaf::Deadline => json!({"anyOf": [schema(Leaf::Duration), braces]}),
        Leaf::Count => json!({"anyOf": [{"type": "integer", "minimum": 0, "maximum": u32::MAX}, braces]}),
        Leaf::Expression | Leaf::Text => json!({"type": "string", "minLength": 1}),
        Leaf::Template => json!({"type": "string"}),
        Leaf::Bool => json!({"type": "boolean"}),
        Leaf::Positive => json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}),
        Leaf::Factor => json!({"type": "number", "minimum": 1, "maximum": FACTOR_MAX}),
    }
}

/// Checks a text.
pub(crate) fn text(text: &str, leaf: Leaf) -> Result<(), Wrong> {
    match leaf {
        Leaf::Name => name(text),
        Leaf::Attribute => attribute(text),
        Leaf::Event => length(text, leaf, 1, EVENT_BYTES_MAX),
        Leaf::Place | Leaf::Key => {
            no_braces(text, leaf)?;
            length(text, leaf, usize::from(leaf == Leaf::Place), SHORT_BYTES_MAX)
        }
        Leaf::Header if text.to_ascii_lowercase().starts_with("x-escrow-") => {
            Err((format!("the header `{text}` is Escrow's own"), Some("choose another name".to_owned())))
        }
        Leaf::Header => length(text, leaf, 1, SHORT_BYTES_MAX),
        Leaf::ExchangeType if EXCHANGE_TYPES.contains(&text) => Ok(()),
        Leaf::ExchangeType if text.starts_with("x-") => length(text, leaf, 3, SHORT_BYTES_MAX),
        Leaf::ExchangeType => Err((
            format!("there is no exchange type `{text}`"),
            hint::did_you_mean(text, EXCHANGE_TYPES)
                .or_else(|| Some(format!("write {}", hint::any_of(EXCHANGE_TYPES)))),
        )),
        Leaf::Property => property(text),
        Leaf::OrderId if text == "arrival" => Ok(()),
        Leaf::Selector | Leaf::OrderId => {
            selector::parse(text).map(|_| ()).map_err(|(wrong, hint)| (wrong, Some(hint)))
        }
        Leaf::Deadline | Leaf::Count if text.contains("{{") => exact(text),
        Leaf::Duration | Leaf::Deadline => duration(text),
        Leaf::Count | Leaf::Positive | Leaf::Factor if text.parse::<f64>().is_ok() => {
            Err((format!("expected {}, found text", what(leaf)), Some(format!("without quotes: `{text}`"))))
        }
        Leaf::Count => Err((
            format!("expected {}, found text", what(leaf)),
            Some(format!("if it is an expression, write \"{{{{ {text} }}}}\"")),
        )),
        Leaf::Positive | Leaf::Factor => Err((format!("expected {}, found text", what(leaf)), None)),
        Leaf::Bool => Err((format!("expected true or false, found `{text}`"), meant_bool(text))),
        Leaf::Expression if text.trim().starts_with("{{") && text.trim().ends_with("}}") => {
            let inside = text.trim().trim_start_matches('{').trim_end_matches('}').trim();
            Err((
                "an expression stands here without braces".to_owned(),
                Some(format!("write {}", hint::quoted(inside))),
            ))
        }
        Leaf::Text if text.is_empty() => Err(("the text is empty".to_owned(), None)),
        Leaf::Expression | Leaf::Template | Leaf::Text => Ok(()),
    }
}

/// Checks a number.
pub(crate) fn number(number: &Number, leaf: Leaf) -> Result<(), Wrong> {
    let (least, most) = match leaf {
        Leaf::Count => (0.0, f64::from(u32::MAX)),
        Leaf::Factor => (1.0, FACTOR_MAX),
        _ => (1.0, f64::from(u32::MAX)),
    };
    let value = number.as_f64().unwrap_or(f64::NAN);
    let is_whole = number.is_u64() || number.is_i64();
    if leaf != Leaf::Factor && !is_whole {
        Err((format!("`{number}` is no whole number"), None))
    } else if value >= least && value <= most {
        Ok(())
    } else if value < least {
        Err((format!("`{number}` is too small"), Some(format!("the least is {least}"))))
    } else {
        Err((format!("`{number}` is too large"), Some(format!("the most is {most}"))))
    }
}

fn name(text: &str) -> Result<(), Wrong> {
    let is_rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if text.len() > NAME_BYTES_MAX {
        Err((format!("a name has at most {NAME_BYTES_MAX} characters"), None))
    } else if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(is_rest) {
        Ok(())
    } else {
        let meant: String = text.to_lowercase().chars().map(|c| if is_rest(c) { c } else { '_' }).collect();
        let meant = meant.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        let rule = "a name begins with a small letter; small letters, digits, `_` and `-` follow";
        let hint = if meant.is_empty() { rule.to_owned() } else { format!("{rule}: `{meant}`") };
        Err((format!("`{text}` is no name"), Some(hint)))
    }
}

fn attribute(text: &str) -> Result<(), Wrong> {
    let is_rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.len() <= NAME_BYTES_MAX && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_rest)
    {
        return Ok(());
    }
    let hint = "a letter first, then letters, digits and `_`: expressions read it as `attributes.NAME`".to_owned();
    Err((format!("`{text}` is no name of an attribute"), Some(hint)))
}

fn length(text: &str, leaf: Leaf, least: usize, most: usize) -> Result<(), Wrong> {
    if text.len() < least {
        Err((format!("{} cannot be empty", what(leaf)), None))
    } else if text.len() > most {
        Err((format!("{} has at most {most} bytes", what(leaf)), None))
    } else {
        Ok(())
    }
}

fn no_braces(text: &str, leaf: Leaf) -> Result<(), Wrong> {
    if text.contains("{{") {
        let hint = "expressions stand in the routing key, headers, properties and body of a compensation's `publish`";
        return Err((format!("{} holds no expressions", what(leaf)), Some(hint.to_owned())));
    }
    Ok(())
}

fn property(text: &str) -> Result<(), Wrong> {
    if SETTABLE.contains(&text) {
        Ok(())
    } else if text == "message_id" {
        let hint = "the message id is Escrow's: the same on every attempt, so that consumers can drop repeats";
        Err(("`message_id` cannot be set".to_owned(), Some(hint.to_owned())))
    } else {
        let hint =
            hint::did_you_mean(text, SETTABLE).unwrap_or_else(|| format!("there are {}", hint::any_of(SETTABLE)));
        Err((format!("messages have no property `{text}` to set"), Some(hint)))
    }
}

fn duration(text: &str) -> Result<(), Wrong> {
    match Span::parse(text) {
        Ok(Span(0)) => {
            Err(("the duration is zero".to_owned(), Some("write it like 500ms, 30s, 2h30m or 14d".to_owned())))
        }
        Ok(_) => Ok(()),
        Err(message) => {
            let (message, hint) = message.split_once("; ").map_or((message.as_str(), None), |(m, h)| (m, Some(h)));
            Err((message.to_owned(), meant_duration(text).or(hint.map(str::to_owned))))
        }
    }
}

/// `30 sec` and `5min` mean `30s` and `5m`.
fn meant_duration(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = match text[digits..].trim() {
        "sec" | "secs" | "second" | "seconds" | "s" | "" => "s",
        "min" | "mins" | "minute" | "minutes" | "m" => "m",
        "hour" | "hours" | "hr" | "hrs" | "h" => "h",
        "day" | "days" | "d" => "d",
        "week" | "weeks" | "w" => "w",
        "msec" | "millis" | "milliseconds" | "ms" => "ms",
        _ => return None,
    };
    (digits > 0).then(|| format!("did you mean `{}{unit}`?", &text[..digits]))
}

fn meant_bool(text: &str) -> Option<String> {
    match text.to_lowercase().as_str() {
        "yes" | "on" | "true" | "y" => Some("write `true`, without quotes".to_owned()),
        "no" | "off" | "false" | "n" => Some("write `false`, without quotes".to_owned()),
        _ => None,
    }
}

/// Refuses text around a single expression; whether it compiles is asked when it is built.
fn exact(text: &str) -> Result<(), Wrong> {
    let around = text.trim();
    if around.starts_with("{{")
        && around.ends_with("}}")
        && !matches!(Template::compile(&json!(around)), Ok(Template::Text(_)))
    {
        return Ok(());
    }
    let hint = "write one expression and nothing else: \"{{ … }}\"".to_owned();
    Err(("text and expressions are mixed".to_owned(), Some(hint)))
}
