//! Clocks that are wrong. On PostgreSQL the time is the server's, so a replica's own clock is nobody's business. SQLite has no
//! clock but the machine's: one that is set back makes deadlines wait until it has caught up, and fires nothing falsely.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::task::block_in_place;

use super::vhost;
use crate::support::escrow::Escrow;
use crate::support::judgement::Alive;
use crate::support::postgres;
use crate::support::scene::{Fate, Scene};

/// The library that gives a program another time.
fn faketime() -> String {
    let found = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].iter().flat_map(|folder| {
        let folders = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.chain([Path::new(folder).to_owned()]).map(|path| path.join("faketime/libfaketimeMT.so.1"))
    });
    let library = found.into_iter().find(|path| path.exists());
    let library = library.expect("libfaketime is not installed here: `apt-get install faketime` on Debian");
    library.to_string_lossy().into_owned()
}

/// An Escrow for which it is another time; its timers run as always.
fn elsewhen(escrow: Escrow, name: &str, value: &str) -> Escrow {
    escrow
        .with("LD_PRELOAD", &faketime())
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with("DONT_FAKE_MONOTONIC", "1")
        .with(name, value)
}

/// How far an Escrow's own clock is from the tests'.
async fn is_off(escrow: &Escrow) -> SignedDuration {
    let status = escrow.get("/v1/status").await.expect("it answers");
    let started: Timestamp = status["started_at"].as_str().unwrap().parse().unwrap();
    started.duration_since(Timestamp::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_two_replicas_two_hours_apart_agree() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let mut scene = Scene::new(&url, &vhost.url(), &vhost.url()).await;
    let [ahead, behind] = ["+1h", "-1h"].map(|by| elsewhen(Scene::replica(&url, &vhost.url()), "FAKETIME", by));
    scene.escrows = vec![ahead, behind];
    for escrow in &scene.escrows {
        escrow.run().await;
        escrow.bound().await;
    }
    assert!(is_off(&scene.escrows[0]).await > SignedDuration::from_mins(50), "its clock is wrong");
    assert!(is_off(&scene.escrows[1]).await < SignedDuration::from_mins(-50), "its clock is wrong");
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    scene.answer().await;
    scene.outlast().await;
    scene.finish().await;
    alive.was_alive();
    // The one goes, and the other takes over with its own clock.
    block_in_place(|| scene.escrow().kill_9());
    scene.escrows.swap(0, 1);
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_clock_that_was_an_hour_ahead_and_is_set_right_times_nothing_out_falsely() {
    let (folder, vhost) = (tempfile::tempdir().unwrap(), vhost());
    let hands = folder.path().join("clock");
    let set = |by: &str| std::fs::write(&hands, by).unwrap();
    set("+1h");
    let url = format!("sqlite://{}/escrow.db", folder.path().display());
    let mut scene = Scene::new(&url, &vhost.url(), &vhost.url()).await;
    let escrow = elsewhen(Scene::replica(&url, &vhost.url()), "FAKETIME_TIMESTAMP_FILE", &hands.display().to_string());
    scene.escrows = vec![escrow.with("FAKETIME_CACHE_DURATION", "1")];
    scene.escrow().run().await;
    scene.escrow().bound().await;
    assert!(is_off(scene.escrow()).await > SignedDuration::from_mins(50), "its clock is wrong");
    let silent = scene.place(Fate::Silent, 2).await;
    for order in &silent {
        scene.escrow().order_when(order, "is compensated", |order| order["status"] == "compensated").await;
    }

    set("+0");
    let right = async || {
        let now: Timestamp = scene.escrow().get("/v1/status").await?["now"].as_str()?.parse().ok()?;
        (now.duration_since(Timestamp::now()).abs() < SignedDuration::from_mins(1)).then_some(())
    };
    scene.escrow().until("its clock is right", right).await;
    scene.open().await;
    // Answered in time, and unread when the deadlines are past.
    scene.escrow().signal("-STOP");
    scene.answer().await;
    scene.outlast().await;
    scene.escrow().signal("-CONT");
    let told = async || {
        let status = scene.escrow().get("/v1/status").await?;
        status["sagas"][0]["sight_detail"].as_str()?.contains("clock").then_some(())
    };
    scene.escrow().until("it says that the clock went back", told).await;
    let waits = |order: &Value| order["status"] == "running" && order["stuck"].is_null();
    for (order, fate) in scene.fates() {
        if fate == Fate::Silent && !silent.contains(&order) {
            scene.escrow().order_when(&order, "waits until the clock has caught up", waits).await;
        }
    }
    // An hour and more later.
    set("+2h");
    scene.finish().await;
}
