//! The reference: a bare loop that consumes, parses, and writes the same rows and bytes in batches as large as Escrow's, into
//! the same tables. No machine, no chain, no watermark, no duplicates: what any program must pay that stores these rows.

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicQosOptions};
use serde::Deserialize;
use sqlx::{Connection, Executor as _, PgConnection};

use super::sample::{self, Rows};
use super::work::Drain;
use super::{ground, load};
use crate::support::services::Service;

/// As large as Escrow's.
pub const BATCH: usize = 1_000;

/// As much as it reads of an event.
#[derive(Deserialize)]
pub struct Event<'a> {
    pub event_type: &'a str,
    pub data: Data<'a>,
}

#[derive(Deserialize)]
pub struct Data<'a> {
    pub order_id: &'a str,
    pub customer: &'a str,
}

/// Drains the queue until all events are acknowledged.
pub async fn drain(work: &Drain) {
    let templates = templates(work);
    let mut conn = connect(&work.database).await;
    consume(work, async |batch| write(&mut conn, &templates, batch).await).await;
    conn.close().await.unwrap();
}

/// Reads the queue in batches, and acknowledges each when it is written.
pub async fn consume(work: &Drain, mut write: impl AsyncFnMut(&[Delivery])) {
    let service = Service::connect(&work.amqp).await;
    let prefetch = u16::try_from(2 * BATCH).unwrap();
    service.channel.basic_qos(prefetch, BasicQosOptions::default()).await.unwrap();
    let mut consumer = service.consume(&work.queue).await;
    let mut done = 0;
    while done < work.events {
        let mut batch = vec![consumer.next().await.unwrap().unwrap()];
        while batch.len() < BATCH {
            let Some(delivery) = consumer.next().now_or_never() else { break };
            batch.push(delivery.unwrap().unwrap());
        }
        write(&batch).await;
        let last = batch.last().unwrap();
        last.acker.ack(BasicAckOptions { multiple: true }).await.unwrap();
        done += batch.len() as u64;
    }
}

/// The sample's rows by the name of the event.
pub fn templates(work: &Drain) -> BTreeMap<String, Rows> {
    let rows: Vec<Rows> = serde_json::from_slice(&std::fs::read(&work.sample).unwrap()).unwrap();
    load::EVENTS.iter().map(|event| (*event).to_owned()).zip(rows).collect()
}

/// A connection set as Escrow sets its own.
pub async fn connect(database: &str) -> PgConnection {
    let mut conn = ground::connect(database).await;
    conn.execute("SET plan_cache_mode = force_custom_plan; SET jit = off").await.unwrap();
    conn
}

/// One transaction for the batch: a statement for each table.
#[expect(clippy::too_many_lines, reason = "five statements with their columns, one after the other")]
pub async fn write(conn: &mut PgConnection, templates: &BTreeMap<String, Rows>, batch: &[Delivery]) {
    let sample_id = load::order_id(sample::ID);
    let events: Vec<(Event<'_>, &Delivery)> =
        batch.iter().map(|delivery| (serde_json::from_slice(&delivery.data).unwrap(), delivery)).collect();
    let mut transaction = Connection::begin(conn).await.unwrap();
    let conn = &mut *transaction;

    let ids: Vec<&str> = events.iter().map(|(event, _)| event.data.order_id).collect();
    let locked = "SELECT o.order_id, o.state, o.seen, o.attributes, o.head FROM unnest($1::text[]) AS n (order_id) \
         JOIN orders AS o ON o.order_id = n.order_id AND o.saga = 'order' ORDER BY o.order_id FOR UPDATE OF o";
    sqlx::query(locked).bind(&ids).fetch_all(&mut *conn).await.unwrap();
    let now: i64 = sqlx::query_scalar("SELECT escrow_now()").fetch_one(&mut *conn).await.unwrap();

    // The last row of each order; sorted, so that two of these loops would not lock each other out.
    let last: BTreeMap<&str, &Rows> =
        events.iter().map(|(event, _)| (event.data.order_id, &templates[event.event_type])).collect();
    let orders: Vec<(&str, &Rows)> = last.into_iter().collect();
    let upsert = "INSERT INTO orders (saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, \
             created_at, updated_at, sequence, head, duplicates, earlier) \
         SELECT 'order', n.order_id, n.version, n.status, n.state, n.seen, n.attributes, n.next_due, n.waiting, n.waiting_since, \
             $14, $14, n.sequence, n.head, n.duplicates, n.earlier \
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[], $8::text[], \
             $9::bigint[], $10::bigint[], $11::bytea[], $12::bigint[], $13::text[]) \
             AS n (order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, sequence, head, duplicates, earlier) \
         ON CONFLICT (order_id, saga) DO UPDATE SET version = excluded.version, status = excluded.status, state = excluded.state, \
             seen = excluded.seen, attributes = excluded.attributes, next_due = excluded.next_due, waiting = excluded.waiting, \
             waiting_since = excluded.waiting_since, updated_at = excluded.updated_at, sequence = excluded.sequence, \
             head = excluded.head, duplicates = excluded.duplicates, earlier = excluded.earlier";
    sqlx::query(upsert)
        .bind(orders.iter().map(|it| it.0).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.version).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.status.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.state.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.seen.as_slice()).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.attributes.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.next_due.map(|after| now + after)).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.waiting.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.waiting_since.map(|after| now + after)).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.sequence).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.head.as_slice()).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.duplicates).collect::<Vec<_>>())
        .bind(orders.iter().map(|it| it.1.order.earlier.as_str()).collect::<Vec<_>>())
        .bind(now)
        .execute(&mut *conn)
        .await
        .unwrap();

    let with_attributes: Vec<&Event<'_>> =
        events.iter().map(|(event, _)| event).filter(|event| event.event_type == load::EVENTS[0]).collect();
    let attributes = "INSERT INTO order_attributes (name, value, created_at, saga, order_id) \
         SELECT 'customer', n.value, $3, 'order', n.order_id FROM unnest($1::text[], $2::text[]) AS n (value, order_id)";
    sqlx::query(attributes)
        .bind(with_attributes.iter().map(|it| it.data.customer).collect::<Vec<_>>())
        .bind(with_attributes.iter().map(|it| it.data.order_id).collect::<Vec<_>>())
        .bind(now)
        .execute(&mut *conn)
        .await
        .unwrap();

    let rows: Vec<(&str, &Rows, &Delivery)> =
        events.iter().map(|(event, delivery)| (event.data.order_id, &templates[event.event_type], *delivery)).collect();
    let sequences: Vec<i64> = rows.iter().map(|it| it.1.order.sequence).collect();
    let journal = "INSERT INTO journal (saga, order_id, sequence, at, kind, actor, body, hash) \
         SELECT 'order', n.order_id, n.sequence, $7, n.kind, n.actor, n.body, n.hash \
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[]) \
             AS n (order_id, sequence, kind, actor, body, hash)";
    sqlx::query(journal)
        .bind(&ids)
        .bind(&sequences)
        .bind(rows.iter().map(|it| it.1.journal.kind.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.1.journal.actor.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.1.journal.body.replace(&sample_id, it.0)).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.1.journal.hash.as_slice()).collect::<Vec<_>>())
        .bind(now)
        .execute(&mut *conn)
        .await
        .unwrap();

    let payloads = "INSERT INTO payloads (saga, order_id, sequence, salt, body, body_hash, envelope, exchange, routing_key, message_id) \
         SELECT 'order', n.* FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], \
             $8::text[], $9::text[]) AS n (order_id, sequence, salt, body, body_hash, envelope, exchange, routing_key, message_id)";
    sqlx::query(payloads)
        .bind(&ids)
        .bind(&sequences)
        .bind(rows.iter().map(|it| it.1.payload.salt.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.2.data.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.1.payload.body_hash.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.1.payload.envelope.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.2.exchange.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|it| it.2.routing_key.as_str()).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|it| it.2.properties.message_id().as_ref().map(lapin::types::ShortString::as_str))
                .collect::<Vec<_>>(),
        )
        .execute(&mut *conn)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}
