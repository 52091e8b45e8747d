//! The payment service: charges each order once, and pays back when asked.

use std::sync::Arc;

use serde_json::{Map, json};

use super::{Answer, Remembered, Service, anonymous, order};
use crate::bus::services::Inbox;
use crate::demo::event::Event;
use crate::demo::faults::{Copies, Fate, Faults};

/// Where it publishes.
pub const EXCHANGE: &str = "payment_exchange";

/// Charges cards.
pub struct Payment {
    faults: Arc<Faults>,
    /// Orders seen: whoever orders once pays once.
    seen: Remembered,
    /// Orders whose refund was asked for before.
    asked: Remembered,
}

impl Payment {
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, seen: Remembered::default(), asked: Remembered::default() }
    }

    fn charge(&mut self, event: &Event) -> Option<Answer> {
        if !self.seen.insert(&event.order_id) {
            return None;
        }
        let order = event.number();
        let (name, key, value) = if self.faults.is_declined(order) {
            ("PaymentDeclined", "reason", json!("card_declined"))
        } else {
            ("PaymentProcessed", "amount", event.data.get("amount").cloned().unwrap_or_default())
        };
        let data = Map::from_iter([(key.to_owned(), value)]);
        let event = Event::new(name, &event.order_id, data);
        Some(Answer { event, fate: self.faults.fate("payment", order) })
    }

    /// Paying back twice is paying back once, so it says so again when it is asked again.
    fn refund(&mut self, event: &Event) -> Option<Answer> {
        if self.asked.insert(&event.order_id) && self.faults.is_refund_unheard(event.number()) {
            return None;
        }
        let work = self.faults.fate("refund", event.number());
        let event = Event::new("PaymentRefunded", &event.order_id, Map::new());
        Some(Answer { event, fate: Fate { copies: Copies::Once, is_lost: false, ..work } })
    }
}

impl Service for Payment {
    fn name(&self) -> &'static str {
        "payment"
    }

    fn exchange(&self) -> &'static str {
        EXCHANGE
    }

    fn inboxes(&self) -> Vec<Inbox> {
        vec![anonymous(&[order::EXCHANGE, EXCHANGE])]
    }

    fn hear(&mut self, event: &Event) -> Option<Answer> {
        match event.name.as_str() {
            "OrderPlaced" => self.charge(event),
            "RefundPayment" => self.refund(event),
            _ => None,
        }
    }
}
