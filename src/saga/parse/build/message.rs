//! Building expressions, templates and the messages made of them.

use serde_json::{Value, json};

use super::{Builder, word};
use crate::saga::definition::Publish;
use crate::saga::expression::{Expression, Template};
use crate::saga::outgoing;
use crate::saga::parse::hint;
use crate::saga::parse::tree::{Data, Node};

/// A bare expression.
pub(super) fn expression(node: &Node, builder: &mut Builder) -> Option<Expression> {
    let text = node.text()?;
    if text.trim().starts_with("{{") {
        return None;
    }
    match Expression::compile(text) {
        Ok(expression) => {
            builder.note(node, &expression);
            Some(expression)
        }
        Err(error) => {
            refuse(node, &error, builder);
            None
        }
    }
}

/// An expression in braces, and nothing else.
pub(super) fn braced(node: &Node, builder: &mut Builder) -> Option<Expression> {
    match template(node, builder)? {
        Template::Exact(expression) => Some(expression),
        Template::Literal(_) | Template::Text(_) | Template::List(_) | Template::Map(_) => None,
    }
}

/// A tree whose texts may hold expressions; each text that does not compile is reported at its own place.
pub(super) fn template(node: &Node, builder: &mut Builder) -> Option<Template> {
    match &node.data {
        Data::Text(_) => match Template::compile(&node.json()) {
            Ok(template) => {
                template.expressions().into_iter().for_each(|expression| builder.note(node, expression));
                Some(template)
            }
            Err(error) => {
                refuse(node, &error, builder);
                None
            }
        },
        Data::List(items) => {
            let items: Vec<_> = items.iter().map(|item| template(item, builder)).collect();
            items.into_iter().collect::<Option<_>>().map(Template::List)
        }
        Data::Map(entries) => named(entries, builder).map(Template::Map),
        Data::Null | Data::Bool(_) | Data::Number(_) | Data::Broken => Some(Template::Literal(node.json())),
    }
}

fn named(entries: &[(Node, Node)], builder: &mut Builder) -> Option<Vec<(String, Template)>> {
    let mut all = Vec::new();
    for (key, value) in entries {
        if matches!(key.data, Data::Map(_) | Data::List(_)) {
            let hint = hint::about_braces(builder.findings.source(), key.mark.start.saturating_sub(1));
            builder.findings.error(key.mark, "a key must be a word", hint);
        }
        all.push(template(value, builder).map(|template| (key.key_text(), template)));
    }
    all.into_iter().collect()
}

/// What a compensation publishes: an event name for Escrow's own exchange, or any message.
pub(super) fn publish(node: &Node, builder: &mut Builder) -> Publish {
    if let Some(event) = node.text() {
        let event = event.to_owned();
        return Publish { event, exchange: None, routing_key: None, headers: vec![], properties: vec![], body: None };
    }
    let mut map = |key: &str| {
        let entries = node.get(key).map(Node::entries).unwrap_or_default();
        named(entries, builder).unwrap_or_default()
    };
    let (headers, properties) = (map("headers"), map("properties"));
    let exchange = word(node, "exchange");
    Publish {
        event: word(node, "event").to_owned(),
        exchange: (!exchange.is_empty() && exchange != outgoing::EXCHANGE).then(|| exchange.to_owned()),
        routing_key: node.get("routing_key").and_then(|key| template(key, builder)),
        headers,
        properties,
        body: node.get("body").and_then(|body| template(body, builder)),
    }
}

/// A count given as a number is an expression, too.
pub(super) fn count(node: &Node, builder: &mut Builder) -> Option<Expression> {
    match &node.data {
        Data::Number(number) => Expression::compile(&number.to_string()).ok(),
        _ => braced(node, builder),
    }
}

fn refuse(node: &Node, error: &str, builder: &mut Builder) {
    let is_open = node.text().is_some_and(|text| text.matches("{{").count() > text.matches("}}").count());
    let hint = if is_open { Some("each `{{` needs its `}}`".to_owned()) } else { node.text().and_then(likely_slip) };
    builder.findings.error(node.mark, format!("the expression does not compile: {}", first_error(error)), hint);
}

/// The first of the parser's errors, without its position in the file it takes each expression for.
fn first_error(errors: &str) -> String {
    let Some((place, rest)) = errors.strip_prefix("ERROR: <input>:").and_then(|rest| rest.split_once(": ")) else {
        return errors.to_owned();
    };
    let words = rest.split_once(" | ").map_or(rest, |(first, _)| first).trim_start_matches("Syntax error: ");
    match place.split_once(':').and_then(|(line, column)| Some((line, column.parse::<usize>().ok()?))) {
        Some(("1", column)) => format!("{words} (character {column} of it)"),
        Some(_) | None => words.to_owned(),
    }
}

/// The habits of other languages that CEL does not share.
fn likely_slip(text: &str) -> Option<String> {
    let has = |word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
    if has("and") || has("or") || has("not") {
        Some("CEL writes `&&`, `||` and `!`".to_owned())
    } else {
        let is_assigned = text.contains('=') && !["==", "!=", "<=", ">="].iter().any(|sign| text.contains(sign));
        (is_assigned || text.contains("===")).then(|| "CEL compares with `==`".to_owned())
    }
}

/// The canonical text of a template, for comparing two of them.
pub(in crate::saga::parse) fn canonical(template: &Template) -> Value {
    match template {
        Template::Literal(value) => json!({ "literal": value }),
        Template::Exact(expression) => json!({ "exact": expression.source() }),
        Template::Text(parts) => {
            let parts = parts.iter().map(|part| match part {
                crate::saga::expression::Part::Literal(text) => json!(text),
                crate::saga::expression::Part::Expression(expression) => json!([expression.source()]),
            });
            json!({ "text": parts.collect::<Vec<_>>() })
        }
        Template::List(items) => json!({ "list": items.iter().map(canonical).collect::<Vec<_>>() }),
        Template::Map(entries) => canonical_map(entries),
    }
}

/// Entries in the order of their names: the order in the file has no meaning.
pub(in crate::saga::parse) fn canonical_map(entries: &[(String, Template)]) -> Value {
    let mut named: Vec<(&String, Value)> = entries.iter().map(|(name, value)| (name, canonical(value))).collect();
    named.sort_by_key(|(name, _)| *name);
    json!({ "map": named })
}
