//! The whole file.

use super::reading::{READ, WATCH};
use super::step::STEP;
use super::{DURATION, Key, Leaf, Object, PATTERNS, POSITIVE, SELECTORS, STEP_NAME, Shape};

const BRAKE: Object = Object::new(
    "`brake`",
    &[
        Key::new(
            "orders",
            &POSITIVE,
            "Past this many orders turned back by timeout, the next ones are held. Left out: 50.",
        ),
        Key::new("per", &DURATION, "The time in which they are counted. Left out: 1m."),
    ],
);

const TELLINGS: Shape = Shape::Word(&[
    "retried",
    "timed_out",
    "recovered",
    "stuck",
    "completed",
    "failed",
    "cancelled",
    "compensating",
    "compensated",
]);

/// One definition file.
pub(crate) const SAGA: Object = Object::new(
    "a saga",
    &[
        Key::new("saga", &STEP_NAME, "Name of the saga.").required(),
        Key::new(
            "version",
            &POSITIVE,
            "Version of the definition. A file is applied only if it is higher than any stored; open orders stay on the \
             version they began with.",
        )
        .required(),
        Key::new(
            "mode",
            &Shape::Word(&["act", "observe"]),
            "The mode a new saga starts in. act (default): Escrow retries and compensates. observe: it journals, alerts \
             and tells, and asks nothing of the services.",
        ),
        Key::new(
            "watch",
            &Shape::List(&Shape::Object(&WATCH)),
            "Where the services publish. Events posted to `/v1/events` are always taken.",
        ),
        Key::new("read", &Shape::Object(&READ), "How one message is read."),
        Key::new(
            "attributes",
            &Shape::MapOf(Leaf::Attribute, &SELECTORS),
            "Searchable fields kept with the order: name and where a message has it. From the root step's event, else \
             from the first step in this file that has it.",
        ),
        Key::new(
            "steps",
            &Shape::MapOf(Leaf::Name, &Shape::Object(&STEP)),
            "What is expected of an order. Events are applied to the steps in the order of this file.",
        )
        .required(),
        Key::new(
            "cancelled_by",
            &PATTERNS,
            "Events that cancel the order: what has happened is compensated.",
        ),
        Key::new("within", &DURATION, "Time for the whole order; past it the order is stuck. Left out: 7d."),
        Key::new(
            "brake",
            &Shape::Either(&Shape::Word(&["none"]), &Shape::Object(&BRAKE)),
            "Holds orders that turn back by timeout when there are too many of them. Left out: 50 per 1m; `none` switches \
             it off.",
        ),
        Key::new(
            "notify",
            &Shape::List(&TELLINGS),
            "Which tellings are sent on the exchange `escrow`. Left out: all but completed.",
        ),
    ],
);
