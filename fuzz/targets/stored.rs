//! What is read back from the database: envelopes and bodies as the bus seam wrote them, or as somebody changed them.

use escrow::saga::batch::StoredPayload;
use escrow::saga::definition::{OrderIdFrom, Preset, Read};
use escrow::saga::parse::parse;
use escrow::wire::{payload_view, stored_event};
use serde_json::Value;

const SAGA: &str = "saga: order
version: 1
watch: [{ exchange: a, keys: [k] }, { exchange: a, keys: ['l.*'], read: { preset: cloudevents } }, { exchange: b, read: { preset: masstransit } }, { exchange: c, read: { preset: nservicebus } }]
read: { event: /type, order_id: /order }
steps: { placed: { done: Placed } }
";

/// A byte for the exchange, a field for the envelope's JSON; the rest is the body.
pub fn run(data: &[u8]) {
    let mut rest = data;
    let kind = super::byte(&mut rest);
    let exchange = ["a", "b", "c", ""][usize::from(kind & 3)];
    let envelope: Value = serde_json::from_slice(super::field(&mut rest)).unwrap_or(Value::Null);
    let saga = parse("saga.yaml", SAGA).expect("it can be run").saga;
    let stored = StoredPayload {
        salt: [1; 16],
        body: Some(rest.to_vec()),
        body_hash: [2; 32],
        envelope,
        exchange: exchange.to_owned(),
        routing_key: if kind & 4 == 0 { "k" } else { "l.m" }.to_owned(),
        message_id: String::new(),
    };
    if let Some(event) = stored_event(&saga, "Placed", &stored) {
        assert!(event.is_object());
    }
    for preset in [None, Some(Preset::CloudEvents), Some(Preset::MassTransit), Some(Preset::NServiceBus)] {
        let read = Read { event: Vec::new(), order_id: OrderIdFrom::Arrival, id: Vec::new(), preset };
        payload_view(&read, &stored.envelope, rest);
    }
}
