//! A decision and what it publishes are one; what leaves does so in order, under one id, on the broker's own word.

use std::collections::BTreeMap;

use escrow::bus::Published;
use escrow::saga::definition::Telling;
use escrow::saga::input::Verdict;
use escrow::saga::journal::Kind;
use escrow::saga::order::{OrderKey, StepStatus};
use escrow::saga::outgoing::{Content, Outgoing};
use escrow::saga::time::{Moment, Span};
use uuid::Uuid;

use super::{Commit, Judge, Promise, Turned};

/// The outbox, as it must be.
#[derive(Default)]
pub struct Rows {
    rows: BTreeMap<Uuid, Row>,
    /// The message id of each round of each step.
    rounds: BTreeMap<(OrderKey, usize, u32), String>,
}

/// One row.
pub struct Row {
    pub outgoing: Outgoing,
    pub step: Option<usize>,
    pub is_pending: bool,
    pub sent: u32,
    lease: Option<(Uuid, Moment)>,
    words: Vec<Published>,
}

impl Rows {
    pub fn get(&self, key: &Uuid) -> Option<&Row> {
        self.rows.get(key)
    }

    pub fn has_pending(&self, order: &OrderKey) -> bool {
        self.pending().any(|row| row.outgoing.order == *order)
    }

    pub fn pending(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(|row| row.is_pending)
    }
}

impl Judge {
    pub(super) fn rows_written(&mut self, commit: &Commit<'_>) {
        // What was withdrawn was there before, and was on nobody's way.
        for row in self.rows.rows.values_mut() {
            let leased = row.lease.is_some_and(|(_, until)| until > commit.at);
            if row.outgoing.content.asks() && !leased && commit.changes.withdrawn.contains(&row.outgoing.order) {
                row.is_pending = false;
            }
        }
        for outgoing in &commit.changes.outbox {
            let row = Row {
                outgoing: outgoing.clone(),
                step: None,
                is_pending: true,
                sent: 0,
                lease: None,
                words: Vec::new(),
            };
            if self.rows.rows.insert(outgoing.key, row).is_some() {
                self.complain(Promise::Outbox, format!("two rows of {} share a key", outgoing.order));
            }
        }
    }

    /// What an entry says it published is in the outbox, and what the step went through was told and asked for.
    pub(super) fn entry_with_its_messages(&mut self, commit: &Commit<'_>, turned: &Turned<'_>) {
        let sequence = turned.entry.sequence;
        let rows = || commit.changes.outbox.iter().filter(|row| row.order == *turned.key && row.sequence == sequence);
        let mut written: Vec<&String> = rows().map(|row| &row.message_id).collect();
        let mut said: Vec<&String> = turned.entry.body.published.iter().collect();
        written.sort();
        said.sort();
        let withdrawn = commit.changes.withdrawn.contains(turned.key);
        if written != said && !(withdrawn && written.iter().all(|id| said.contains(id))) {
            let what = format!(
                "entry {sequence} of {} says it published {}, the outbox has {}",
                turned.key,
                said.len(),
                written.len()
            );
            self.complain(Promise::Outbox, what);
        }
        for (step, (before, after)) in turned.steps_before.iter().zip(turned.steps).enumerate() {
            let name = &turned.saga.steps[step].name;
            let told = |word: &str| {
                let wanted = format!("{}.{name}.{word}", turned.key.saga);
                rows().any(|row| matches!(&row.content, Content::Telling { routing_key, .. } if *routing_key == wanted))
            };
            let timed_out = after.closed_at == Some(turned.entry.at)
                && before.status == StepStatus::Waiting
                && turned.entry.kind == Kind::Deadline
                && turned.entry.body.step == Some(step);
            if timed_out && turned.saga.notify.contains(&Telling::TimedOut) && !told("timed_out") {
                self.complain(Promise::Outbox, format!("{} {name} timed out, and nobody is told", turned.key));
            }
            let Some(key) = after.awaiting.filter(|key| before.awaiting != Some(*key)) else { continue };
            let Some(row) = rows().find(|row| row.key == key) else {
                if !withdrawn {
                    self.complain(
                        Promise::Outbox,
                        format!("{} {name} waits for a message that is not there", turned.key),
                    );
                }
                continue;
            };
            let row = row.clone();
            if let Some(known) = self.rows.rows.get_mut(&key) {
                known.step = Some(step);
            }
            self.asked(turned, step, &row);
        }
        if turned.entry.kind == Kind::Retry
            && !withdrawn
            && !rows().any(|row| matches!(row.content, Content::Retry { .. }))
        {
            self.complain(Promise::Outbox, format!("{} says it retried, and nothing goes out", turned.key));
        }
    }

    fn asked(&mut self, turned: &Turned<'_>, step: usize, row: &Outgoing) {
        let (before, after) = (&turned.steps_before[step], &turned.steps[step]);
        let name = &turned.saga.steps[step].name;
        match &row.content {
            Content::Retry { attempt, .. } => {
                let by_person = turned.entry.kind == Kind::Command;
                let times = turned.saga.steps[step].retry.as_ref().map_or(0, |retry| retry.cadence.times);
                if !by_person && before.attempts >= times {
                    self.complain(
                        Promise::Doubled,
                        format!("{} {name} is retried more than {times} times", turned.key),
                    );
                }
                if *attempt != before.attempts + 1 || after.attempts != *attempt {
                    self.complain(Promise::Doubled, format!("{} {name}: attempt {attempt} comes again", turned.key));
                }
            }
            Content::Compensation { .. } => {
                let round = (turned.key.clone(), step, after.undo.round);
                let id = self.rows.rounds.entry(round).or_insert_with(|| row.message_id.clone());
                if *id != row.message_id {
                    let what = format!("{} {name}: round {} has two ids", turned.key, after.undo.round);
                    self.complain(Promise::Doubled, what);
                }
                self.in_reverse(turned, step);
            }
            Content::Telling { .. } => {}
        }
    }

    /// Rule 12: a step waits for the compensations of those after it that are known done.
    fn in_reverse(&mut self, turned: &Turned<'_>, step: usize) {
        if turned.entry.kind == Kind::Command {
            return;
        }
        for later in turned.saga.descendants(step) {
            let state = &turned.steps[later];
            let to_undo = turned.saga.steps[later].compensation.is_some() && !state.undo.ignored;
            let known_done = state.status == StepStatus::Done && state.undo.dones > state.undo.covered;
            let under_way = state.status == StepStatus::Compensating && state.undo.dones > 0;
            // A round sent again is not asked for anew.
            if to_undo && (known_done || under_way) && turned.steps[step].undo.attempts == 1 {
                let (name, other) = (&turned.saga.steps[step].name, &turned.saga.steps[later].name);
                self.complain(Promise::Outbox, format!("{}: {name} is undone before {other}", turned.key));
            }
        }
    }

    pub fn claimed(&mut self, owner: Uuid, keys: &[Uuid], lease: Span, now: Moment) {
        for key in keys {
            let earlier = self.rows.rows.get(key).is_some_and(|row| {
                let place = |it: &Outgoing| (it.sequence, it.place);
                self.rows.pending().any(|other| {
                    other.outgoing.order == row.outgoing.order && place(&other.outgoing) < place(&row.outgoing)
                })
            });
            let Some(row) = self.rows.rows.get_mut(key) else {
                self.complain(Promise::Outbox, "a row is claimed that nothing decided".to_owned());
                continue;
            };
            let (order, was_pending) = (row.outgoing.order.clone(), row.is_pending);
            let other = row.lease.is_some_and(|(other, until)| other != owner && until > now);
            row.lease = Some((owner, now + lease));
            if earlier {
                self.complain(Promise::Outbox, format!("a row of {order} leaves before an earlier one"));
            }
            if !was_pending {
                self.complain(Promise::Doubled, format!("a settled row of {order} is claimed"));
            }
            if other {
                self.complain(Promise::Doubled, format!("a row of {order} is leased twice"));
            }
        }
    }

    pub fn released(&mut self, keys: &[Uuid]) {
        for key in keys {
            if let Some(row) = self.rows.rows.get_mut(key) {
                row.lease = None;
            }
        }
    }

    /// The bus gave its word on a message; `None`: it went out, and the word was lost.
    pub fn sent(&mut self, key: Uuid, message_id: Option<&str>, original: Option<&str>, word: Option<Published>) {
        let Some(row) = self.rows.rows.get_mut(&key) else {
            return self.complain(Promise::Outbox, "a message goes out that nothing decided".to_owned());
        };
        row.sent += 1;
        row.words.extend(word);
        let order = row.outgoing.order.clone();
        let wanted = match row.outgoing.content {
            Content::Retry { .. } => original.unwrap_or(&row.outgoing.message_id).to_owned(),
            Content::Telling { .. } | Content::Compensation { .. } => row.outgoing.message_id.clone(),
        };
        if message_id != Some(wanted.as_str()) {
            self.complain(Promise::Doubled, format!("a message of {order} goes out under another id than before"));
        }
    }

    pub(super) fn rows_settled(&mut self, commit: &Commit<'_>) {
        for (key, verdict) in &commit.changes.settled {
            let Some(row) = self.rows.rows.get_mut(key) else { continue };
            let asks = row.outgoing.content.asks();
            let said = row.words.iter().any(|word| match (word, verdict) {
                (Published::Confirmed, Verdict::Routed)
                | (Published::Unroutable(_), Verdict::Unroutable(_))
                | (Published::Refused(_), Verdict::Refused(_))
                | (Published::Withheld(_), Verdict::Withheld(_)) => true,
                (Published::Unroutable(_), Verdict::Routed) => !asks,
                _ => false,
            });
            row.is_pending = false;
            let order = row.outgoing.order.clone();
            if !said {
                let words = row.words.clone();
                self.complain(
                    Promise::Outbox,
                    format!("a row of {order} is settled as {verdict:?}; the bus said {words:?}"),
                );
            }
        }
    }
}
