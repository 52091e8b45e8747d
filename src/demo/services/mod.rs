//! Four simulated services. They talk to each other over a bus and know nothing of Escrow.
//!
//! ```text
//!   order ──OrderPlaced──┬─▶ payment ────PaymentProcessed──┬─▶ notification ──NotificationSent──▶
//!                        └─▶ inventory ──InventoryReserved─┘
//! ```
//!
//! Each is a small state machine from what it hears to what it says; the loops here open its inboxes, let its answers take
//! their time, and take it down when the script says so. All of them tolerate repeats: what was handled is not handled again.

pub mod inventory;
pub mod notification;
pub mod order;
pub mod payment;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::event::Event;
use super::faults::{self, Copies, Fate, Faults};
use crate::bus::services::{Inbox, Said, ServiceLink};
use crate::bus::{Batch, BusError, Item, Receipt, Source};
use order::OrderIds;

/// Where services publish.
pub const EXCHANGES: [&str; 4] = [order::EXCHANGE, payment::EXCHANGE, inventory::EXCHANGE, notification::EXCHANGE];

/// A service remembers this many orders: an hour at the usual rate. One that is named again later is new to it.
const REMEMBERED_MAX: usize = 20_000;
/// Between attempts to open an inbox.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// A simulated service.
pub trait Service: Send {
    /// The word it is known by.
    fn name(&self) -> &'static str;

    /// Where it publishes.
    fn exchange(&self) -> &'static str;

    /// Where it hears from.
    fn inboxes(&self) -> Vec<Inbox>;

    /// Whether the script's outages concern it.
    fn goes_down(&self) -> bool {
        false
    }

    /// Handles one event: what it answers, if anything.
    fn hear(&mut self, event: &Event) -> Option<Answer>;
}

/// What a service will say, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub event: Event,
    pub fate: Fate,
}

/// Order ids a service has seen, the last ones of them.
#[derive(Default)]
pub struct Remembered {
    ids: HashSet<String>,
    by_age: VecDeque<String>,
}

impl Remembered {
    /// Whether it is new; remembers it.
    fn insert(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.by_age.push_back(id.to_owned());
        if self.by_age.len() > REMEMBERED_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

fn anonymous(exchanges: &[&str]) -> Inbox {
    Inbox { exchanges: exchanges.iter().map(ToString::to_string).collect(), queue: None }
}

/// What all services of one run share.
pub struct Company {
    link: Arc<dyn ServiceLink>,
    faults: Arc<Faults>,
    ids: OrderIds,
    /// When they opened for business.
    began: OnceLock<Instant>,
    placed: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Company {
    /// Declares the exchanges, as the services do when they are deployed. Nobody works yet.
    ///
    /// # Errors
    /// An exchange is there with another shape.
    pub async fn found(link: Arc<dyn ServiceLink>, faults: Faults, ids: OrderIds) -> Result<Arc<Self>, BusError> {
        link.declare(EXCHANGES.iter().map(ToString::to_string).collect()).await?;
        Ok(Arc::new(Self {
            link,
            faults: Arc::new(faults),
            ids,
            began: OnceLock::new(),
            placed: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Opens for business: every service listens before the first of `rate` orders a second is placed.
    pub async fn open(self: &Arc<Self>, rate: f64) {
        let faults = || Arc::clone(&self.faults);
        let services: [Box<dyn Service>; 3] = [
            Box::new(payment::Payment::new(faults())),
            Box::new(inventory::Inventory::new(faults())),
            Box::new(notification::Notification::new(faults())),
        ];
        self.began.get_or_init(Instant::now);
        for service in services {
            let sources = self.open_inboxes(service.name(), service.inboxes()).await;
            self.tasks.spawn(Arc::clone(self).run(service, sources));
        }
        self.tasks.spawn(Arc::clone(self).place_orders(rate));
    }

    /// Orders placed so far.
    pub fn placed(&self) -> u64 {
        self.placed.load(Ordering::Relaxed)
    }

    /// The id of the order with this number, from 1.
    pub fn order_id(&self, number: u64) -> String {
        self.ids.id(number)
    }

    /// Since they opened for business.
    pub fn elapsed(&self) -> Duration {
        self.began.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Whether inventory is there now.
    pub fn inventory(&self) -> faults::Inventory {
        self.faults.inventory(self.elapsed())
    }

    /// Everybody goes home; what was not said yet stays unsaid.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.link.close().await;
    }

    async fn place_orders(self: Arc<Self>, rate: f64) {
        let between = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let mut next_at = Instant::now();
        for number in 1.. {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep_until(next_at) => {}
            }
            if !self.faults.takes_orders(self.elapsed()) {
                return;
            }
            let event = order::placed(&self.ids, &self.faults, number);
            // Counted only once it was said: this is what must be known in the end.
            if self.say(order::EXCHANGE, &event, Uuid::new_v4()).await {
                self.placed.fetch_add(1, Ordering::Relaxed);
            }
            // People do not order to a beat: somewhere between half and one and a half of the usual pause.
            let share = 500 + u32::try_from(self.faults.rng(&format!("pause {number}")).below(1_000)).unwrap_or(0);
            let pause = between.checked_mul(share).map_or(between, |pause| pause / 1_000);
            match next_at.checked_add(pause) {
                Some(at) => next_at = at,
                None => return self.stop.cancelled().await,
            }
        }
    }

    /// Publishes; says whether it was sent.
    async fn say(&self, exchange: &str, event: &Event, id: Uuid) -> bool {
        let said = Said { exchange: exchange.to_owned(), message_id: id.to_string(), body: event.body() };
        match self.link.publish(said).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, event = event.name, "a service could not publish");
                false
            }
        }
    }

    /// Opens a service's inboxes, however often it takes; none of them once everybody goes home.
    async fn open_inboxes(&self, service: &'static str, inboxes: Vec<Inbox>) -> Vec<Box<dyn Source>> {
        let mut sources = Vec::new();
        for inbox in inboxes {
            loop {
                let opened = tokio::select! {
                    () = self.stop.cancelled() => return Vec::new(),
                    opened = self.link.listen(inbox.clone()) => opened,
                };
                match opened {
                    Ok(source) => break sources.push(source),
                    Err(error) => {
                        tracing::warn!(%error, service, "an inbox cannot be opened; trying again");
                        sleep(REOPEN_AFTER).await;
                    }
                }
            }
        }
        sources
    }

    async fn run(self: Arc<Self>, mut service: Box<dyn Service>, mut sources: Vec<Box<dyn Source>>) {
        let mut answers = JoinSet::new();
        while !self.stop.is_cancelled() {
            if sources.is_empty() {
                sources = self.open_inboxes(service.name(), service.inboxes()).await;
            }
            self.work(service.as_mut(), &mut sources, &mut answers).await;
            // It stops in good order: what it has begun it still says.
            sources.clear();
            if service.goes_down()
                && let faults::Inventory::Down { back_in, .. } = self.inventory()
            {
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = sleep(back_in) => {}
                }
            }
        }
    }

    /// Works until an inbox is lost, the script takes the service down, or everybody goes home.
    async fn work(
        self: &Arc<Self>,
        service: &mut dyn Service,
        sources: &mut [Box<dyn Source>],
        answers: &mut JoinSet<()>,
    ) {
        let up_for = match self.inventory() {
            faults::Inventory::Up(left) if service.goes_down() => left,
            faults::Inventory::Down { .. } if service.goes_down() => Some(Duration::ZERO),
            faults::Inventory::Up(_) | faults::Inventory::Down { .. } => None,
        };
        let down = async {
            match up_for {
                Some(left) => sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(down);
        while !sources.is_empty() {
            while answers.try_join_next().is_some() {}
            let heard = select_all(sources.iter_mut().map(|source| source.next_batch()));
            let batch = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = &mut down => return,
                (batch, _, _) = heard => batch,
            };
            match batch {
                Ok(batch) => self.handle(service, batch, answers).await,
                Err(error) => {
                    tracing::warn!(%error, service = service.name(), "an inbox was lost; opening it again");
                    sleep(REOPEN_AFTER).await;
                    return;
                }
            }
        }
    }

    async fn handle(self: &Arc<Self>, service: &mut dyn Service, batch: Batch, answers: &mut JoinSet<()>) {
        let heard = batch.items.iter().find_map(|item| match item {
            Item::Delivery(delivery) => Event::read(&delivery.body),
            Item::Canary { .. } | Item::Gap(_) => None,
        });
        match heard.and_then(|event| service.hear(&event)) {
            Some(answer) => {
                let task = Arc::clone(self).answer(service.exchange(), answer, batch.receipt);
                answers.spawn(task);
            }
            None => acknowledge(batch.receipt).await,
        }
    }

    /// Lets an answer take its time, says it, and only then lets go of what was heard.
    async fn answer(self: Arc<Self>, exchange: &'static str, answer: Answer, receipt: Box<dyn Receipt>) {
        let Answer { event, fate } = answer;
        sleep(fate.after).await;
        let id = Uuid::new_v4();
        if !fate.is_lost {
            self.say(exchange, &event, id).await;
            match fate.copies {
                Copies::Once => {}
                Copies::SentTwice => drop(self.say(exchange, &event, id).await),
                Copies::DoneTwice => drop(self.say(exchange, &event, Uuid::new_v4()).await),
            }
        }
        acknowledge(receipt).await;
    }
}

async fn acknowledge(receipt: Box<dyn Receipt>) {
    if let Err(error) = receipt.ack(false).await {
        tracing::debug!(%error, "what was handled may come again");
    }
}
