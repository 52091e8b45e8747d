//! Steps and how they are undone.

use super::{DURATION, EVENT, Key, Leaf, Object, PATTERNS, PLACE, POSITIVE, ROUTING_KEY, SELECTORS, STEP_NAME, Shape};

const TEMPLATE: Shape = Shape::Leaf(Leaf::Template);
const FACTOR: Shape = Shape::Leaf(Leaf::Factor);
const NEEDS_DEADLINE: &[(&str, &str)] = &[("within", "without a deadline the step is never overdue")];

const TARGET: Object = Object {
    what: "the target of a retry",
    keys: &[
        Key::new(
            "queue",
            &PLACE,
            "The silent consumer's queue: nobody else gets the message. An administrator binds it to `escrow.retry`.",
        ),
        Key::new("exchange", &PLACE, "An exchange: every subscriber gets the message again."),
        Key::new("routing_key", &ROUTING_KEY, "Routing key for `exchange`. Left out: the message's own.")
            .with(&[("exchange", "a queue is reached by its name alone")]),
    ],
    one_of: &["queue", "exchange"],
    any_of: &[],
};

const TIMES: Key = Key::new("times", &POSITIVE, "How often it is sent again.").required();
const EVERY: Key = Key::new("every", &DURATION, "Time from the broker's confirmation to the next attempt.").required();
const BACKOFF: Key =
    Key::new("backoff", &FACTOR, "Each wait is the one before times this. Left out: 1, all waits are equal.");

const RETRY: Object = Object::new(
    "`retry`",
    &[
        TIMES,
        EVERY,
        BACKOFF,
        Key::new(
            "to",
            &Shape::Either(&Shape::Word(&["original"]), &Shape::Object(&TARGET)),
            "Who gets the message: `{queue: NAME}` only the silent consumer; `{exchange: NAME, routing_key: KEY}` or \
             `original` every subscriber.",
        )
        .required(),
        Key::new("message", &STEP_NAME, "Whose `done` message is sent again, where the step comes after several."),
    ],
);

const RESEND: Object = Object::new("`retry` of a compensation", &[TIMES, EVERY, BACKOFF]);

const HANDLED_BY: Object = Object::new(
    "`handled_by`",
    &[Key::new(
        "queue",
        &PLACE,
        "Name of the queue. It is only looked at: how many messages wait in it, and how many read it.",
    )
    .required()],
);

const PUBLISH: Object = Object::new(
    "`publish`",
    &[
        Key::new("event", &EVENT, "Name of the event.").required(),
        Key::new("exchange", &PLACE, "Where it is published. Left out: Escrow's own exchange `escrow`."),
        Key::new(
            "routing_key",
            &TEMPLATE,
            "Routing key, may hold `{{ expressions }}`. Left out: empty, or SAGA.STEP.compensate on `escrow`.",
        ),
        Key::new("headers", &Shape::MapOf(Leaf::Header, &Shape::Json), "Headers; texts may hold `{{ expressions }}`."),
        Key::new(
            "properties",
            &Shape::MapOf(Leaf::Property, &Shape::Json),
            "Message properties by their protocol names, such as `type` or `correlation_id`; texts may hold `{{ \
             expressions }}`. The message id is Escrow's: the same on every attempt.",
        ),
        Key::new(
            "body",
            &Shape::Json,
            "Body as JSON; texts may hold `{{ expressions }}`, and one that is exactly one expression keeps its type. \
             Left out: a CloudEvent with the order's progress.",
        ),
    ],
);

const COMPENSATION: Object = Object {
    what: "`compensation`",
    keys: &[
        Key::new(
            "publish",
            &Shape::Either(&EVENT, &Shape::Object(&PUBLISH)),
            "What is published to ask for it: an event name, sent as CloudEvents to the exchange `escrow`, or any message. \
             Left out: the services compensate by themselves, and `done` is only expected.",
        ),
        Key::new(
            "done",
            &PATTERNS,
            "Events that say it is done. Left out: compensated as soon as the broker has confirmed that it was routed.",
        ),
        Key::new("failed", &PATTERNS, "Events that say it cannot be done: the order is stuck.")
            .with(&[("done", "nothing is waited for, so nothing can be refused")]),
        Key::new("within", &DURATION, "Time from the broker's confirmation to `done`. Left out: 1h.")
            .with(&[("done", "a deadline waits for an event")]),
        Key::new("retry", &Shape::Object(&RESEND), "Asks again when `done` does not come in time.")
            .with(&[("publish", "nothing is sent"), ("done", "nothing is waited for")]),
        Key::new(
            "handled_by",
            &Shape::Object(&HANDLED_BY),
            "The queue of the service that undoes the step, so that Escrow can say what is wrong with it when `done` does not come.",
        )
        .with(&[("done", "nothing is waited for")]),
    ],
    one_of: &[],
    any_of: &["publish", "done"],
};

pub(super) const STEP: Object = Object::new(
    "a step",
    &[
        Key::new("after", &Shape::OneOrMany(&STEP_NAME), "Steps it comes after, all of them. Left out: opens with the order."),
        Key::new(
            "when",
            &PATTERNS,
            "Events that make it expected at all. Until one was seen, it counts as skipped for the steps after it.",
        ),
        Key::new(
            "if",
            &Shape::Leaf(Leaf::Expression),
            "CEL expression, looked at when the step would open; where it is false, the step is skipped.",
        ),
        Key::new("done", &PATTERNS, "Events that close it well, any of them.").required(),
        Key::new("failed", &PATTERNS, "Events that say it failed, any of them."),
        Key::new(
            "on_failure",
            &Shape::Word(&["compensate", "alert", "wait"]),
            "What a failure does. compensate (default): the order turns back. alert: a person decides. wait: a second \
             attempt may still succeed.",
        )
        .with(&[("failed", "nothing says that the step failed")]),
        Key::new(
            "within",
            &Shape::Leaf(Leaf::Deadline),
            "Time from its opening: 500ms, 30s, 2h30m, 14d, or `\"{{ expression }}\"` giving a duration or a moment. Left \
             out: no deadline.",
        ),
        Key::new("retry", &Shape::Object(&RETRY), "When overdue, the message that opened the step is sent again.")
            .with(NEEDS_DEADLINE),
        Key::new(
            "on_timeout",
            &Shape::Word(&["alert", "compensate", "skip"]),
            "What a timeout does once no retries are left. alert (default): a person decides. compensate: the order turns \
             back. skip: the order goes on without.",
        )
        .with(NEEDS_DEADLINE),
        Key::new(
            "late",
            &Shape::Word(&["compensate", "ignore"]),
            "What a `done` event means after the order turned back. compensate (default): it is undone, too.",
        ),
        Key::new(
            "compensation",
            &Shape::Object(&COMPENSATION),
            "How the step is undone when the order turns back. Left out: nothing is to be undone.",
        ),
        Key::new(
            "count",
            &Shape::Leaf(Leaf::Count),
            "This many different `done` events are needed: a number, or `\"{{ expression }}\"`. 0 is done at once.",
        )
        .with(&[("by", "something must tell the counted events apart")]),
        Key::new("by", &SELECTORS, "Where a counted event has what tells it apart from the others.")
            .with(&[("count", "only counted events are told apart")]),
        Key::new(
            "handled_by",
            &Shape::Object(&HANDLED_BY),
            "The queue of the service that answers, so that Escrow can say what is wrong with it when no answer comes. Nothing is \
             published to it. Left out: the queue its retries go to, if there is one.",
        ),
    ],
);
