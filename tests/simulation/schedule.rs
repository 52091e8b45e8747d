//! One seed from beginning to end: chaos for a few minutes, then calm until nothing is left to happen, then the last questions.

use std::sync::Arc;

use escrow::clock::Clock;
use escrow::saga::input::{Action, Ask};
use escrow::saga::order::OrderKey;
use escrow::saga::time::{Moment, Span};
use escrow::store::{NewDefinition, Page, QuarantineFilter, Store, sqlite};

use crate::check::{Complaint, Promise};
use crate::pace::{Actor, Moved, undisturbed};
use crate::replica::Replica;
use crate::services;
use crate::world::{Act, Fault, START, Shared, World, lock};

/// Longest calm: everything a definition or a person can ask for is over by then.
const CALM_MAX: Span = Span::from_secs(6 * 3600);

/// A seed that moves this often and comes to no end is stuck in itself.
const MOVES_MAX: u64 = 300_000;

/// What a seed came to.
pub struct Outcome {
    pub seed: u64,
    pub complaints: Vec<Complaint>,
    pub trace: u64,
    pub lines: Vec<String>,
    pub counts: std::collections::BTreeMap<String, u64>,
    pub simulated: Span,
}

impl Outcome {
    /// The program, or the simulator, panicked.
    pub fn broken(seed: u64, what: String) -> Self {
        Self {
            seed,
            complaints: vec![Complaint { promise: Promise::Broke, what }],
            trace: 0,
            lines: Vec::new(),
            counts: std::collections::BTreeMap::new(),
            simulated: Span(0),
        }
    }
}

struct Run {
    world: Shared,
    inner: Arc<dyn Store>,
    replicas: Vec<Option<Replica>>,
    /// What people ask, under way.
    asks: Vec<Actor>,
    moves: u64,
}

pub async fn run(seed: u64, keeps_lines: bool) -> Outcome {
    let world = World::new(seed, keeps_lines);
    let clock = Arc::clone(&world.clock);
    let world: Shared = Arc::new(std::sync::Mutex::new(world));
    let inner = sqlite::connect_with_clock("sqlite::memory:", clock as Arc<dyn Clock>).await;
    let inner: Arc<dyn Store> = Arc::new(inner.expect("a database in memory can be opened"));
    propose(&world, &inner).await;
    let count = if lock(&world).chance.percent(60) { 2 } else { 1 };
    let mut replicas = Vec::new();
    for replica in 0..count {
        replicas.push(Some(Replica::start_undisturbed(&world, &inner, replica).await));
    }
    let mut run = Run { world, inner, replicas, asks: Vec::new(), moves: 0 };
    run.chaos().await;
    run.calm().await;
    run.outcome(seed).await
}

async fn propose(world: &Shared, inner: &Arc<dyn Store>) {
    let definitions: Vec<NewDefinition> = lock(world)
        .flows
        .iter()
        .map(|flow| NewDefinition {
            saga: flow.saga.name.clone(),
            version: flow.saga.version,
            text: flow.text.clone(),
            fingerprint: flow.saga.fingerprint,
            mode: flow.saga.mode,
        })
        .collect();
    for definition in definitions {
        inner.save_definition(definition).await.expect("a definition can be stored");
    }
}

impl Run {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        lock(&self.world)
    }

    fn is_over(&self) -> bool {
        self.moves > MOVES_MAX || !self.world().judge.complaints.is_empty()
    }

    async fn chaos(&mut self) {
        let length = {
            let mut world = self.world();
            let length = world.chance.between(40, 130) * 1000;
            services::open_shop(&mut world, length);
            plan_faults(&mut world, length, self.replicas.len());
            Span::from_millis(length)
        };
        let end = START + length;
        while self.world().now() < end && !self.is_over() {
            self.move_on(3_000).await;
        }
    }

    async fn calm(&mut self) {
        heal(&mut self.world());
        for replica in 0..self.replicas.len() {
            if let Some(replica) = &mut self.replicas[replica] {
                replica.paused_until = Moment(0);
                replica.actors.iter_mut().for_each(|actor| actor.stalled_until = Moment(0));
            }
            self.restart(replica).await;
        }
        let end = self.world().now() + CALM_MAX;
        while !self.is_over() {
            if self.is_quiet() {
                return;
            }
            if self.world().now() > end {
                let mut world = self.world();
                let what = left(&world);
                return world.judge.complain(Promise::NeverFired, what);
            }
            self.move_on(60_000).await;
        }
    }

    /// Nothing is left to happen.
    fn is_quiet(&self) -> bool {
        let world = self.world();
        !world.has_acts()
            && self.asks.is_empty()
            && world.broker.ready.is_empty()
            && world.broker.gaps.is_empty()
            && world.broker.consumers.iter().all(|it| it.held.is_empty())
            && world.judge.rows.pending().next().is_none()
            && world.judge.orders.values().all(|order| order.next_due().is_none())
    }

    /// Something happens: an act whose time has come, a move of somebody, or time passes.
    async fn move_on(&mut self, longest_ms: i64) {
        loop {
            let Some(act) = self.world().pop_due() else { break };
            self.perform(act).await;
            self.look_at_the_bus();
        }
        let places = self.places();
        if places.is_empty() {
            return self.pass(longest_ms).await;
        }
        let (place, slips) = {
            let mut world = self.world();
            (places[world.chance.below(places.len())], world.chance.percent(3))
        };
        if slips {
            self.advance(1, 400).await;
        }
        self.moves += 1;
        let is_ingest = self.actor(place).name == "ingest";
        let waits = {
            let mut world = self.world();
            is_ingest && world.slow && !world.calm && world.chance.percent(80)
        };
        if waits {
            return self.advance(5, 500).await;
        }
        let actor = self.actor(place);
        let (name, replica) = (actor.name, actor.replica);
        match actor.step().await {
            Moved::To(point) => {
                self.look_at_the_bus();
                self.world().trace.note(format_args!("r{replica} {name} {point}"));
            }
            Moved::Waits => {}
            Moved::Ended => {
                if place.0 == usize::MAX {
                    drop(self.asks.remove(place.1));
                }
            }
        }
    }

    /// Something may be in the tap now, and the tap wakes nobody.
    fn look_at_the_bus(&mut self) {
        for replica in self.replicas.iter_mut().flatten() {
            replica.actors.iter_mut().filter(|actor| actor.name == "ingest").for_each(Actor::look_again);
        }
    }

    fn actor(&mut self, (replica, at): (usize, usize)) -> &mut Actor {
        if replica == usize::MAX {
            return &mut self.asks[at];
        }
        &mut self.replicas[replica].as_mut().expect("only replicas that run have places").actors[at]
    }

    /// Whoever may have a move.
    fn places(&self) -> Vec<(usize, usize)> {
        let now = self.world().now();
        let running = self.replicas.iter().enumerate().filter_map(|(place, it)| Some((place, it.as_ref()?)));
        let running = running.filter(|(_, replica)| replica.paused_until <= now);
        let loops = running.flat_map(|(place, replica)| {
            let actors = replica.actors.iter().enumerate().filter(|(_, actor)| actor.may_move(now));
            actors.map(move |(at, _)| (place, at))
        });
        let asks = self.asks.iter().enumerate().filter(|(_, ask)| ask.may_move(now)).map(|(at, _)| (usize::MAX, at));
        loops.chain(asks).collect()
    }

    /// Nobody has a move: time passes until somebody may have one.
    async fn pass(&mut self, longest_ms: i64) {
        let (now, next, due) = {
            let world = self.world();
            let due = world.judge.orders.values().filter_map(escrow::saga::order::Order::next_due).min();
            (world.now(), world.next_act(), due)
        };
        let busy = {
            let world = self.world();
            !world.calm || world.judge.rows.pending().next().is_some() || !world.broker.ready.is_empty()
        };
        let mut longest = if busy { longest_ms.min(3_000) } else { longest_ms };
        if let Some(next) = next.into_iter().chain(due.filter(|due| *due > now)).min() {
            longest = longest.min((next.0 - now.0) / 1000 + 1).max(1);
        }
        let shortest = if busy { longest.min(100) } else { longest };
        self.advance(shortest, longest).await;
    }

    async fn advance(&mut self, first_ms: i64, last_ms: i64) {
        let millis = {
            let mut world = self.world();
            let millis = world.chance.between(first_ms, last_ms);
            world.clock.advance(Span::from_millis(millis));
            let now = world.now();
            world.trace.note(format_args!("time {}", (now.0 - START.0) / 1000));
            millis
        };
        tokio::time::advance(std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))).await;
    }

    async fn perform(&mut self, act: Act) {
        match act {
            Act::Fault(fault) => self.fault(fault).await,
            Act::Operate => self.operate().await,
            Act::Place { .. } | Act::Trigger { .. } | Act::Answer { .. } | Act::Cancel { .. } | Act::Publish(_) => {
                services::perform(&mut self.world(), &act);
            }
        }
    }

    async fn fault(&mut self, fault: Fault) {
        self.world().trace.note(format_args!("{fault:?}"));
        match fault {
            Fault::Crash(replica) => {
                let mut world = self.world();
                world.count("fault: crash");
                world.after_ms(100, 30_000, Act::Fault(Fault::Restart(replica)));
                drop(world);
                self.replicas[replica] = None;
            }
            Fault::Restart(replica) => self.restart(replica).await,
            Fault::Pause(replica) => {
                let until = {
                    let mut world = self.world();
                    world.count("fault: replica paused");
                    let millis = world.chance.between(1_000, 90_000);
                    world.now() + Span::from_millis(millis)
                };
                if let Some(replica) = &mut self.replicas[replica] {
                    replica.paused_until = until;
                }
            }
            Fault::Stall(replica) => {
                let (until, at) = {
                    let mut world = self.world();
                    world.count("fault: one loop stalled");
                    let millis = world.chance.between(500, 40_000);
                    (world.now() + Span::from_millis(millis), world.chance.below(8))
                };
                let actors = self.replicas[replica].as_mut().map(|replica| &mut replica.actors);
                if let Some(actor) = actors.and_then(|actors| actors.get_mut(at)) {
                    actor.stalled_until = until;
                }
            }
            other => crate::weather::fault(&mut self.world(), other),
        }
    }

    async fn restart(&mut self, replica: usize) {
        if self.replicas[replica].is_none() {
            let started = Replica::start_undisturbed(&self.world, &self.inner, replica).await;
            self.replicas[replica] = Some(started);
        }
    }

    /// A person asks something, by chance.
    async fn operate(&mut self) {
        let running: Vec<usize> = (0..self.replicas.len()).filter(|at| self.replicas[*at].is_some()).collect();
        if running.is_empty() {
            return;
        }
        let (replica, kind) = {
            let mut world = self.world();
            world.count("commands");
            (running[world.chance.below(running.len())], world.chance.below(10))
        };
        let Some(commands) = self.replicas[replica].as_ref().map(|it| it.commands.clone()) else { return };
        if kind < 2 {
            let rows =
                undisturbed(self.inner.quarantine(QuarantineFilter::default(), Page { limit: 20, cursor: None }));
            let Some(row) = rows.await.ok().and_then(|rows| rows.items.into_iter().next()) else { return };
            let (who, why) = ("ann".to_owned(), "looked at it".to_owned());
            self.asks.push(Actor::new("drop", replica, async move {
                let _ = commands.drop_quarantined(row.id, who, why).await;
            }));
            return;
        }
        let Some(ask) = ask(&mut self.world()) else { return };
        self.asks.push(Actor::new("command", replica, async move {
            let _ = commands.act(ask).await;
        }));
    }

    async fn outcome(self, seed: u64) -> Outcome {
        if self.moves > MOVES_MAX {
            self.world().judge.complain(Promise::NeverFired, format!("no end after {MOVES_MAX} moves"));
        }
        if self.world().judge.complaints.is_empty() {
            undisturbed(crate::check::end::ask(&self.world, &self.inner)).await;
        }
        let mut world = self.world();
        let mut counts: std::collections::BTreeMap<String, u64> =
            world.counts.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        counts.insert("moves".to_owned(), self.moves);
        counts.insert("journal entries".to_owned(), world.judge.entries);
        counts.insert("deadlines fired".to_owned(), world.judge.clocks.fired);
        counts.insert("gaps recorded".to_owned(), world.judge.doubts.gaps() as u64);
        counts.insert("went on when the last doubt was gone".to_owned(), world.judge.doubts_gone);
        for (reason, count) in &world.judge.held_back {
            counts.insert(format!("held back: {reason}"), *count);
        }
        Outcome {
            seed,
            complaints: std::mem::take(&mut world.judge.complaints),
            trace: world.trace.hash(),
            lines: world.trace.lines.take().unwrap_or_default(),
            counts,
            simulated: world.now().since(START),
        }
    }
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
    let (actor, reason) = ("ann".to_owned(), "she asked".to_owned());
    Some(Ask { key, action, step, actor, reason, idempotency_key: None })
}

fn plan_faults(world: &mut World, length_ms: i64, replicas: usize) {
    if world.trouble == 0 {
        return;
    }
    let faults = world.chance.between(0, 12);
    for _ in 0..faults {
        let replica = world.chance.below(replicas);
        let fault = match world.chance.below(21) {
            16..19 => Fault::Stall(replica),
            0..4 => Fault::Crash(replica),
            4..6 => Fault::Pause(replica),
            6..8 => Fault::DatabaseAway,
            8 => Fault::BusAway,
            9 => Fault::ConsumersCancelled,
            10 => Fault::TapDeleted,
            11 | 12 | 19 | 20 => Fault::ExchangeGone,
            13 => Fault::LooksForbidden,
            14 => Fault::Deaf,
            _ => Fault::QueueBusy,
        };
        world.after_ms(0, length_ms, Act::Fault(fault));
    }
}

fn heal(world: &mut World) {
    world.calm = true;
    world.trace.note(format_args!("calm"));
    crate::weather::heal(world);
}

fn left(world: &World) -> String {
    let now = world.now();
    let due: Vec<String> = world
        .judge
        .orders
        .values()
        .filter_map(|order| Some((order, order.next_due()?)))
        .map(|(order, due)| format!("{} is due {} s ago", order.key, (now.0 - due.0) / 1_000_000))
        .collect();
    let rows = world.judge.rows.pending().count();
    format!("it is not quiet: {due:?}, {rows} rows in the outbox, {} in the tap", world.broker.ready.len())
}
