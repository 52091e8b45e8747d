//! What people do: they act on orders, replay and drop what is in quarantine, change the mode, reset the brake, bring a new version
//! of a definition, and move orders to it.

use escrow::saga::definition::Mode;
use escrow::saga::input::{Action, Ask};
use escrow::saga::migration::{Migration, MigrationOutcome};
use escrow::saga::order::OrderKey;
use escrow::saga::time::Span;
use escrow::store::{OrderFilter, Page, QuarantineFilter, QuarantineRow};

use escrow::worker::commands::Commands;

use crate::check::tap::uid_of;
use crate::pace::{Actor, undisturbed};
use crate::schedule::{Run, definition};
use crate::world::{Act, World, lock};

const WHO: &str = "ann";
const WHY: &str = "she asked";

impl Run {
    /// A person asks something, by chance.
    pub async fn operate(&mut self) {
        let running: Vec<usize> = (0..self.replicas.len()).filter(|at| self.replicas[*at].is_some()).collect();
        if running.is_empty() {
            return;
        }
        let (replica, kind) = {
            let mut world = self.world();
            world.count("commands");
            (running[world.chance.below(running.len())], world.chance.below(20))
        };
        match kind {
            0..2 => self.quarantine().await,
            2..6 => self.of_saga(replica),
            _ => self.act(replica),
        }
    }

    fn act(&mut self, replica: usize) {
        let Some(commands) = self.replicas[replica].as_ref().map(|it| it.commands.clone()) else { return };
        let Some(ask) = ask(&mut self.world()) else { return };
        self.asks.push(Actor::new("command", replica, async move {
            let _ = commands.act(ask).await;
        }));
    }

    pub async fn quarantine(&mut self) {
        let Some((replica, commands)) = self.anybody() else { return };
        let rows = undisturbed(self.inner.quarantine(QuarantineFilter::default(), Page { limit: 20, cursor: None }));
        let Some(row) = rows.await.ok().and_then(|rows| rows.items.into_iter().next()) else { return };
        let (world, drops) = (self.world.clone(), self.world().chance.percent(40));
        let order = order_of(&self.world(), &row);
        self.asks.push(Actor::new("quarantine", replica, async move {
            let (who, why) = (WHO.to_owned(), WHY.to_owned());
            if drops {
                let _ = commands.drop_quarantined(row.id, who, why).await;
            } else if commands.replay(row.id, order, who, why).await.is_ok() {
                lock(&world).count("replayed from quarantine");
            }
        }));
    }

    /// About a saga as a whole: its mode, or its brake.
    fn of_saga(&mut self, replica: usize) {
        let Some(store) = self.replicas[replica].as_ref().map(|it| it.store.clone()) else { return };
        let (saga, mode) = {
            let mut world = self.world();
            let flows = world.flows.len();
            let held = (0..flows).find(|at| world.judge.holds(&world.flows[*at].saga.name));
            if let Some(at) = held.filter(|_| world.chance.percent(60)) {
                (world.flows[at].saga.name.clone(), None)
            } else {
                let at = world.chance.below(flows);
                let mode = world.chance.pick(&[None, None, Some(Mode::Observe), Some(Mode::Act), Some(Mode::Act)]);
                (world.flows[at].saga.name.clone(), mode)
            }
        };
        self.world().trace.note(format_args!("{saga} mode {mode:?}"));
        let world = self.world.clone();
        self.asks.push(Actor::new("saga", replica, async move {
            let (who, why) = (WHO.to_owned(), WHY.to_owned());
            match mode {
                Some(mode) => {
                    if store.set_mode(saga, mode, who, why).await.is_ok() {
                        lock(&world).count("mode set");
                    }
                }
                None => {
                    if store.reset_brake(saga, who, why).await.is_ok_and(|brake| brake.latched_at.is_some()) {
                        lock(&world).count("latched brake reset");
                    }
                }
            }
        }));
    }

    /// The next version of a saga is stored, as a replica that finds a new file does.
    pub async fn raise(&mut self) {
        let definition = {
            let mut world = self.world();
            let flows = world.flows.len();
            let at = world.chance.below(flows);
            let flow = &mut world.flows[at];
            let Some((saga, text)) = flow.next.take() else { return };
            flow.is_raised = true;
            world.trace.note(format_args!("version 2 of {}", saga.name));
            world.count("new versions");
            for _ in 0..3 {
                world.after_ms(3_000, 40_000, Act::Move);
            }
            definition(&saga, &text)
        };
        undisturbed(self.inner.save_definition(definition)).await.expect("a definition can be stored");
    }

    /// The first replica that runs.
    fn anybody(&self) -> Option<(usize, Commands)> {
        self.replicas.iter().enumerate().find_map(|(at, it)| Some((at, it.as_ref()?.commands.clone())))
    }

    /// Open orders are moved to the next version, or it is said what that would do.
    pub fn move_orders(&mut self) {
        let Some((replica, commands)) = self.anybody() else { return };
        let (saga, rearm, dry_run) = {
            let mut world = self.world();
            let raised: Vec<String> =
                world.flows.iter().filter(|flow| flow.is_raised).map(|flow| flow.saga.name.clone()).collect();
            if raised.is_empty() {
                return;
            }
            let saga = raised[world.chance.below(raised.len())].clone();
            (saga, world.chance.percent(30), world.chance.percent(20))
        };
        let (actor, reason) = (WHO.to_owned(), WHY.to_owned());
        let migration = Migration { from: 1, to: 2, rearm, dry_run, actor, reason };
        let world = self.world.clone();
        self.asks.push(Actor::new("migrate", replica, async move {
            let page = Page { limit: 50, cursor: None };
            let Ok(moved) = commands.migrate(saga, migration, OrderFilter::default(), page).await else { return };
            for answer in moved.items {
                let what = match answer.outcome {
                    MigrationOutcome::Moved { .. } if dry_run => "moves rehearsed",
                    MigrationOutcome::Moved { .. } => "orders moved",
                    MigrationOutcome::Already => "moved before",
                    MigrationOutcome::Refused(_) => "moves refused",
                };
                lock(&world).count(what);
            }
        }));
    }
}

/// Whose message it is, where the message itself does not say so and a person can know.
fn order_of(world: &World, row: &QuarantineRow) -> Option<String> {
    let message = &world.model.messages[uid_of(&row.envelope)?];
    (message.malformed && !message.garbage).then(|| message.order.clone())
}

fn ask(world: &mut World) -> Option<Ask> {
    let keys: Vec<OrderKey> = world.judge.orders.keys().cloned().collect();
    if keys.is_empty() {
        return None;
    }
    let stuck: Vec<OrderKey> = world
        .judge
        .orders
        .values()
        .filter(|order| !order.life.needs.is_empty())
        .map(|order| order.key.clone())
        .collect();
    let from = if stuck.is_empty() || world.chance.percent(30) { &keys } else { &stuck };
    let key = from[world.chance.below(from.len())].clone();
    let by = Span::from_secs(world.chance.between(1, 60));
    let action = world.chance.pick(&[
        Action::Retry,
        Action::Retry,
        Action::Skip,
        Action::Extend(by),
        Action::Compensate,
        Action::Release,
        Action::Release,
        Action::Drop,
        Action::Close,
        Action::Note,
    ]);
    let steps = world.judge.sagas[&key.saga].step_names();
    let step = world.chance.percent(30).then(|| steps[world.chance.below(steps.len())].clone());
    world.trace.note(format_args!("ask {key} {action:?} {step:?}"));
    let (actor, reason) = (WHO.to_owned(), WHY.to_owned());
    Some(Ask { key, action, step, actor, reason, idempotency_key: None })
}
