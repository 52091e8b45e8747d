//! One order of one saga under test: `given(saga).when([…]).then("…")`.
//!
//! `then` is the one check: lines of `what: how it is now`. `what` is a step, or one of
//!
//! ```text
//!   order     its status, with what it needs      steps     all of them         due      the next deadline
//!   trail     entries, kinds: only their kinds    told      tellings            sent     retries and compensations
//!   unproven  the doubts                          ids       of what was sent    payload  bodies of what was sent
//!   answer    what the last input became, or the misfit                         attributes, duplicates
//! ```
//!
//! `trail`, `told` and `sent` are about what came since the last `then`.

use std::collections::BTreeMap;
use std::sync::Arc;

use escrow::saga::definition::{Mode, Role, Saga};
use escrow::saga::input::{Command, Confirmation, Event, Input, MessageRef, Misfit, Payload};
use escrow::saga::journal::Entry;
use escrow::saga::machine::{Outcome, ResultOf, StoredEvents, apply, migrate, unproven};
use escrow::saga::migration::{Effects, Migration};
use escrow::saga::order::{Circumstances, Doubt, Order, OrderKey, StepState, StepStatus};
use escrow::saga::outgoing::{Content, Outgoing};
use escrow::saga::parse::parse;
use escrow::saga::time::{Moment, Span};
use serde_json::{Value, json};
use sha2::Digest as _;

use super::laws;
use super::when::{Seen, What, When};

/// What every test saga begins with.
const HEAD: &str = "saga: order\nversion: 1\nwatch: [{ exchange: shop }]\nread: { event: /type, order_id: /order }\n";

/// When every test begins.
pub const START: Moment = Moment(1_767_225_600_000_000);

/// The order every test is about.
pub const ORDER_ID: &str = "101";

/// A definition from its `steps:` on.
pub fn saga(text: &str) -> Saga {
    version(1, text)
}

/// Another version of it.
pub fn version(version: u32, text: &str) -> Saga {
    let text = format!("{}{text}", HEAD.replace("version: 1", &format!("version: {version}")));
    match parse("test.yaml", &text) {
        Ok(parsed) => parsed.saga,
        Err(findings) => panic!("{text}\n{findings:#?}"),
    }
}

pub fn given(text: &str) -> Run {
    Run::of(saga(text))
}

#[derive(Clone)]
pub struct Run {
    pub saga: Arc<Saga>,
    pub order: Order,
    pub stored: StoredEvents,
    pub journal: Vec<Entry>,
    pub now: Moment,
    pub mode: Mode,
    pub braked: bool,
    pub doubts: Vec<Doubt>,
    /// Everything ever written to the outbox.
    pub outbox: Vec<Outgoing>,
    /// The part of it that asks something and has no word from the broker.
    pub unsettled: Vec<Outgoing>,
    pub answer: Result<ResultOf, Misfit>,
    events: u64,
    shown_entries: usize,
    shown_rows: usize,
}

impl Run {
    pub fn of(saga: Saga) -> Self {
        let key = OrderKey { saga: saga.name.clone(), order_id: ORDER_ID.to_owned() };
        let order = Order::begin(key, saga.version, saga.steps.len(), START);
        Self {
            mode: saga.mode,
            saga: Arc::new(saga),
            order,
            stored: StoredEvents::new(),
            journal: Vec::new(),
            now: START,
            braked: false,
            doubts: Vec::new(),
            outbox: Vec::new(),
            unsettled: Vec::new(),
            answer: Ok(ResultOf::Applied),
            events: 0,
            shown_entries: 0,
            shown_rows: 0,
        }
    }

    pub fn when(mut self, steps: impl IntoIterator<Item = When>) -> Self {
        for step in steps {
            self.take(&step);
        }
        self
    }

    pub fn take(&mut self, step: &When) {
        if let Some(at) = step.at {
            self.now = START + at;
        }
        match &step.what {
            What::Event(seen) => {
                let event = self.event(seen);
                self.apply(&Input::Event(Box::new(event)));
            }
            What::Due => self.apply(&Input::Due(self.now)),
            What::Reconsider => self.apply(&Input::Reconsider),
            What::Confirm(verdict) => {
                assert!(!self.unsettled.is_empty(), "nothing was sent that could be confirmed");
                let key = self.unsettled.remove(0).key;
                self.apply(&Input::Confirmation(Confirmation { key, verdict: verdict.clone() }));
            }
            What::Command { action, step, reason } => {
                let step = step.map(|name| self.saga.step_ix(name).expect("a step of the saga"));
                let command = Command { action: *action, step, actor: "ann".to_owned(), reason: (*reason).to_owned() };
                self.apply(&Input::Command(command));
            }
            What::Mode(mode) => self.mode = *mode,
            What::Brake(holds) => self.braked = *holds,
            What::Doubt { kind, event, order_id } => self.doubts.push(Doubt {
                id: i64::try_from(self.doubts.len()).unwrap(),
                kind: *kind,
                saga: Some(self.saga.name.clone()),
                from: self.now,
                to: self.now,
                event: event.map(str::to_owned),
                order_id: order_id.map(str::to_owned),
            }),
            What::NoDoubts => self.doubts.clear(),
        }
    }

    fn event(&mut self, seen: &Seen) -> Event {
        self.events += 1;
        let id = seen.id.clone().unwrap_or_else(|| format!("m{}", self.events));
        let roles: Vec<Role> =
            self.saga.roles.get(&seen.name).into_iter().flatten().map(|pattern| pattern.role).collect();
        assert!(!roles.is_empty(), "the saga names no {}", seen.name);
        let counted = roles.iter().filter_map(|role| match role {
            Role::Done(step) if self.saga.steps[*step].count.is_some() => Some((*step, seen.part.clone()?)),
            _ => None,
        });
        let body = serde_json::to_vec(&seen.body).unwrap();
        let digest: [u8; 32] = sha2::Sha256::digest([seen.name.as_bytes(), b"/", id.as_bytes(), &body].concat()).into();
        Event {
            name: seen.name.clone(),
            parts: counted.collect(),
            roles,
            identity: (!seen.anonymous).then(|| digest[..16].try_into().unwrap()),
            message: MessageRef {
                id,
                exchange: "shop".to_owned(),
                routing_key: String::new(),
                source: None,
                timestamp: None,
            },
            payload: Arc::new(Payload {
                salt: [7; 16],
                body_hash: sha2::Sha256::digest(&body).into(),
                body: Some(body),
                envelope: r#"{"headers":{}}"#.to_owned(),
            }),
            attributes: seen.attributes.clone(),
            inferred: seen.inferred,
            lag: Some(seen.lag.unwrap_or(Span::from_millis(5))),
            view: Some(Arc::new(seen.body.clone())),
        }
    }

    pub fn apply(&mut self, input: &Input) {
        if self.order.sequence == 0 {
            self.order = Order::begin(self.order.key.clone(), self.saga.version, self.saga.steps.len(), self.now);
        }
        let before = self.order.clone();
        let with = Circumstances { now: self.now, mode: self.mode, braked: self.braked, doubts: &self.doubts };
        match apply(&self.saga, before.clone(), &mut self.stored, input, &with) {
            Ok(outcome) => {
                laws::hold(&self.saga, &before, input, &with, &outcome, &self.outbox);
                self.keep(outcome);
            }
            Err(misfit) => self.answer = Err(misfit),
        }
    }

    /// Moves the order to another version; on a refusal everything stays as it was.
    pub fn migrate(&mut self, to: Saga, rearm: bool) -> Option<Effects> {
        let (from, before) = (Arc::clone(&self.saga), self.order.clone());
        let (actor, reason) = ("ann".to_owned(), "why".to_owned());
        let migration = Migration { from: from.version, to: to.version, rearm, dry_run: false, actor, reason };
        let with = Circumstances { now: self.now, mode: self.mode, braked: self.braked, doubts: &self.doubts };
        match migrate(&from, &to, before.clone(), &mut self.stored, &migration, &with) {
            Ok(done) => {
                laws::always(&before, &done.outcome, &self.outbox);
                self.saga = Arc::new(to);
                self.keep(done.outcome);
                for new in done.doubts {
                    let (kind, saga, from, to) = (new.kind, new.saga, new.from, new.to);
                    self.doubts.push(Doubt { id: 0, kind, saga, from, to, event: new.event, order_id: new.order_id });
                }
                Some(done.effects)
            }
            Err(misfit) => {
                self.answer = Err(misfit);
                None
            }
        }
    }

    fn keep(&mut self, outcome: Outcome) {
        self.answer = Ok(outcome.result);
        self.order = outcome.order;
        self.journal.extend(outcome.entries.into_iter().map(|sealed| sealed.entry));
        if outcome.withdrawn {
            self.unsettled.clear();
        }
        self.unsettled.extend(outcome.outbox.iter().filter(|row| row.content.asks()).cloned());
        self.outbox.extend(outcome.outbox);
    }

    /// The one check.
    #[track_caller]
    pub fn then(mut self, expected: &str) -> Self {
        let lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
        let (mut wanted, mut found) = (String::new(), String::new());
        for line in lines {
            let (what, how) = line.split_once(':').expect("a line is `what: how`");
            wanted.extend([what, ": ", how.trim(), "\n"]);
            found.extend([what, ": ", &self.show(what), "\n"]);
        }
        assert_eq!(found, wanted, "\nfound\n{found}\nwanted\n{wanted}\ntrail: {:#?}", self.trail(0));
        self.shown_entries = self.journal.len();
        self.shown_rows = self.outbox.len();
        self
    }

    pub fn show(&self, what: &str) -> String {
        match what {
            "order" => self.status(),
            "steps" => {
                let steps = self.saga.steps.iter().zip(&self.order.steps);
                joined(steps.map(|(step, state)| format!("{} {}", step.name, state.status.word())))
            }
            "unproven" => {
                joined(unproven(&self.saga, &self.order, &self.doubts).iter().map(|reason| word(&json!(reason))))
            }
            "due" => self.order.next_due().map_or("-".to_owned(), since_start),
            "trail" => joined(self.trail(self.shown_entries)),
            "kinds" => joined(self.journal[self.shown_entries..].iter().map(|entry| entry.kind.word().to_owned())),
            "told" => self.rows(|content| matches!(content, Content::Telling { .. })),
            "sent" => self.rows(Content::asks),
            "ids" => {
                let rows = self.outbox[self.shown_rows..].iter().filter(|row| row.content.asks());
                joined(rows.map(|row| row.message_id.clone()))
            }
            "payload" => {
                let bodies = self.outbox[self.shown_rows..].iter().filter_map(|row| match &row.content {
                    Content::Compensation { body, .. } => Some(body.to_string()),
                    Content::Telling { .. } | Content::Retry { .. } => None,
                });
                joined(bodies)
            }
            "answer" => match &self.answer {
                Ok(result) => format!("{result:?}").to_lowercase(),
                Err(misfit) => misfit.to_string(),
            },
            "attributes" => joined(self.order.attributes.iter().map(|(name, it)| format!("{name}={}", it.value))),
            "version" => self.order.version.to_string(),
            "duplicates" => self.order.duplicates.to_string(),
            step => self.step(step),
        }
    }

    fn status(&self) -> String {
        let life = &self.order.life;
        let needs = life.needs.iter().map(|need| match need.step {
            Some(step) => format!("{} {}", need.reason.word(), self.saga.steps[step].name),
            None => need.reason.word().to_owned(),
        });
        let words: Vec<String> = std::iter::once(life.status.word().to_owned())
            .chain((!life.needs.is_empty()).then(|| format!("({})", joined(needs))))
            .chain(life.closed_because.clone())
            .collect();
        words.join(" ")
    }

    fn step(&self, name: &str) -> String {
        let step = self.saga.step_ix(name).unwrap_or_else(|| panic!("`{name}` is no step and no word of `then`"));
        let state = &self.order.steps[step];
        let StepState { early, late, withheld, attempts, undo, .. } = state;
        let mut words = vec![state.status.word().to_owned()];
        let mut add = |holds: bool, word: String| {
            if holds {
                words.push(word);
            }
        };
        add(*early, "early".to_owned());
        add(*late, "late".to_owned());
        add(*withheld, "withheld".to_owned());
        add(state.failure.is_some() && state.status != StepStatus::Failed, "failure kept".to_owned());
        add(*attempts > 0, format!("attempts {attempts}"));
        add(undo.round > 0, format!("round {}", undo.round));
        add(undo.attempts > 1, format!("sending {}", undo.attempts));
        add(state.awaiting.is_some(), "awaiting".to_owned());
        add(state.deadline.is_some(), format!("until {}", state.deadline.map(since_start).unwrap_or_default()));
        words.join(" ")
    }

    fn trail(&self, from: usize) -> Vec<String> {
        let entries = self.journal[from..].iter().map(|entry| {
            let body = &entry.body;
            let about = body.step.map(|step| self.saga.steps[step].name.clone());
            let name = body.name.clone().or(about).unwrap_or_default();
            let would = (!body.would_send.is_empty()).then(|| format!("[{}]", joined(body.would_send.clone())));
            let doubts = body.unproven.iter().map(|reason| word(&json!(reason)));
            let doubts = (!body.unproven.is_empty()).then(|| format!("<{}>", joined(doubts)));
            let reason = body.reason.as_ref().map(|reason| format!("({reason})"));
            let words: Vec<String> = [Some(entry.kind.word().to_owned()), Some(name), reason, doubts, would]
                .into_iter()
                .flatten()
                .filter(|word| !word.is_empty())
                .collect();
            words.join(" ")
        });
        entries.collect()
    }

    fn rows(&self, wanted: impl Fn(&Content) -> bool) -> String {
        let rows = self.outbox[self.shown_rows..].iter().filter(|row| wanted(&row.content));
        joined(rows.map(|row| match &row.content {
            Content::Telling { routing_key, .. } => routing_key.trim_start_matches("order.").to_owned(),
            Content::Retry { of, attempt, .. } => {
                let of =
                    self.journal.iter().find(|entry| entry.sequence == *of).and_then(|entry| entry.body.name.clone());
                format!("{} again, retry {attempt}", of.unwrap_or_default())
            }
            Content::Compensation { body, .. } => word(body.get("type").unwrap_or(&Value::Null)),
        }))
    }

    /// A body of what was sent last and asks something.
    pub fn last_ask(&self) -> &Outgoing {
        self.outbox.iter().rfind(|row| row.content.asks()).expect("something was asked")
    }

    /// Statuses by step name: what a permutation must not change.
    pub fn statuses(&self) -> BTreeMap<String, StepStatus> {
        self.saga.steps.iter().zip(&self.order.steps).map(|(step, state)| (step.name.clone(), state.status)).collect()
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn joined(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<String> = words.into_iter().collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn since_start(at: Moment) -> String {
    at.since(START).to_string()
}
