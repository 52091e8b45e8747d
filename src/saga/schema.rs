//! The JSON Schema of a definition, for editors: completion, descriptions and the first mistakes while typing.
//!
//! Written down from the same grammar the checker reads, so the two know the same keys. It is never stricter than the
//! checker, and weaker where a schema cannot say more (circles, expressions).

use serde_json::{Map, Value, json};

use super::parse::grammar::{Key, Object, SAGA, Shape};
use super::parse::leaf;

/// The schema, in the 2020-12 dialect.
pub fn definition_schema() -> Value {
    let mut schema = object(&SAGA);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("Escrow saga definition"));
    schema.insert(
        "description".to_owned(),
        json!("Which steps an order goes through, by when, and how each is compensated."),
    );
    Value::Object(schema)
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Leaf(kind) => leaf::schema(*kind),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::List(item) => json!({ "type": "array", "items": self::shape(item) }),
        Shape::OneOrMany(item) => {
            let item = self::shape(item);
            json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
        }
        Shape::Object(of) => Value::Object(object(of)),
        Shape::MapOf(name, value) => json!({
            "type": "object",
            "propertyNames": leaf::schema(*name),
            "additionalProperties": self::shape(value),
            "minProperties": 1
        }),
        Shape::Either(plain, container) => json!({ "anyOf": [self::shape(plain), self::shape(container)] }),
        Shape::Json => json!({}),
    }
}

fn object(object: &Object) -> Map<String, Value> {
    let properties: Map<String, Value> = object.keys.iter().map(|key| (key.name.to_owned(), described(key))).collect();
    let required: Vec<&str> = object.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let together: Map<String, Value> = object
        .keys
        .iter()
        .filter(|key| !key.with.is_empty())
        .map(|key| (key.name.to_owned(), key.with.iter().map(|(other, _)| *other).collect()))
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if !together.is_empty() {
        schema.insert("dependentRequired".to_owned(), Value::Object(together));
    }
    for (word, keys) in [("oneOf", object.one_of), ("anyOf", object.any_of)] {
        if !keys.is_empty() {
            let each = keys.iter().map(|key| json!({ "required": [key] }));
            schema.insert(word.to_owned(), each.collect());
        }
    }
    schema
}

fn described(key: &Key) -> Value {
    let mut schema = match shape(key.shape) {
        Value::Object(schema) => schema,
        other => return other,
    };
    schema.insert("description".to_owned(), json!(key.about));
    Value::Object(schema)
}
