//! The JSON Schema, the checker, and every definition in the repository agree.

use std::collections::BTreeSet;

use escrow::saga::parse::{Severity, parse};
use escrow::saga::schema::definition_schema;
use serde_json::Value;

use super::support::{definition_files, read, with_head, with_steps};

fn json(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&definition_schema()).unwrap()
}

#[test]
fn every_definition_in_the_repository_is_valid_and_fits_the_schema() {
    let files = definition_files();
    assert!(files.len() >= 7, "{files:?}");
    for path in files {
        let text = read(&path);
        let parsed = parse("saga.yaml", &text).unwrap_or_else(|findings| panic!("{}: {findings:#?}", path.display()));
        assert!(parsed.warnings.iter().all(|finding| finding.severity == Severity::Warning));
        let errors: Vec<String> = validator().iter_errors(&json(&text)).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", path.display());
        assert!(text.starts_with("# "), "{} has no header comment", path.display());
    }
}

#[test]
fn the_schema_is_a_valid_schema() {
    assert!(jsonschema::meta::is_valid(&definition_schema()));
}

/// Every key of the schema, as a path; keys the author chooses are `*`.
fn keys(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Value::Object(schema) = schema else { return };
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}/{name}");
        found.insert(path.clone());
        keys(inner, &path, found);
    }
    if let Some(inner) = schema.get("additionalProperties") {
        keys(inner, &format!("{path}/*"), found);
    }
    keys(schema.get("items").unwrap_or(&Value::Null), path, found);
    for inner in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        keys(inner, path, found);
    }
}

/// Every path a definition uses, with the names an author chose as `*`.
fn used(value: &Value, path: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (name, inner) in entries {
                let plain = format!("{path}/{name}");
                let path = if known.contains(&plain) { plain } else { format!("{path}/*") };
                found.insert(path.clone());
                used(inner, &path, known, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| used(item, path, known, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_schema_is_used_by_the_reference_example_and_described() {
    let mut known = BTreeSet::new();
    keys(&definition_schema(), "", &mut known);
    assert!(known.contains("/steps/*/compensation/publish/body"), "{known:#?}");
    let file = definition_files().into_iter().find(|path| path.ends_with("full-language/saga.yaml")).unwrap();
    let mut found = BTreeSet::new();
    used(&json(&read(&file)), "", &known, &mut found);
    let (known, found) = (shapes(&known), shapes(&found));
    let forgotten: Vec<_> = known.difference(&found).collect();
    assert_eq!(forgotten, Vec::<&String>::new());
    assert_eq!(undescribed(&definition_schema(), ""), Vec::<String>::new());
}

/// The same keys, with those that stand in many places told by what holds them: `read`, or an event with a condition.
fn shapes(paths: &BTreeSet<String>) -> BTreeSet<String> {
    let shape = |path: &String| {
        let (holder, key) = path.rsplit_once('/').unwrap();
        match (holder.rsplit('/').next().unwrap(), key) {
            ("done" | "failed" | "when" | "cancelled_by", key) => format!("an event/{key}"),
            ("read", key) => format!("read/{key}"),
            _ => path.clone(),
        }
    };
    paths.iter().map(shape).collect()
}

/// The keys of the schema whose meaning is not told.
/// The keys of the schema whose meaning is not told.
fn undescribed(schema: &Value, path: &str) -> Vec<String> {
    if !schema.is_object() {
        return Vec::new();
    }
    let mut missing = Vec::new();
    let under = |word: &str| schema.get(word).unwrap_or(&Value::Null);
    for (name, inner) in under("properties").as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        let text = inner.get("description").and_then(Value::as_str).unwrap_or_default();
        missing.extend(undescribed(inner, &path));
        if text.len() < 10 || !text.ends_with('.') {
            missing.push(path);
        }
    }
    let choices = under("anyOf").as_array().into_iter().flatten();
    for inner in choices.chain([under("additionalProperties"), under("items")]) {
        missing.extend(undescribed(inner, path));
    }
    missing
}

#[test]
fn each_key_the_schema_knows_is_known_to_the_checker_and_a_misspelt_one_to_neither() {
    let file = definition_files().into_iter().find(|path| path.ends_with("full-language/saga.yaml")).unwrap();
    let text = read(&file);
    let mut known = BTreeSet::new();
    keys(&definition_schema(), "", &mut known);
    let names: BTreeSet<&str> = known.iter().filter_map(|path| path.rsplit('/').next()).collect();
    for name in names.into_iter().filter(|name| *name != "*") {
        let misspelt = text.replace(&format!("{name}:"), &format!("{name}x:"));
        assert_ne!(misspelt, text, "{name}");
        assert!(!validator().is_valid(&json(&misspelt)), "{name}");
        let findings = parse("saga.yaml", &misspelt).unwrap_err();
        assert!(
            findings.iter().any(|finding| finding.message.contains(&format!("unknown key `{name}x`"))),
            "{name}: {findings:#?}"
        );
    }
}

#[test]
fn what_the_schema_refuses_the_checker_refuses_too() {
    let broken = [
        with_head("saga: Order\nversion: 1"),
        with_head("saga: s\nversion: 0"),
        with_head("saga: s\nversion: '1'"),
        with_head("saga: s"),
        with_head("saga: s\nversion: 1\nmode: off"),
        with_head("saga: s\nversion: 1\nbrake: off"),
        with_head("saga: s\nversion: 1\nbrake: { orders: 0 }"),
        with_head("saga: s\nversion: 1\nnotify: [nothing]"),
        with_head("saga: s\nversion: 1\nwatch: x"),
        with_head("saga: s\nversion: 1\nwatch: [{}]"),
        with_head("saga: s\nversion: 1\nwatch: [{ exchange: x, http: {} }]"),
        with_head("saga: s\nversion: 1\nwatch: [{ http: {}, keys: a }]"),
        with_head("saga: s\nversion: 1\nwatch: [{ exchange: x, declare: { durable: true } }]"),
        with_head("saga: s\nversion: 1\nwatch: [{ exchange: x, declare: { type: topics } }]"),
        with_head("saga: s\nversion: 1\nread: { event: data.type }"),
        with_head("saga: s\nversion: 1\nread: { order_id: [arrival] }"),
        with_head("saga: s\nversion: 1\nread: { preset: kafka }"),
        with_head("saga: s\nversion: 1\nattributes: { 1a: /x }"),
        with_head("saga: s\nversion: 1\nwithin: 30"),
        with_head("saga: s\nversion: 1\nwithin: 30x"),
        with_steps("  a: {}"),
        with_steps("  A:\n    done: A"),
        with_steps("  a:\n    done: []"),
        with_steps("  a:\n    done: 5"),
        with_steps("  a:\n    done: { where: 'true' }"),
        with_steps("  a:\n    done: A\n    on_timeout: skip"),
        with_steps("  a:\n    done: A\n    within: 5s\n    on_timeout: retry"),
        with_steps("  a:\n    done: A\n    handled_by: stock"),
        with_steps("  a:\n    done: A\n    handled_by: { queue: '' }"),
        with_steps("  a:\n    done: A\n    by: /x"),
        with_steps("  a:\n    done: A\n    count: 2"),
        with_steps("  a:\n    done: A\n    count: -1\n    by: /x"),
        with_steps("  a:\n    done: A\n    compensation: {}"),
        with_steps("  a:\n    done: A\n    compensation: { done: B, retry: { times: 1, every: 1s } }"),
        with_steps("  a:\n    done: A\n    compensation: { publish: { exchange: x } }"),
        with_steps("  a:\n    done: A\n    compensation: { publish: { event: B, properties: { message_id: x } } }"),
        with_steps(
            "  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 5s\n    retry: { times: 1, every: 1s }",
        ),
        with_steps(
            "  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 5s\n    retry: { times: 0, every: 1s, to: original }",
        ),
        with_steps(
            "  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 5s\n    retry: { times: 1, every: 1s, to: all }",
        ),
        with_steps(
            "  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 5s\n    retry: { times: 1, every: 1s, to: { queue: q, exchange: x } }",
        ),
    ];
    for text in broken {
        assert!(!validator().is_valid(&json(&text)), "the schema accepts\n{text}");
        assert!(parse("saga.yaml", &text).is_err(), "the checker accepts\n{text}");
    }
}
