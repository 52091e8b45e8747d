//! Expressions and templates: compiled or refused in words, evaluated or failed in words.

use escrow::saga::expression::{Expression, Scope, Template};
use serde_json::{Value, json};

/// A field for the expression; the rest is the JSON it sees as `body`, and a template.
pub fn run(data: &[u8]) {
    let mut rest = data;
    let source = String::from_utf8_lossy(super::field(&mut rest)).into_owned();
    let body: Value = serde_json::from_slice(rest).unwrap_or(Value::Null);
    let scope = Scope::from([
        ("body", body.clone()),
        ("headers", json!({"kind": "x", "n": 3})),
        ("routing_key", json!("order.placed")),
        ("order_id", json!("4711")),
        ("attributes", json!({"gift": true, "total": 12.5})),
        ("steps", json!({"placed": {"event": body, "at": "2026-01-01T00:00:00Z"}})),
    ]);
    match Expression::compile(&source) {
        Ok(expression) => {
            let (first, second) = (expression.eval(&scope), expression.eval(&scope));
            assert_eq!(format!("{first:?}"), format!("{second:?}"), "twice the same");
            let _ = expression.holds(&scope);
            let _ = expression.eval(&Scope::new());
        }
        Err(why) => assert!(!why.is_empty()),
    }
    for tree in [json!(source), json!({"a": [format!("x {{{{ {source} }}}} y")]})] {
        if let Ok(template) = Template::compile(&tree) {
            let _ = template.render(&scope);
        }
    }
}
