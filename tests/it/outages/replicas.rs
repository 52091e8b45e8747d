//! Two replicas, of which one hangs: without its process, or without its database.

use tokio::task::block_in_place;

use super::vhost;
use crate::support::judgement::Alive;
use crate::support::postgres;
use crate::support::proxy::{Proxy, Then, Toward, Trap};
use crate::support::scene::{Fate, Scene};
use crate::support::services::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_with_messages_in_hand_is_replaced_and_does_no_harm_when_it_wakes() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let line = Proxy::before(&vhost.url()).await;
    let mut scene = Scene::start(&url, &line.url(&vhost.url()), &vhost.url()).await;
    scene.open().await;
    // It has leased compensations and is sending the first one when it stops: for longer than its lease lasts.
    line.trap(Trap { toward: Toward::Server, pattern: b"\"RefundPayment\"", then: Then::Silence }, 1);
    scene.place(Fate::Silent, 4).await;
    until("it is sending", || line.sprung() == 1).await;
    scene.escrow().signal("-STOP");
    let healthy = Scene::replica(&url, &vhost.url());
    healthy.run().await;
    scene.escrows.insert(0, healthy);
    let alive = Alive::watch(scene.escrow());
    scene.answer().await;
    scene.outlast().await;
    for (order, fate) in scene.fates() {
        if fate == Fate::Silent {
            scene.escrow().order_when(&order, "is compensated by the other", |it| it["status"] == "compensated").await;
        }
    }
    scene.escrows[1].signal("-CONT");
    line.pass();
    scene.escrows[1].ready().await;
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_cut_off_in_the_middle_by_a_silent_line_is_applied_once_by_the_other_replica() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let line = Proxy::before(&url).await;
    let mut scene = Scene::start(&line.url(&url), &vhost.url(), &vhost.url()).await;
    let healthy = Scene::replica(&url, &vhost.url());
    healthy.run().await;
    scene.escrows.insert(0, healthy);
    scene.open().await;
    // It has the tap, and the rows of the orders, when its line falls silent: what it wrote is in a transaction nobody ends.
    line.trap(Trap { toward: Toward::Server, pattern: b"InventoryReserved", then: Then::Silence }, 1);
    scene.answer().await;
    until("its batch is cut off", || line.sprung() == 1).await;
    scene.place(Fate::Silent, 2).await;
    for (order, fate) in scene.fates() {
        let end = if fate == Fate::Silent { "compensated" } else { "completed" };
        scene.escrow().order_when(&order, &format!("is {end} by the other"), |it| it["status"] == end).await;
    }
    // What it still holds in its hands arrives late.
    line.pass();
    scene.escrows[1].ready().await;
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_database_is_silent_lets_the_tap_go_to_one_that_has_a_database() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let line = Proxy::before(&url).await;
    let mut scene = Scene::start(&line.url(&url), &vhost.url(), &vhost.url()).await;
    let healthy = Scene::replica(&url, &vhost.url());
    healthy.run().await;
    scene.escrows.insert(0, healthy);
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    line.silence();
    scene.answer().await;
    scene.place(Fate::Silent, 2).await;
    for (order, fate) in scene.fates() {
        let end = if fate == Fate::Silent { "compensated" } else { "completed" };
        scene.escrow().order_when(&order, &format!("is {end} by the other"), |it| it["status"] == end).await;
    }
    line.pass();
    scene.escrows[1].ready().await;
    block_in_place(|| scene.escrows[0].kill_9());
    scene.escrows.swap(0, 1);
    drop(alive);
    scene.finish().await;
}
