//! What happens in a test, one readable line each: `at("10s").event("PaymentProcessed")`, `due("31s")`, `confirm("routed")`,
//! `command(Action::Retry).on("inventory")`.

use escrow::saga::definition::Mode;
use escrow::saga::input::{Action, Verdict};
use escrow::saga::order::DoubtKind;
use escrow::saga::time::Span;
use serde_json::Value;

/// One step of a test, perhaps at a time of its own (else at that of the one before).
#[derive(Clone, Debug)]
pub struct When {
    pub at: Option<Span>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Event(Seen),
    /// The watermark passes this moment, which is also now.
    Due,
    /// The broker's word on the oldest message that has none.
    Confirm(Verdict),
    Command {
        action: Action,
        step: Option<&'static str>,
        reason: &'static str,
    },
    Reconsider,
    Mode(Mode),
    Brake(bool),
    Doubt {
        kind: DoubtKind,
        event: Option<&'static str>,
        order_id: Option<&'static str>,
    },
    NoDoubts,
}

/// A message as the tap reads it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub name: String,
    /// Left out: a message id of its own.
    pub id: Option<String>,
    pub anonymous: bool,
    pub body: Value,
    pub part: Option<String>,
    pub attributes: Vec<(String, Value)>,
    pub inferred: bool,
    /// How long after its publishing the tap was read; left out: at once.
    pub lag: Option<Span>,
}

/// At this time after the start …
pub fn at(time: &str) -> At {
    At(Span::parse(time).unwrap())
}

pub struct At(Span);

impl At {
    pub fn event(self, name: &str) -> When {
        self.then(event(name))
    }

    pub fn command(self, action: Action) -> When {
        self.then(command(action))
    }

    pub fn confirm(self, verdict: &str) -> When {
        self.then(confirm(verdict))
    }

    pub fn then(self, when: When) -> When {
        When { at: Some(self.0), ..when }
    }
}

fn now(what: What) -> When {
    When { at: None, what }
}

pub fn event(name: &str) -> When {
    now(What::Event(Seen { name: name.to_owned(), ..Seen::default() }))
}

pub fn due(time: &str) -> When {
    At(Span::parse(time).unwrap()).then(now(What::Due))
}

/// `routed`, or what else the broker may say.
pub fn confirm(verdict: &str) -> When {
    let why = || "312 NO_ROUTE".to_owned();
    now(What::Confirm(match verdict {
        "routed" => Verdict::Routed,
        "unroutable" => Verdict::Unroutable(why()),
        "refused" => Verdict::Refused(why()),
        "withheld" => Verdict::Withheld("no consumer".to_owned()),
        other => panic!("no verdict is called {other}"),
    }))
}

pub fn command(action: Action) -> When {
    now(What::Command { action, step: None, reason: "ticket 7" })
}

pub fn reconsider() -> When {
    now(What::Reconsider)
}

pub fn mode(mode: Mode) -> When {
    now(What::Mode(mode))
}

pub fn brake(holds: bool) -> When {
    now(What::Brake(holds))
}

pub fn gap() -> When {
    now(What::Doubt { kind: DoubtKind::Gap, event: None, order_id: None })
}

pub fn unreadable(event: Option<&'static str>, order_id: Option<&'static str>) -> When {
    now(What::Doubt { kind: DoubtKind::Quarantine, event, order_id })
}

pub fn no_doubts() -> When {
    now(What::NoDoubts)
}

impl When {
    /// The same, at this time after the start.
    pub fn at(self, time: &str) -> Self {
        At(Span::parse(time).unwrap()).then(self)
    }

    fn seen(mut self, change: impl FnOnce(&mut Seen)) -> Self {
        if let What::Event(seen) = &mut self.what {
            change(seen);
        }
        self
    }

    pub fn id(self, id: &str) -> Self {
        self.seen(|seen| seen.id = Some(id.to_owned()))
    }

    pub fn without_id(self) -> Self {
        self.seen(|seen| seen.anonymous = true)
    }

    pub fn body(self, body: Value) -> Self {
        self.seen(|seen| seen.body = body)
    }

    pub fn part(self, part: &str) -> Self {
        self.seen(|seen| seen.part = Some(part.to_owned()))
    }

    pub fn attribute(self, name: &str, value: Value) -> Self {
        self.seen(|seen| seen.attributes.push((name.to_owned(), value)))
    }

    pub fn inferred(self) -> Self {
        self.seen(|seen| seen.inferred = true)
    }

    pub fn read_after(self, lag: &str) -> Self {
        self.seen(|seen| seen.lag = Some(Span::parse(lag).unwrap()))
    }

    pub fn on(mut self, name: &'static str) -> Self {
        if let What::Command { step, .. } = &mut self.what {
            *step = Some(name);
        }
        self
    }
}
