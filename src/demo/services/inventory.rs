//! The inventory service: sets goods aside, and puts them back when asked. The one that goes down.
//!
//! It hears of orders through an anonymous queue, as many services do: what is ordered while it is down it never hears of,
//! unless somebody says it again. What it is asked for itself comes through a queue that waits for it.

use std::sync::Arc;

use serde_json::{Map, json};

use super::{Answer, Remembered, Service, anonymous, order};
use crate::bus::services::Inbox;
use crate::demo::event::Event;
use crate::demo::faults::{Copies, Fate, Faults};

/// Where it publishes.
pub const EXCHANGE: &str = "inventory_exchange";
/// What waits for it while it is down.
const QUEUE: &str = "demo.inventory";
const SHELVES: u64 = 40;

/// Keeps goods.
pub struct Inventory {
    faults: Arc<Faults>,
    /// Orders seen: one order takes one parcel off the shelf.
    seen: Remembered,
}

impl Inventory {
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, seen: Remembered::default() }
    }

    fn reserve(&mut self, event: &Event) -> Option<Answer> {
        if !self.seen.insert(&event.order_id) {
            return None;
        }
        let order = event.number();
        let shelf = 1 + self.faults.rng(&format!("shelf {order}")).below(SHELVES);
        let event = Event::new("InventoryReserved", &event.order_id, Map::from_iter([("shelf".into(), json!(shelf))]));
        Some(Answer { event, fate: self.faults.fate("inventory", order) })
    }

    /// Nothing set aside is nothing to put back, which is as good: it says so each time it is asked. An order it has not heard
    /// of is marked as seen, so that nothing is set aside for it afterwards.
    fn release(&mut self, event: &Event) -> Answer {
        self.seen.insert(&event.order_id);
        let work = self.faults.fate("release", event.number());
        let event = Event::new("InventoryReleased", &event.order_id, Map::new());
        Answer { event, fate: Fate { copies: Copies::Once, is_lost: false, ..work } }
    }
}

impl Service for Inventory {
    fn name(&self) -> &'static str {
        "inventory"
    }

    fn exchange(&self) -> &'static str {
        EXCHANGE
    }

    fn inboxes(&self) -> Vec<Inbox> {
        let asked = Inbox { exchanges: vec![EXCHANGE.into()], queue: Some(QUEUE.into()) };
        vec![anonymous(&[order::EXCHANGE]), asked]
    }

    fn goes_down(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event) -> Option<Answer> {
        match event.name.as_str() {
            "OrderPlaced" => self.reserve(event),
            "ReleaseInventory" => Some(self.release(event)),
            _ => None,
        }
    }
}
