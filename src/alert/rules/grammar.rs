//! The language of `alerts.yaml` as data; read by the checker of definitions.

use crate::alert::severity::SEVERITIES;
use crate::saga::parse::grammar::{Key, Leaf, Object, Shape};

const TEXT: Shape = Shape::Leaf(Leaf::Text);
const TEXTS: Shape = Shape::OneOrMany(&TEXT);
const NAME: Shape = Shape::Leaf(Leaf::Name);
const NAMES: Shape = Shape::OneOrMany(&NAME);
const SEVERITY: Shape = Shape::Word(&SEVERITIES);

const ALERTMANAGER: Object = Object::new(
    "`alertmanager`",
    &[
        Key::new("urls", &TEXTS, "Addresses of all its peers, like http://alertmanager:9093; each is told everything.")
            .required(),
        Key::new("every", &Shape::Leaf(Leaf::Duration), "What lasts is said again this often. Left out: 1m."),
    ],
);

const SLACK: Object = Object::new(
    "`slack`",
    &[Key::new("url", &TEXT, "Address of the incoming webhook. Whoever has it can write: `${NAME}`.").required()],
);

const PAGERDUTY: Object = Object::new(
    "`pagerduty`",
    &[
        Key::new("routing_key", &TEXT, "Integration key of an Events API v2 integration: `${NAME}`.").required(),
        Key::new("url", &TEXT, "Where events go. Left out: https://events.pagerduty.com/v2/enqueue."),
    ],
);

const WEBHOOK: Object = Object::new(
    "`webhook`",
    &[
        Key::new("url", &TEXT, "Where it is posted to.").required(),
        Key::new("secret", &TEXT, "What it is signed with, as Standard Webhooks says: `${NAME}`.").required(),
    ],
);

const EMAIL: Object = Object::new(
    "`email`",
    &[
        Key::new("smtp", &TEXT, "The mail server: host or host:port.").required(),
        Key::new(
            "tls",
            &Shape::Word(&["starttls", "tls", "plain"]),
            "starttls (default, port 587), tls (port 465) or plain (port 25).",
        ),
        Key::new("from", &TEXT, "The sender.").required(),
        Key::new("to", &TEXTS, "Who gets it.").required(),
        Key::new("user", &TEXT, "User at the mail server.").with(&[("password", "there is nothing to log in with")]),
        Key::new("password", &TEXT, "Password at the mail server: `${NAME}`.")
            .with(&[("user", "there is nobody to log in as")]),
    ],
);

const CHANNEL: Object = Object {
    one_of: &["alertmanager", "slack", "pagerduty", "webhook", "email"],
    ..Object::new(
        "a channel",
        &[
            Key::new("alertmanager", &Shape::Object(&ALERTMANAGER), "Prometheus Alertmanager, API v2."),
            Key::new("slack", &Shape::Object(&SLACK), "An incoming webhook of Slack, or of what takes the same."),
            Key::new("pagerduty", &Shape::Object(&PAGERDUTY), "PagerDuty Events API v2."),
            Key::new("webhook", &Shape::Object(&WEBHOOK), "JSON to an address of yours, signed."),
            Key::new("email", &Shape::Object(&EMAIL), "A mail over SMTP."),
        ],
    )
};

const ROUTE: Object = Object::new(
    "a route",
    &[
        Key::new("cause", &NAMES, "Only incidents of these causes. Left out: all."),
        Key::new("saga", &NAMES, "Only incidents of these sagas. Left out: all, and those about no single saga."),
        Key::new("severity", &Shape::OneOrMany(&SEVERITY), "Only incidents this bad. Left out: all."),
        Key::new("to", &NAMES, "Names of channels. Left out: all channels."),
    ],
);

const CAUSE: Object = Object::new(
    "a cause",
    &[
        Key::new("severity", &SEVERITY, "How bad it is."),
        Key::new("runbook_url", &TEXT, "What to do, for whoever is woken."),
    ],
);

/// One `alerts.yaml`.
pub(super) const ALERTS: Object = Object::new(
    "the file",
    &[
        Key::new(
            "channels",
            &Shape::MapOf(Leaf::Name, &Shape::Object(&CHANNEL)),
            "Where alerts go: a name for each, and what it is.",
        )
        .required(),
        Key::new(
            "routes",
            &Shape::List(&Shape::Object(&ROUTE)),
            "Who is told of what: an incident goes to the channels of every route that fits. Left out: all to all.",
        ),
        Key::new("causes", &Shape::MapOf(Leaf::Name, &Shape::Object(&CAUSE)), "What differs for a cause."),
        Key::new("runbook_url", &TEXT, "What to do, where a cause has none of its own."),
        Key::new("link", &TEXT, "Where people reach Escrow's page, like https://escrow.example.org."),
    ],
);
