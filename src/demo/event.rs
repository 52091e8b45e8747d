//! What the services say to each other: `{"event_type": "OrderPlaced", "data": {"order_id": "…", …}}`.

use serde_json::{Map, Value, json};

/// One event as a service reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub order_id: String,
    pub data: Map<String, Value>,
}

impl Event {
    /// An event about an order.
    pub fn new(name: &str, order_id: &str, mut data: Map<String, Value>) -> Self {
        data.insert("order_id".into(), order_id.into());
        Self { name: name.into(), order_id: order_id.into(), data }
    }

    /// Reads a body; `None` if it is not one of the services' events.
    pub fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let name = body.get("event_type")?.as_str()?.to_owned();
        let data = body.get("data")?.as_object()?.clone();
        let order_id = data.get("order_id")?.as_str()?.to_owned();
        Some(Self { name, order_id, data })
    }

    /// The body to publish.
    pub fn body(&self) -> Vec<u8> {
        json!({ "event_type": self.name, "data": self.data }).to_string().into_bytes()
    }

    /// The number in the order's id, which the script of faults goes by.
    pub fn number(&self) -> u64 {
        self.order_id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let event = Event::new("OrderPlaced", "o-a1-00017", Map::new());
        assert_eq!(Event::read(&event.body()), Some(event.clone()));
        assert_eq!(event.number(), 17);
        assert_eq!(Event::read(b"{\"event_type\":\"OrderPlaced\",\"data\":{}}"), None);
        assert_eq!(Event::read(b"no json"), None);
    }
}
