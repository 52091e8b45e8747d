//! The broker restarted, and out of memory.

use std::sync::MutexGuard;

use tokio::task::block_in_place;

use crate::support::judgement::{Alive, drained};
use crate::support::rabbitmq::{Server, rough};
use crate::support::scene::{Fate, Scene};
use crate::support::{escrow::Escrow, postgres};

/// A broker, with the right to disturb it.
fn turn() -> (&'static Server, MutexGuard<'static, ()>) {
    block_in_place(rough)
}

/// What was answered in time and not read by Escrow before the broker went is no timeout after it.
#[expect(clippy::await_holding_lock, reason = "the lock is a test's turn, held by one task and never awaited")]
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_loses_nothing_and_times_nothing_out_falsely() {
    let (broker, _turn) = turn();
    let (url, vhost) = (postgres::shared().database().await, broker.vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    scene.escrow().signal("-STOP");
    scene.answer().await;
    block_in_place(|| broker.stop());
    scene.escrow().signal("-CONT");
    scene.escrow().unready().await;
    scene.outlast().await;
    block_in_place(|| broker.start());
    scene.finish().await;
    alive.was_alive();
}

#[expect(clippy::await_holding_lock, reason = "the lock is a test's turn, held by one task and never awaited")]
#[tokio::test(flavor = "multi_thread")]
async fn under_a_memory_alarm_deadlines_wait_and_what_is_decided_goes_out_after_it() {
    let (broker, _turn) = turn();
    let (url, vhost) = (postgres::shared().database().await, broker.vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    drained(scene.escrow()).await;
    // Frozen, so that the answers are in the tap and unread when the alarm comes.
    scene.escrow().signal("-STOP");
    scene.place(Fate::Silent, 3).await;
    scene.answer().await;
    block_in_place(|| broker.ctl(&["set_vm_memory_high_watermark", "0.00000001"]));
    scene.escrow().signal("-CONT");
    alarm_is_shown(scene.escrow()).await;
    for (order, fate) in scene.fates() {
        if fate == Fate::Waiting {
            scene.escrow().order_when(&order, "is completed under the alarm", |it| it["status"] == "completed").await;
        }
    }
    scene.outlast().await;
    scene.escrow().ready().await;
    block_in_place(|| broker.ctl(&["set_vm_memory_high_watermark", "0.4"]));
    scene.finish().await;
    alive.was_alive();
}

/// One cause is one incident, whatever follows from it.
#[expect(clippy::await_holding_lock, reason = "the lock is a test's turn, held by one task and never awaited")]
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_is_one_incident_and_no_service_is_blamed() {
    let (broker, _turn) = turn();
    let (url, vhost) = (postgres::shared().database().await, broker.vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    scene.open().await;
    block_in_place(|| broker.stop());
    let list = async || scene.escrow().get("/v1/incidents").await?["incidents"].as_array().cloned();
    let opened = async || list().await.filter(|all| !all.is_empty());
    let first = scene.escrow().until("it is an incident", opened).await.remove(0);
    let is_sight = |it: &serde_json::Value| it["cause"] == "broker_away" || it["cause"] == "blind";
    assert!(is_sight(&first), "{first}");
    scene.outlast().await;
    let blinded = async || list().await.filter(|all| all.len() > 1);
    let all = scene.escrow().until("what follows from it is there too", blinded).await;
    assert!(all.iter().all(is_sight), "{all:?}");
    let heads: Vec<_> = all.iter().filter(|it| it["parent"].is_null()).collect();
    assert_eq!(heads.len(), 1, "{all:?}");
    block_in_place(|| broker.start());
    scene.escrow().ready().await;
}

async fn alarm_is_shown(escrow: &Escrow) {
    escrow
        .until("the alarm is shown", async || {
            let status = escrow.get("/v1/status").await?;
            status["bus"]["problem"].as_str()?.contains("alarm").then_some(())
        })
        .await;
}
