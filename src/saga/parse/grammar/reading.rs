//! Where the services publish, and how a message is read.

use super::{BOOL, Key, Leaf, Object, PLACE, ROUTING_KEY, SELECTORS, Shape};

const ONLY_EXCHANGE: &[(&str, &str)] = &[("exchange", "it says something about an exchange")];

pub(super) const READ: Object = Object::new(
    "`read`",
    &[
        Key::new(
            "event",
            &SELECTORS,
            "Where a message has the event's name: a JSON pointer into the body, `routing_key`, `routing_key:2` (second \
             word), `exchange`, `header:NAME` or `property:NAME`. Of a list, the first that is present.",
        ),
        Key::new(
            "order_id",
            &Shape::Either(&Shape::Leaf(Leaf::OrderId), &SELECTORS),
            "Where a message has the order id. `arrival`: messages carry none, and are placed by the order in which they \
             arrive.",
        ),
        Key::new(
            "id",
            &SELECTORS,
            "What identifies the message. Left out: its message id or the preset's; last, a hash of the content.",
        ),
        Key::new(
            "preset",
            &Shape::Word(&["cloudevents", "masstransit", "nservicebus"]),
            "An envelope known by name. Fills in event, id, time and what the body is; the other keys are merged over \
             it. Pointers and conditions then see the payload, and `envelope:/…` the rest.",
        ),
    ],
);

const DECLARE: Object = Object::new(
    "`declare`",
    &[
        Key::new(
            "type",
            &Shape::Leaf(Leaf::ExchangeType),
            "Type of the exchange: direct, fanout, topic, headers, or a plugin's `x-…`.",
        )
        .required(),
        Key::new("durable", &BOOL, "Whether it survives a restart of the broker. Left out: false."),
        Key::new("auto_delete", &BOOL, "Whether it goes with its last binding. Left out: false."),
        Key::new("internal", &BOOL, "Whether only other exchanges can publish to it. Left out: false."),
    ],
);

const HTTP: Object = Object::new(
    "`http`",
    &[Key::new(
        "read",
        &Shape::Object(&READ),
        "How an event posted to `/v1/events` is read, merged over `preset: cloudevents`.",
    )],
);

pub(super) const WATCH: Object = Object {
    what: "a watched place",
    keys: &[
        Key::new(
            "exchange",
            &PLACE,
            "An exchange the services publish to. It may not exist yet: Escrow binds when it appears, and never declares, \
             changes or deletes it.",
        ),
        Key::new(
            "declare",
            &Shape::Object(&DECLARE),
            "How the services declare this exchange, word for word: lets Escrow be there first. Left out: it is never \
             declared.",
        )
        .with(ONLY_EXCHANGE),
        Key::new(
            "keys",
            &Shape::OneOrMany(&ROUTING_KEY),
            "Binding keys. Left out: what the definition needs: the event names for a direct exchange whose event name \
             is the routing key, else `#` for topic and the empty key for fanout.",
        )
        .with(ONLY_EXCHANGE),
        Key::new(
            "read",
            &Shape::Object(&READ),
            "How this exchange's messages are read, merged over the saga's `read`.",
        )
        .with(ONLY_EXCHANGE),
        Key::new(
            "http",
            &Shape::Object(&HTTP),
            "Events posted to `/v1/events`. Left out: read by `preset: cloudevents`, with the subject as the order id.",
        ),
    ],
    one_of: &["exchange", "http"],
    any_of: &[],
};
