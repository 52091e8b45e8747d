//! Nothing lost, nothing doubled: every message that is acknowledged has its outcome, once; and no watermark passes one that
//! has none.

use escrow::saga::time::Moment;
use serde_json::Value;

use super::{Commit, Judge, Promise};
use crate::model::{Model, Uid};

/// The header that carries the number of a message.
pub const UID: &str = "uid";

/// The number in a stored envelope.
pub fn uid_of(envelope: &Value) -> Option<Uid> {
    usize::try_from(envelope["headers"][UID].as_u64()?).ok()
}

impl Judge {
    /// What became of the messages of a batch.
    pub(super) fn outcomes(&mut self, model: &mut Model, commit: &Commit<'_>) {
        for payload in &commit.changes.payloads {
            let Some(uid) = uid_of(&payload.payload.envelope_value()) else { continue };
            let key = (payload.order.saga.clone(), uid);
            let place = (payload.order.order_id.clone(), payload.sequence);
            let message = &model.messages[uid];
            if !message.is_line && message.order != place.0 {
                self.complain(Promise::Doubled, format!("message {uid} of {} went to {}", message.order, place.0));
            }
            if let Some(first) = model.applied.get(&key) {
                let what = format!("message {uid} ({}) is in the trail of {first:?} and of {place:?}", message.event);
                self.complain(Promise::Doubled, what);
            }
            model.applied.insert(key, place);
        }
        for quarantined in &commit.changes.quarantined {
            let Some(uid) = uid_of(&quarantined.envelope) else { continue };
            let sagas: Vec<String> = match &quarantined.saga {
                Some(saga) => vec![saga.clone()],
                None => self.sagas.keys().cloned().collect(),
            };
            model.quarantined.extend(sagas.into_iter().map(|saga| (saga, uid)));
        }
        self.conservation(commit);
    }

    /// What a batch journals is what it counts.
    fn conservation(&mut self, commit: &Commit<'_>) {
        let tally = &commit.changes.tally;
        let (counted, kept) = (tally.applied + tally.late, commit.changes.payloads.len() as u64);
        if counted != kept {
            self.complain(Promise::Lost, format!("{counted} messages were counted as applied, and {kept} are kept"));
        }
        if tally.quarantined != commit.changes.quarantined.len() as u64 {
            self.complain(Promise::Lost, "a message was counted as quarantined and not kept".to_owned());
        }
    }

    /// The broker was told to forget these.
    pub fn acknowledged(&mut self, model: &Model, uids: &[Uid]) {
        let sagas: Vec<_> = self.sagas.values().cloned().collect();
        for (uid, saga) in uids.iter().flat_map(|uid| sagas.iter().map(move |saga| (*uid, saga))) {
            if model.is_named(saga, uid) && !model.is_handled(&saga.name, uid) {
                let event = &model.messages[uid].event;
                self.complain(
                    Promise::Lost,
                    format!("message {uid} ({event}) was acknowledged, and {} has no trace of it", saga.name),
                );
            }
        }
    }

    /// The watermark says: everything enqueued before is applied, or known to be lost.
    pub(super) fn watermark_moved(&mut self, model: &Model, commit: &Commit<'_>) {
        let Some(tap) = &commit.changes.tap else { return };
        let began = *self.began.get_or_insert(commit.at);
        let Some(watermark) = tap.watermark else { return };
        if watermark > commit.at {
            self.complain(Promise::Watermark, format!("it is {}, which is to come", watermark.0));
        }
        if self.watermark.is_some_and(|known| watermark <= known) {
            return;
        }
        self.watermark = Some(watermark);
        let sagas: Vec<_> = self.sagas.values().cloned().collect();
        for (uid, message) in model.messages.iter().enumerate() {
            let Some(enqueued_at) = message.enqueued_at.filter(|at| *at < watermark) else { continue };
            for saga in &sagas {
                if !model.is_named(saga, uid) || model.is_handled(&saga.name, uid) {
                    continue;
                }
                let known = |at: Moment| at < began || self.doubts.reach(at) || reach(commit, at);
                // Of one published twice, a copy may be lost and another still come.
                let gap_is_known = message.lost_at.is_some_and(known);
                if !gap_is_known {
                    let what = format!(
                        "it passed message {uid} ({}), enqueued {} us before",
                        message.event,
                        watermark.0 - enqueued_at.0
                    );
                    self.complain(Promise::Watermark, what);
                }
            }
        }
    }

    /// A row of the tap was read.
    pub fn watermark_read(&mut self, seen: Option<Moment>) {
        if seen < self.watermark {
            self.complain(Promise::Watermark, format!("it went back: {:?} after {:?}", seen, self.watermark));
        }
    }
}

/// Whether the batch itself records a gap that reaches to a loss.
fn reach(commit: &Commit<'_>, lost_at: Moment) -> bool {
    commit.changes.doubts.iter().any(|doubt| doubt.quarantined.is_none() && lost_at <= doubt.to)
}
