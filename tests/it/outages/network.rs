//! The lines between Escrow, its database and its broker: cut, silent, slow, and answers that never arrive.

use std::time::Duration;

use super::vhost;
use crate::support::judgement::Alive;
use crate::support::postgres;
use crate::support::proxy::{Proxy, Then, Toward, Trap};
use crate::support::scene::{Fate, Scene};
use crate::support::services::until;

/// What PostgreSQL answers to a commit.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_applied_once() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let line = Proxy::before(&url).await;
    let scene = Scene::start(&line.url(&url), &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    // Ingest, deadlines, relay, looks and housekeeping all lose answers.
    line.trap(Trap { toward: Toward::Client, pattern: COMMITTED, then: Then::Reset }, 20);
    scene.place(Fate::Answered, 6).await;
    scene.place(Fate::Silent, 6).await;
    until("20 answers were lost", || line.sprung() == 20).await;
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_behind_a_silent_line_is_away_until_the_line_is_mended() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let line = Proxy::before(&url).await;
    let scene = Scene::start(&line.url(&url), &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    line.silence();
    scene.answer().await;
    scene.place(Fate::Silent, 2).await;
    scene.escrow().unready().await;
    scene.outlast().await;
    line.pass();
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_behind_a_silent_line_is_given_up_and_found_again() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let line = Proxy::before(&vhost.url()).await;
    let scene = Scene::start(&url, &line.url(&vhost.url()), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    line.silence();
    scene.answer().await;
    scene.place(Fate::Silent, 2).await;
    // Found by the heartbeats: nothing ends the connection.
    scene.escrow().unready().await;
    scene.outlast().await;
    line.pass();
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_cut_again_and_again_cost_nothing_but_time() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let (to_database, to_broker) = (Proxy::before(&url).await, Proxy::before(&vhost.url()).await);
    let scene = Scene::start(&to_database.url(&url), &to_broker.url(&vhost.url()), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    for _ in 0..6 {
        to_database.reset();
        scene.place(Fate::Answered, 1).await;
        scene.place(Fate::Silent, 1).await;
        to_broker.reset();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    to_database.refuse();
    to_broker.refuse();
    scene.answer().await;
    scene.escrow().unready().await;
    scene.outlast().await;
    to_database.pass();
    to_broker.pass();
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_lines_make_nothing_late() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let (to_database, to_broker) = (Proxy::before(&url).await, Proxy::before(&vhost.url()).await);
    let scene = Scene::start(&to_database.url(&url), &to_broker.url(&vhost.url()), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    to_database.slow(Duration::from_millis(30), 200_000);
    to_broker.slow(Duration::from_millis(50), 8_000);
    scene.place(Fate::Answered, 10).await;
    scene.answer().await;
    scene.outlast().await;
    for (order, fate) in scene.fates() {
        let end = if fate == Fate::Silent { "compensated" } else { "completed" };
        scene.escrow().order_when(&order, &format!("is {end} over slow lines"), |it| it["status"] == end).await;
    }
    to_database.pass();
    to_broker.pass();
    scene.finish().await;
    alive.was_alive();
}
