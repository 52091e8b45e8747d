//! What Escrow writes for each of the four events, read back from its tables: the reference then writes the same rows and bytes.

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row as _};

use super::load;
use crate::support::escrow::Escrow;
use crate::support::services::Service;

/// The rows behind one event of the order [`ID`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rows {
    /// The order's row once this event is applied.
    pub order: OrderRow,
    pub journal: JournalRow,
    pub payload: PayloadRow,
}

/// The order whose rows are the sample; its name stands in them, and is as long as every other's.
pub const ID: u64 = 99_999_999;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderRow {
    pub version: i64,
    pub status: String,
    pub state: String,
    pub seen: Vec<u8>,
    pub attributes: String,
    /// From the moment of the write, in microseconds.
    pub next_due: Option<i64>,
    pub waiting: String,
    pub waiting_since: Option<i64>,
    pub sequence: i64,
    pub head: Vec<u8>,
    pub duplicates: i64,
    pub earlier: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalRow {
    pub kind: String,
    pub actor: Option<String>,
    pub body: String,
    pub hash: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PayloadRow {
    pub salt: Vec<u8>,
    pub body: Option<Vec<u8>>,
    pub body_hash: Vec<u8>,
    pub envelope: String,
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
}

/// Sends the four events of one order to a running Escrow and reads what it wrote, event by event.
pub async fn take(escrow: &Escrow, amqp: &str, conn: &mut PgConnection) -> Vec<Rows> {
    let service = Service::connect(amqp).await;
    let order_id = load::order_id(ID);
    let mut taken = Vec::new();
    for step in 0..load::EVENTS.len() {
        let properties = lapin::BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(uuid::Uuid::new_v4().to_string().into());
        let body = load::body(&order_id, step);
        let options = lapin::options::BasicPublishOptions::default();
        let sent =
            service.channel.basic_publish(load::EXCHANGE.into(), "".into(), options, body.as_bytes(), properties);
        sent.await.unwrap();
        let sequence = step + 1;
        escrow.order_when(&order_id, "has come this far", |it| it["sequence"].as_u64() >= Some(sequence as u64)).await;
        let sequence = i64::try_from(sequence).unwrap();
        let order = "SELECT version, status, state, seen, attributes, next_due - updated_at AS next_due, waiting, \
             waiting_since - updated_at AS waiting_since, sequence, head, duplicates, earlier FROM orders WHERE order_id = $1";
        let journal = "SELECT kind, actor, body, hash FROM journal WHERE order_id = $1 AND sequence = $2";
        let payload = "SELECT salt, body, body_hash, envelope, exchange, routing_key, message_id FROM payloads \
             WHERE order_id = $1 AND sequence = $2";
        let order = sqlx::query(order).bind(&order_id).fetch_one(&mut *conn).await.unwrap();
        let journal = sqlx::query(journal).bind(&order_id).bind(sequence).fetch_one(&mut *conn).await.unwrap();
        let payload = sqlx::query(payload).bind(&order_id).bind(sequence).fetch_one(&mut *conn).await.unwrap();
        taken.push(Rows {
            order: OrderRow {
                version: order.get(0),
                status: order.get(1),
                state: order.get(2),
                seen: order.get(3),
                attributes: order.get(4),
                next_due: order.get(5),
                waiting: order.get(6),
                waiting_since: order.get(7),
                sequence: order.get(8),
                head: order.get(9),
                duplicates: order.get(10),
                earlier: order.get(11),
            },
            journal: JournalRow {
                kind: journal.get(0),
                actor: journal.get(1),
                body: journal.get(2),
                hash: journal.get(3),
            },
            payload: PayloadRow {
                salt: payload.get(0),
                body: payload.get(1),
                body_hash: payload.get(2),
                envelope: payload.get(3),
                exchange: payload.get(4),
                routing_key: payload.get(5),
                message_id: payload.get(6),
            },
        });
    }
    taken
}
