//! Journal entries as the API shows them. Field names are contract.
//!
//! Steps are named by the definition version the order was on then. A change of the order as a whole stands beside the changes of
//! its steps, in `order`, so `changes` holds steps alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::unproven_word;
use crate::saga::catalog::Catalog;
use crate::saga::definition::StepIx;
use crate::saga::journal::{EntryBody, hex};
use crate::saga::order::OrderKey;
use crate::store::{JournalRow, StoreError};

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    pub saga: String,
    /// Null for what concerns the saga as a whole: `mode_act`, `mode_observe`, `version_2`, `brake_latched`, `brake_reset`.
    pub order_id: Option<String>,
    /// From 1 for each order, and for the saga as a whole, without holes.
    pub sequence: u64,
    pub at: String,
    /// `event`, `deadline`, `retry`, `withheld`, `compensation`, `confirmation`, `would_send`, `command`, `late`, `repeated` or
    /// `conflict`.
    pub kind: String,
    /// The event, the action, or what became due.
    pub name: Option<String>,
    /// The step it is about, where it is about one.
    pub step: Option<String>,
    pub message: Option<MessageView>,
    /// Steps that changed.
    pub changes: Vec<ChangeView>,
    /// The status of the order, where that changed.
    pub order: Option<StatusChangeView>,
    /// The versions the order moved between, where it did; steps are those of the new one.
    pub migrated: Option<MigratedView>,
    /// Message ids of what was written to the outbox with it.
    pub published: Vec<String>,
    /// What would have been sent in mode `observe`.
    pub would_send: Vec<String>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    /// Placed by the order of arrival.
    pub inferred: bool,
    /// The doubts that held the decision back.
    pub unproven: Vec<String>,
    /// Hash of this entry and the one before it, hex.
    pub hash: String,
}

/// The message of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    pub id: String,
    /// Empty for events over HTTP.
    pub exchange: String,
    pub routing_key: String,
    /// CloudEvents source, where there is one.
    pub source: Option<String>,
    /// The producer's own: shown, never used.
    pub timestamp: Option<String>,
}

/// A step that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    pub step: String,
    pub from: String,
    pub to: String,
}

/// The order as a whole changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusChangeView {
    pub from: String,
    pub to: String,
}

/// The order moved to another version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigratedView {
    pub from: u32,
    pub to: u32,
}

/// Shows one entry.
///
/// # Errors
/// When the stored text is not an entry.
pub fn entry(catalog: &Catalog, row: &JournalRow) -> Result<EntryView, StoreError> {
    let body: EntryBody = serde_json::from_str(&row.text)
        .map_err(|error| StoreError::Corrupt(format!("entry {} of {}: {error}", row.sequence, row.key)))?;
    let name = |ix: StepIx| step_name(catalog, &row.key, row.version, ix);
    let changed = body.steps.iter().filter(|it| it.from != it.now.status);
    Ok(EntryView {
        saga: row.key.saga.clone(),
        order_id: Some(row.key.order_id.clone()).filter(|it| !it.is_empty()),
        sequence: row.sequence,
        at: row.at.rfc3339(),
        kind: row.kind.word().to_owned(),
        step: body.step.map(name),
        changes: changed
            .map(|it| ChangeView {
                step: name(it.step),
                from: it.from.word().to_owned(),
                to: it.now.status.word().to_owned(),
            })
            .collect(),
        order: body
            .life
            .as_ref()
            .filter(|it| it.from != it.now.status)
            .map(|it| StatusChangeView { from: it.from.word().to_owned(), to: it.now.status.word().to_owned() }),
        migrated: body.migrated.map(|it| MigratedView { from: it.from, to: it.to }),
        message: body.message.map(|it| MessageView {
            id: it.id,
            exchange: it.exchange,
            routing_key: it.routing_key,
            source: it.source,
            timestamp: super::view::time(it.timestamp),
        }),
        name: body.name,
        published: body.published,
        would_send: body.would_send,
        actor: row.actor.clone(),
        reason: body.reason,
        inferred: body.inferred,
        unproven: body.unproven.into_iter().map(|it| unproven_word(it).to_owned()).collect(),
        hash: hex(&row.hash),
    })
}

fn step_name(catalog: &Catalog, key: &OrderKey, version: u32, ix: StepIx) -> String {
    catalog
        .version(&key.saga, version)
        .and_then(|saga| saga.steps.get(ix))
        .map_or_else(|| format!("#{ix}"), |step| step.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::journal::{Kind, LifeChange, StepChange};
    use crate::saga::order::{Life, Status, StepState, StepStatus};
    use crate::saga::time::Moment;

    fn row(text: String) -> JournalRow {
        JournalRow {
            position: 9,
            key: OrderKey { saga: "order".to_owned(), order_id: "a/b".to_owned() },
            sequence: 3,
            at: Moment(1_000_000),
            kind: Kind::Deadline,
            actor: None,
            text,
            hash: [0xab; 32],
            version: 7,
        }
    }

    #[test]
    fn steps_and_order_change_apart_and_unknown_versions_number_their_steps() {
        let mut body = EntryBody { name: Some("overdue".to_owned()), ..EntryBody::default() };
        let state = |status| StepState { status, ..StepState::default() };
        body.steps = vec![
            StepChange { step: 1, from: StepStatus::Waiting, now: state(StepStatus::TimedOut) },
            StepChange { step: 0, from: StepStatus::Done, now: state(StepStatus::Done) },
        ];
        let now = Life { status: Status::Stuck, ..Life::default() };
        body.life = Some(Box::new(LifeChange { from: Status::Running, now }));
        let shown = entry(&Catalog::default(), &row(serde_json::to_string(&body).unwrap())).unwrap();
        let change = ChangeView { step: "#1".to_owned(), from: "waiting".to_owned(), to: "timed_out".to_owned() };
        assert_eq!(shown.changes, [change]);
        assert_eq!(shown.order, Some(StatusChangeView { from: "running".to_owned(), to: "stuck".to_owned() }));
        assert_eq!(shown.hash, "ab".repeat(32));
    }

    #[test]
    fn text_that_is_no_entry_is_said_to_be_corrupt() {
        let error = entry(&Catalog::default(), &row("{".to_owned())).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(text) if text.contains("entry 3 of order/a/b")));
    }
}
