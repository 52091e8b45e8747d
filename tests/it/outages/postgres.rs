//! PostgreSQL restarted, its backends ended, read-only, out of connections, locked, in a deadlock.

use std::time::Duration;

use sqlx::Executor as _;
use tokio::task::block_in_place;

use super::{connect, sql, vhost};
use crate::support::judgement::Alive;
use crate::support::postgres::{self, Server};
use crate::support::scene::{Fate, Scene};

const END_BACKENDS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'escrow' AND datname = current_database()";

/// Orders before the fault, during it, and after it.
async fn through(scene: &Scene, begins: impl AsyncFnOnce(), ends: impl AsyncFnOnce()) {
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    begins().await;
    scene.answer().await;
    scene.place(Fate::Silent, 2).await;
    scene.escrow().unready().await;
    scene.outlast().await;
    ends().await;
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_loses_nothing_and_times_nothing_out_falsely() {
    let (database, vhost) = (block_in_place(Server::dedicated), vhost());
    let scene = Scene::start(&database.database().await, &vhost.url(), &vhost.url()).await;
    through(&scene, async || block_in_place(|| database.stop()), async || block_in_place(|| database.start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_that_are_ended_again_and_again_cost_nothing_but_time() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    let mut admin = connect(&url).await;
    scene.open().await;
    let mut ended = 0;
    while ended < 30 {
        ended += admin.fetch_all(END_BACKENDS).await.unwrap().len();
        scene.place(Fate::Answered, 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.answer().await;
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_only_reads_is_waited_out_by_connections_that_stand() {
    let (database, vhost) = (block_in_place(Server::dedicated), vhost());
    let url = database.database().await;
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let set = async |word: &str| {
        sql(&url, &format!("ALTER SYSTEM SET default_transaction_read_only = {word}")).await;
        sql(&url, "SELECT pg_reload_conf()").await;
    };
    let off = async || {
        let status = scene.escrow().get("/v1/status").await.unwrap();
        assert!(status["problems"].to_string().contains("read-only transaction"), "a person can see why: {status}");
        set("off").await;
    };
    through(&scene, async || set("on").await, off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_too_many_connections_is_waited_for() {
    let (shared, vhost) = (postgres::shared(), vhost());
    let (admin, name) = (shared.url("postgres"), "crowded");
    sql(&admin, "CREATE ROLE clerk LOGIN").await;
    sql(&admin, &format!("CREATE DATABASE {name} OWNER clerk")).await;
    let url = shared.url(name).replace("escrow@", "clerk@");
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let full = async || {
        sql(&admin, "ALTER ROLE clerk CONNECTION LIMIT 0").await;
        sql(&shared.url(name), END_BACKENDS).await;
    };
    through(&scene, full, async || sql(&admin, "ALTER ROLE clerk CONNECTION LIMIT -1").await).await;
}
