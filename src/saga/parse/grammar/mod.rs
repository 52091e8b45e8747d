//! The definition language as data: every key with its shape and its meaning.
//!
//! Two readers interpret this one table, so they cannot disagree: [`super::shape`] checks a file against it, and
//! [`crate::saga::schema`] writes it down as JSON Schema for editors. What a table cannot say (cycles, steps nothing can
//! open, what an expression may read) is in [`super::check`].
//!
//! ```text
//!   grammar ──┬─▶ shape:  file ⟶ findings
//!             └─▶ schema: JSON Schema ⟶ completion in editors
//! ```

mod reading;
mod saga;
mod step;

pub(crate) use saga::SAGA;

/// What may stand in one place.
#[derive(Debug)]
pub(crate) enum Shape {
    Leaf(Leaf),
    /// One of these words.
    Word(&'static [&'static str]),
    List(&'static Shape),
    /// One item, or a list of them.
    OneOrMany(&'static Shape),
    Object(&'static Object),
    /// Any keys of the first shape, each with a value of the second.
    MapOf(Leaf, &'static Shape),
    /// The first for a plain value, the second for a list or map.
    Either(&'static Shape, &'static Shape),
    /// Anything that is data; its texts may be templates.
    Json,
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// Of a saga or a step.
    Name,
    /// Of an attribute: expressions read it as `attributes.NAME`.
    Attribute,
    /// The name of an event.
    Event,
    /// The name of an exchange or queue.
    Place,
    /// Up to what a routing key can hold.
    Key,
    /// The type of an exchange.
    ExchangeType,
    /// The name of a header.
    Header,
    /// The name of a message property that can be set.
    Property,
    Selector,
    /// A selector or `arrival`.
    OrderId,
    Duration,
    /// A duration, or one expression in braces.
    Deadline,
    /// A whole number, or one expression in braces.
    Count,
    Expression,
    /// Text that may hold expressions in braces.
    Template,
    /// Any text but none.
    Text,
    Bool,
    /// From 1 to what 32 bits hold.
    Positive,
    /// A number from 1 to 1000.
    Factor,
}

/// A map with known keys.
#[derive(Debug)]
pub(crate) struct Object {
    /// What findings call it: "a step".
    pub what: &'static str,
    pub keys: &'static [Key],
    /// Exactly one of these must be there.
    pub one_of: &'static [&'static str],
    /// At least one of these must be there.
    pub any_of: &'static [&'static str],
}

/// A key of an object.
#[derive(Debug)]
pub(crate) struct Key {
    pub name: &'static str,
    /// What it means; editors show it.
    pub about: &'static str,
    pub shape: &'static Shape,
    pub required: bool,
    /// Keys it means nothing without, each with the reason.
    pub with: &'static [(&'static str, &'static str)],
}

impl Key {
    pub(crate) const fn new(name: &'static str, shape: &'static Shape, about: &'static str) -> Self {
        Self { name, about, shape, required: false, with: &[] }
    }

    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(crate) const fn with(self, with: &'static [(&'static str, &'static str)]) -> Self {
        Self { with, ..self }
    }
}

impl Object {
    pub(crate) const fn new(what: &'static str, keys: &'static [Key]) -> Self {
        Self { what, keys, one_of: &[], any_of: &[] }
    }

    /// The key called `name`.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Longest name of a saga or step: two of them and the longest telling fit a routing key's 255 bytes.
pub(crate) const NAME_BYTES_MAX: usize = 100;

/// Longest event name, the same as for messages: a longer one could never be seen.
pub(crate) const EVENT_BYTES_MAX: usize = 256;

/// Longest name of an exchange or queue, and longest routing key: the protocol's short strings.
pub(crate) const SHORT_BYTES_MAX: usize = 255;

/// Largest backoff: beyond, the second wait is never what was meant.
pub(crate) const FACTOR_MAX: f64 = 1000.0;

/// The words of an exchange's type; `x-…` are plugins' own.
pub(crate) const EXCHANGE_TYPES: [&str; 4] = ["direct", "fanout", "topic", "headers"];

/// The properties a definition may set. The others are Escrow's (the message id is what makes a repeat recognisable, and every
/// request outlives a restart of the broker) or the broker's.
pub(crate) const SETTABLE: [&str; 10] = [
    "content_type",
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "timestamp",
    "type",
    "user_id",
    "app_id",
];

const EVENT: Shape = Shape::Leaf(Leaf::Event);
const STEP_NAME: Shape = Shape::Leaf(Leaf::Name);
const DURATION: Shape = Shape::Leaf(Leaf::Duration);
const POSITIVE: Shape = Shape::Leaf(Leaf::Positive);
const PLACE: Shape = Shape::Leaf(Leaf::Place);
const ROUTING_KEY: Shape = Shape::Leaf(Leaf::Key);
const BOOL: Shape = Shape::Leaf(Leaf::Bool);
const SELECTORS: Shape = Shape::OneOrMany(&Shape::Leaf(Leaf::Selector));

/// An event, perhaps with a condition, or several of them.
const PATTERNS: Shape = Shape::OneOrMany(&Shape::Either(&EVENT, &Shape::Object(&PATTERN)));

const PATTERN: Object = Object::new(
    "an event with a condition",
    &[
        Key::new("event", &EVENT, "Name of the event.").required(),
        Key::new(
            "where",
            &Shape::Leaf(Leaf::Expression),
            "CEL expression over `body`, `headers` and `routing_key`; the event counts only where it holds.",
        ),
    ],
);
