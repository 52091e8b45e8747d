//! When all is quiet: every trail folds to what is stored, nothing is left behind, and every effect is there exactly once.

use std::sync::Arc;

use escrow::saga::definition::Role;
use escrow::saga::order::{Order, Status, StepStatus};
use escrow::store::Store;

use super::{Judge, Promise};
use crate::definitions::LINE;
use crate::model::Model;
use crate::world::{Shared, lock};

pub async fn ask(world: &Shared, store: &Arc<dyn Store>) {
    let mut after = None;
    loop {
        let keys = store.keys_after(after.take(), 200).await.expect("the keys can be read");
        let Some(last) = keys.last().cloned() else { break };
        for key in keys {
            let verified = store.verify(key.clone()).await.expect("the trail can be read");
            let stored = store.find_order(key.clone()).await.expect("the order can be read");
            let mut world = lock(world);
            if let Err(broken) = verified {
                world.judge.complain(Promise::Trail, format!("{key}: {broken}"));
            }
            if stored.as_ref() != world.judge.orders.get(&key) {
                world.judge.complain(Promise::Trail, format!("{key} is not stored as it was committed"));
            }
        }
        after = Some(last);
    }
    let backlog = store.outbox_backlog().await.expect("the outbox can be counted");
    let mut world = lock(world);
    if backlog.rows > 0 {
        world.judge.complain(Promise::NeverFired, format!("{} rows stay in the outbox", backlog.rows));
    }
    let world = &mut *world;
    world.judge.nothing_left(&world.model);
    world.judge.effects_once(&world.model);
}

impl Judge {
    /// Every message that came into the tap and stayed there has its outcome.
    fn nothing_left(&mut self, model: &Model) {
        let sagas: Vec<_> = self.sagas.values().cloned().collect();
        for (uid, message) in model.messages.iter().enumerate() {
            for saga in &sagas {
                if message.alive > 0 && model.is_named(saga, uid) && !model.is_handled(&saga.name, uid) {
                    let what = format!(
                        "message {uid} ({}) of {} has no outcome in {}",
                        message.event, message.order, saga.name
                    );
                    self.complain(Promise::Lost, what);
                }
            }
        }
    }

    /// What a step has seen is what was applied to it: nothing forgotten, nothing twice.
    fn effects_once(&mut self, model: &Model) {
        let orders: Vec<Order> = self.orders.values().cloned().collect();
        for order in orders.iter().filter(|order| order.key.saga != LINE) {
            let saga = Arc::clone(&self.sagas[&order.key.saga]);
            for (step, state) in order.steps.iter().enumerate() {
                if saga.steps[step].count.is_some() || order.life.status == Status::Closed {
                    continue;
                }
                let closes = |event: &str| {
                    let roles = saga.roles.get(event).into_iter().flatten();
                    roles.into_iter().any(|role| role.role == Role::Done(step))
                };
                let applied = model.applied.iter().filter(|((name, uid), (id, _))| {
                    *name == saga.name && *id == order.key.order_id && closes(&model.messages[*uid].event)
                });
                let applied = u32::try_from(applied.count()).unwrap_or(u32::MAX);
                if state.undo.dones != applied {
                    let what = format!(
                        "{} {}: {applied} done events were applied, and {} count",
                        order.key, saga.steps[step].name, state.undo.dones
                    );
                    self.complain(if applied > state.undo.dones { Promise::Lost } else { Promise::Doubled }, what);
                }
            }
            self.is_undone(order);
        }
    }

    /// An order that came to its end on its way back has nothing left to undo.
    fn is_undone(&mut self, order: &Order) {
        if !matches!(order.life.status, Status::Compensated | Status::Cancelled | Status::Failed) {
            return;
        }
        let saga = Arc::clone(&self.sagas[&order.key.saga]);
        for (step, state) in order.steps.iter().enumerate() {
            let to_undo = saga.steps[step].compensation.is_some() && !state.undo.ignored;
            if to_undo && state.status == StepStatus::Done && state.undo.dones > state.undo.covered {
                let what = format!(
                    "{} ended as {}, and {} is not undone",
                    order.key,
                    order.life.status.word(),
                    saga.steps[step].name
                );
                self.complain(Promise::Lost, what);
            }
        }
    }
}
