//! How such a consumer is written by hand: a transaction for each event, twenty at a time on a pool of connections, each
//! acknowledged alone. The rows and tables are the reference's.

use std::sync::Arc;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc;

use super::reference;
use super::work::Drain;
use crate::support::services::Service;

/// Events under way at a time, each on a connection of its own.
const AT_A_TIME: u16 = 20;

/// Drains until all events are acknowledged.
pub async fn drain(work: &Drain) {
    let templates = Arc::new(reference::templates(work));
    let service = Service::connect(&work.amqp).await;
    service.channel.basic_qos(AT_A_TIME, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let consuming =
        service.channel.basic_consume(work.queue.as_str().into(), "".into(), options, FieldTable::default());
    let mut consumer = consuming.await.unwrap();
    let (give_back, mut free) = mpsc::channel(usize::from(AT_A_TIME));
    for _ in 0..AT_A_TIME {
        give_back.send(reference::connect(&work.database).await).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..work.events {
        let delivery = consumer.next().await.unwrap().unwrap();
        let mut conn = free.recv().await.unwrap();
        let (templates, give_back) = (Arc::clone(&templates), give_back.clone());
        tasks.spawn(async move {
            reference::write(&mut conn, &templates, std::slice::from_ref(&delivery)).await;
            delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
            give_back.send(conn).await.ok();
        });
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
