//! All that exists outside Escrow in one seed: time, the bus, the services, the faults, and who watches over it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use escrow::clock::{Clock as _, Manual};
use escrow::saga::time::{Moment, Span};

use crate::bus::Broker;
use crate::chance::Chance;
use crate::check::Judge;
use crate::definitions::{EXCHANGES, Flow, flows};
use crate::model::{Model, Uid};
use crate::services::{Answer, Customer};

pub type Shared = Arc<Mutex<World>>;

pub const START: Moment = Moment(1_767_225_600_000_000);

/// Something that happens by itself when its time comes.
#[derive(Clone, Debug)]
pub enum Act {
    Place { line: bool },
    Trigger { order: usize, step: usize },
    Answer { order: usize, step: usize, answer: Answer },
    Cancel { order: usize },
    Publish(Uid),
    Fault(Fault),
    Operate,
}

/// What goes wrong, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    DatabaseAway,
    BusAway,
    BusBack,
    ConsumersCancelled,
    TapDeleted,
    ExchangeGone,
    ExchangeBack,
    LooksForbidden,
    LooksAllowed,
    Deaf,
    Hearing,
    QueueBusy,
    QueueFree,
    Crash(usize),
    Restart(usize),
    Pause(usize),
    Stall(usize),
}

pub struct World {
    pub clock: Arc<Manual>,
    pub chance: Chance,
    pub trace: Trace,
    pub broker: Broker,
    pub model: Model,
    pub judge: Judge,
    pub flows: Vec<Flow>,
    pub customers: Vec<Customer>,
    pub counts: BTreeMap<&'static str, u64>,
    pub away_until: Moment,
    /// The database refuses everything about this order.
    pub poison: Option<String>,
    /// This step's service hears nothing before.
    pub dead: Option<(usize, Moment)>,
    /// The tap is followed slowly, so that a backlog grows while deadlines come due.
    pub slow: bool,
    /// Nothing goes wrong any more.
    pub calm: bool,
    /// Thousandths of all calls that go wrong, for each unit of likelihood.
    pub trouble: usize,
    acts: BTreeMap<(Moment, u64), Act>,
    numbered: u64,
}

pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, keeps_lines: bool) -> Self {
        let mut chance = Chance::of(seed);
        let flows = flows(&mut chance);
        let bound = if chance.percent(35) { chance.below(12) + 3 } else { 10_000 };
        let stock = chance.percent(85);
        let trouble = chance.pick(&[0, 2, 5, 10]);
        let poison = chance.percent(8).then(|| format!("o{}", chance.below(6)));
        let until = START + Span::from_secs(chance.between(20, 120));
        let dead = chance.percent(40).then(|| (chance.below(4) + 1, until));
        let slow = chance.percent(30);
        let mut world = Self {
            clock: Arc::new(Manual::at(START)),
            trace: Trace::new(keeps_lines),
            broker: Broker::new(bound, &[(EXCHANGES[0], true), (EXCHANGES[1], stock)]),
            model: Model::default(),
            judge: Judge::new(flows.iter().map(|flow| Arc::clone(&flow.saga))),
            flows,
            customers: Vec::new(),
            counts: BTreeMap::new(),
            away_until: START,
            poison,
            dead,
            slow,
            calm: false,
            trouble,
            acts: BTreeMap::new(),
            numbered: 0,
            chance,
        };
        if world.chance.percent(25) {
            world.after_ms(0, 30_000, Act::Fault(Fault::Deaf));
        }
        if !stock {
            let at = world.chance.between(5, 60);
            world.after(Span::from_secs(at), Act::Fault(Fault::ExchangeBack));
        }
        world
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Whether a call goes wrong now that goes wrong as often as others times `weight`.
    pub fn chaos(&mut self, weight: usize) -> bool {
        !self.calm && self.trouble > 0 && self.chance.per_mille(weight * self.trouble)
    }

    pub fn after(&mut self, span: Span, act: Act) {
        self.numbered += 1;
        self.acts.insert((self.now() + span, self.numbered), act);
    }

    pub fn after_ms(&mut self, first: i64, last: i64, act: Act) {
        let millis = self.chance.between(first, last);
        self.after(Span::from_millis(millis), act);
    }

    pub fn next_act(&self) -> Option<Moment> {
        self.acts.keys().next().map(|(at, _)| *at)
    }

    pub fn pop_due(&mut self) -> Option<Act> {
        let now = self.now();
        let first = self.acts.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    pub fn has_acts(&self) -> bool {
        !self.acts.is_empty()
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// What happened, in lines without a hash, a salt or a random id: the same for the same seed.
pub struct Trace {
    hash: u64,
    pub lines: Option<Vec<String>>,
    pub length: u64,
}

impl Trace {
    fn new(keeps_lines: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: keeps_lines.then(Vec::new), length: 0 }
    }

    pub fn note(&mut self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.length += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}
