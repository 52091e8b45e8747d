//! Judges the whole history, commit by commit: one file for each family of promises (DESIGN 4).
//!
//! ```text
//!   tap.rs        nothing lost, nothing doubled, the watermark
//!   deadlines.rs  not early, not falsely
//!   outbox.rs     a decision and its message are one; what leaves, in which order, on whose word
//!   doubt.rs      no unproven order acts; observe asks nothing; the brake
//!   end.rs        when all is quiet: every deadline fired, every backlog gone, every trail folds
//! ```
//!
//! The judge sees what the store committed and what crossed the bus, and holds it against the [model](crate::model). It keeps
//! its own reading of each definition and asks the machine nothing.

pub mod deadlines;
pub mod doubt;
pub mod end;
pub mod outbox;
pub mod tap;

use std::collections::BTreeMap;
use std::sync::Arc;

use escrow::saga::batch::{Changes, Loaded, NewDoubt, SavedOrder};
use escrow::saga::definition::Saga;
use escrow::saga::journal::Entry;
use escrow::saga::order::{Life, Order, OrderKey, StepState};
use escrow::saga::time::Moment;

use crate::model::Model;

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    Lost,
    Doubled,
    Early,
    False,
    NeverFired,
    Outbox,
    Trail,
    Watermark,
    Unarmed,
    Unproven,
    Observe,
    Brake,
    /// A panic.
    Broke,
}

/// One broken promise.
#[derive(Clone, Debug)]
pub struct Complaint {
    pub promise: Promise,
    pub what: String,
}

/// One commit, as the store saw it.
pub struct Commit<'a> {
    pub at: Moment,
    pub loaded: &'a Loaded,
    pub changes: &'a Changes,
}

/// One entry of one order, with the order before and after.
pub struct Turned<'a> {
    pub key: &'a OrderKey,
    pub saga: &'a Saga,
    pub entry: &'a Entry,
    pub steps_before: &'a [StepState],
    pub life_before: &'a Life,
    pub steps: &'a [StepState],
    pub life: &'a Life,
    pub created_at: Moment,
}

/// All that the judge remembers.
pub struct Judge {
    pub sagas: BTreeMap<String, Arc<Saga>>,
    pub complaints: Vec<Complaint>,
    pub orders: BTreeMap<OrderKey, Order>,
    pub rows: outbox::Rows,
    pub clocks: deadlines::Clocks,
    pub doubts: doubt::Doubts,
    pub brakes: doubt::Brakes,
    pub watermark: Option<Moment>,
    /// When the first batch of the tap was committed: no order can miss what was lost before.
    pub began: Option<Moment>,
    pub entries: u64,
    /// How often each reason to be unproven held an order back.
    pub held_back: BTreeMap<String, u64>,
    /// How often an order went on because its last doubt was gone.
    pub doubts_gone: u64,
}

impl Judge {
    pub fn new(sagas: impl IntoIterator<Item = Arc<Saga>>) -> Self {
        Self {
            sagas: sagas.into_iter().map(|saga| (saga.name.clone(), saga)).collect(),
            complaints: Vec::new(),
            orders: BTreeMap::new(),
            rows: outbox::Rows::default(),
            clocks: deadlines::Clocks::default(),
            doubts: doubt::Doubts::default(),
            brakes: doubt::Brakes::default(),
            watermark: None,
            began: None,
            entries: 0,
            held_back: BTreeMap::new(),
            doubts_gone: 0,
        }
    }

    pub fn complain(&mut self, promise: Promise, what: String) {
        self.complaints.push(Complaint { promise, what });
    }

    /// A batch was committed.
    pub fn committed(&mut self, model: &mut Model, commit: &Commit<'_>) {
        self.outcomes(model, commit);
        self.rows_written(commit);
        for saved in &commit.changes.orders {
            self.order_saved(model, commit, saved);
        }
        self.rows_settled(commit);
        for saved in &commit.changes.orders {
            self.is_armed(&saved.order);
        }
        self.watermark_moved(model, commit);
        self.doubts_recorded(&commit.changes.doubts, commit.at);
        self.doubts_resolved(commit);
    }

    fn order_saved(&mut self, model: &Model, commit: &Commit<'_>, saved: &SavedOrder) {
        let key = &saved.order.key;
        let Some(saga) = self.sagas.get(&key.saga).cloned() else { return };
        let began = || Order::begin(key.clone(), saga.version, saga.steps.len(), commit.at);
        let before = commit.loaded.orders.get(key).cloned().unwrap_or_else(began);
        let known = self.orders.get(key).map_or(0, |order| order.sequence);
        if before.sequence != known {
            self.complain(Promise::Trail, format!("{key} was decided on entry {}, and had {known}", before.sequence));
        }
        let (mut steps, mut life) = (before.steps.clone(), before.life.clone());
        for sealed in &saved.entries {
            let (steps_before, life_before) = (steps.clone(), life.clone());
            for change in &sealed.entry.body.steps {
                steps[change.step] = change.now.clone();
            }
            if let Some(change) = &sealed.entry.body.life {
                life = change.now.clone();
            }
            let turned = Turned {
                key,
                saga: &saga,
                entry: &sealed.entry,
                steps_before: &steps_before,
                life_before: &life_before,
                steps: &steps,
                life: &life,
                created_at: saved.order.created_at,
            };
            self.entries += 1;
            self.entry_in_time(model, &turned);
            self.entry_with_its_messages(commit, &turned);
            self.entry_in_doubt(model, commit, &turned);
            self.entry_under_the_brake(&turned);
        }
        if steps != saved.order.steps || life != saved.order.life {
            self.complain(Promise::Trail, format!("the entries of {key} do not fold to what was saved"));
        }
        self.orders.insert(key.clone(), saved.order.clone());
    }

    /// DESIGN 3: an order that has not ended has an armed deadline, an unsent message, or is stuck.
    fn is_armed(&mut self, order: &Order) {
        let is_stuck = !order.life.needs.is_empty();
        let held = order.life.status.is_ended() || is_stuck || order.next_due().is_some();
        if !held && !self.rows.has_pending(&order.key) {
            self.complain(Promise::Unarmed, format!("{} waits for nothing, and nothing will wake it", order.key));
        }
    }

    pub fn doubts_recorded(&mut self, doubts: &[NewDoubt], at: Moment) {
        self.doubts.record(doubts, at);
    }
}
