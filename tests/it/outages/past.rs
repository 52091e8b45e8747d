//! A database that wakes up in its own past: a failover to a standby that was behind, a restore from a backup. What Escrow had
//! acknowledged since is gone for good, so it is a gap: the orders open in it are told about, and nothing of theirs is undone.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::task::block_in_place;

use super::{connect, sql, vhost};
use crate::support::judgement::{Alive, drained, verified};
use crate::support::postgres::{self, Server};
use crate::support::proxy::Proxy;
use crate::support::scene::{Fate, Scene, TOLD};
use crate::support::services::Service;

/// Orders that Escrow has seen and that will be answered only in what is lost.
async fn open(scene: &Scene) -> Vec<String> {
    let open = scene.place_with(Fate::Waiting, 4, &json!({"patience": "20s"})).await;
    for order in &open {
        let waits = |order: &Value| order["steps"][1]["status"] == "done" && order["steps"][2]["deadline"].is_string();
        scene.escrow().order_when(order, "waits", waits).await;
    }
    open
}

/// The answers come, are applied and acknowledged: and are lost when the database goes back.
async fn answered(scene: &Scene, open: &[String]) {
    for order in open {
        scene.say("inventory_exchange", "InventoryReserved", order, &json!({})).await;
    }
    for order in open {
        scene.escrow().order_when(order, "is completed", |order| order["status"] == "completed").await;
    }
}

/// The gap is recorded; the orders open in it are told about and wait for a person, and nobody is asked to undo them; what
/// comes after it is as always.
async fn told_and_not_acted_on(scene: &Scene, services_url: &str, open: &[String]) {
    let escrow = scene.escrow();
    let gap = async || (escrow.get("/v1/status").await?["doubts"]["gaps"].as_u64()? > 0).then_some(());
    escrow.until("the gap is recorded", gap).await;
    for order in open {
        let stuck = escrow.order_when(order, "is stuck", |order| order["status"] == "stuck").await;
        assert_eq!((&stuck["stuck"]["reason"], &stuck["unproven"]), (&json!("unproven"), &json!(["gap"])), "{stuck}");
    }
    let one = async || {
        let incidents = escrow.get("/v1/incidents?cause=unproven").await?;
        (incidents["incidents"][0]["count"] == 4).then_some(())
    };
    escrow.until("there is one incident for all", one).await;
    let (asked, _) = scene.undoing.heard();
    assert!(asked.is_empty(), "nobody is asked to undo anything: {asked:?}");
    drained(escrow).await;
    let mut stuck = told(services_url).await;
    stuck.retain(|(kind, _)| kind == "escrow.order.stuck");
    assert!(open.iter().all(|order| stuck.iter().any(|(_, of)| of == order)), "each is told about: {stuck:?}");

    // Orders that begin after it are in no doubt.
    let after = [scene.place(Fate::Answered, 2).await, scene.place(Fate::Silent, 2).await].concat();
    for order in &after {
        let end = if order.starts_with("silent") { "compensated" } else { "completed" };
        escrow.order_when(order, &format!("is {end}"), |order| order["status"] == end).await;
    }
    verified(escrow);
}

/// What Escrow told: type and subject.
async fn told(services_url: &str) -> Vec<(String, String)> {
    let service = Service::connect(services_url).await;
    let mut told = Vec::new();
    while let Some(message) =
        service.channel.basic_get(TOLD.into(), lapin::options::BasicGetOptions { no_ack: true }).await.unwrap()
    {
        let event: Value = serde_json::from_slice(&message.delivery.data).unwrap();
        told.push((event["type"].as_str().unwrap().to_owned(), event["subject"].as_str().unwrap().to_owned()));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_standby_that_was_behind_is_a_gap() {
    let (primary, vhost) = (block_in_place(Server::dedicated), vhost());
    let url = primary.database().await;
    let (line, feed) = (Proxy::before(&url).await, Proxy::before(&url).await);
    let standby = block_in_place(|| Server::standby_of(&feed.url(&primary.url("postgres"))));
    let scene = Scene::start(&line.url(&url), &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    let open = open(&scene).await;
    until_there(&url, &standby.url("test_0")).await;
    feed.silence();
    answered(&scene, &open).await;
    block_in_place(|| primary.kill_9());
    line.lead_to(&standby.url("test_0"));
    // It only reads until somebody promotes it.
    scene.escrow().unready().await;
    sql(&standby.url("postgres"), "SELECT pg_promote()").await;
    told_and_not_acted_on(&scene, &vhost.url(), &open).await;
    alive.was_alive();
}

/// Waits until the standby has replayed all the primary has written.
async fn until_there(primary: &str, standby: &str) {
    let written: String =
        sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&mut connect(primary).await).await.unwrap();
    let mut standby = connect(standby).await;
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
    while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(replayed.clone())).fetch_one(&mut standby).await.unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Nobody is connected to the database while this is done to it.
async fn alone(database: &str, statements: &[String]) {
    let mut admin = connect(&postgres::shared().url("postgres")).await;
    admin.execute(AssertSqlSafe(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"))).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{database}'");
    admin.execute(AssertSqlSafe(end)).await.unwrap();
    for statement in statements {
        admin.execute(AssertSqlSafe(statement.clone())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restored_under_a_running_escrow_is_a_gap() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    let open = open(&scene).await;
    let name = url.rsplit('/').next().unwrap();
    let backup = format!("CREATE DATABASE {name}_backup TEMPLATE {name}");
    alone(name, &[backup, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")]).await;
    answered(&scene, &open).await;
    let [away, back] = [(name.to_owned(), format!("{name}_lost")), (format!("{name}_backup"), name.to_owned())]
        .map(|(from, to)| format!("ALTER DATABASE {from} RENAME TO {to}"));
    alone(name, &[away, back, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")]).await;
    told_and_not_acted_on(&scene, &vhost.url(), &open).await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_copied_back_while_escrow_is_stopped_is_a_gap() {
    let (folder, vhost) = (tempfile::tempdir().unwrap(), vhost());
    let (now, backup) = (folder.path().join("now"), folder.path().join("backup"));
    std::fs::create_dir(&now).unwrap();
    let scene = Scene::start(&format!("sqlite://{}/escrow.db", now.display()), &vhost.url(), &vhost.url()).await;
    let open = open(&scene).await;
    assert_eq!(block_in_place(|| scene.escrow().terminate()), Some(0));
    copy(&now, &backup);
    scene.escrow().run().await;
    answered(&scene, &open).await;
    assert_eq!(block_in_place(|| scene.escrow().terminate()), Some(0));
    std::fs::remove_dir_all(&now).unwrap();
    copy(&backup, &now);
    scene.escrow().run().await;
    told_and_not_acted_on(&scene, &vhost.url(), &open).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
