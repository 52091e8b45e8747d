//! The notification service: writes to the customer once an order is paid and its goods are set aside.

use std::sync::Arc;

use serde_json::{Map, json};

use super::{Answer, Remembered, Service, anonymous, inventory, payment};
use crate::bus::services::Inbox;
use crate::demo::event::Event;
use crate::demo::faults::Faults;

/// Where it publishes.
pub const EXCHANGE: &str = "notification_exchange";

/// Writes to customers.
pub struct Notification {
    faults: Arc<Faults>,
    paid: Remembered,
    reserved: Remembered,
    written: Remembered,
}

impl Notification {
    pub fn new(faults: Arc<Faults>) -> Self {
        let none = Remembered::default;
        Self { faults, paid: none(), reserved: none(), written: none() }
    }
}

impl Service for Notification {
    fn name(&self) -> &'static str {
        "notification"
    }

    fn exchange(&self) -> &'static str {
        EXCHANGE
    }

    fn inboxes(&self) -> Vec<Inbox> {
        vec![anonymous(&[payment::EXCHANGE, inventory::EXCHANGE])]
    }

    fn hear(&mut self, event: &Event) -> Option<Answer> {
        match event.name.as_str() {
            "PaymentProcessed" => self.paid.insert(&event.order_id),
            "InventoryReserved" => self.reserved.insert(&event.order_id),
            _ => return None,
        };
        let is_ready = self.paid.contains(&event.order_id) && self.reserved.contains(&event.order_id);
        if !is_ready || !self.written.insert(&event.order_id) {
            return None;
        }
        let fate = self.faults.fate("notification", event.number());
        let data = Map::from_iter([("channel".to_owned(), json!("email"))]);
        Some(Answer { event: Event::new("NotificationSent", &event.order_id, data), fate })
    }
}
