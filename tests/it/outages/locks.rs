//! Sessions that are in the way: deadlocks (40P01) and rows locked for longer than anybody waits (55P03).

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::{connect, sql, vhost};
use crate::support::judgement::Alive;
use crate::support::postgres;
use crate::support::scene::{Fate, Scene};
use crate::support::services::Service;

const TAP: &str = "escrow.tap.default";
/// Longer than Escrow lets a statement wait for a lock.
const TOO_LONG: Duration = Duration::from_secs(11);

async fn lock(session: &mut PgConnection, order: &str) {
    let lock = format!("SELECT FROM orders WHERE saga = 'order' AND order_id = '{order}' FOR UPDATE");
    session.execute(AssertSqlSafe(lock)).await.unwrap();
}

/// Waits until Escrow waits for a lock of this session.
async fn is_waited_for(admin: &mut PgConnection, session: &mut PgConnection) {
    let session: i32 = session.fetch_one("SELECT pg_backend_pid()").await.unwrap().get(0);
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'escrow' AND {session} = ANY(pg_blocking_pids(pid))"
    );
    while admin.fetch_one(AssertSqlSafe(waiting.clone())).await.unwrap().get::<i64, _>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_and_locked_rows_cost_nothing_but_time() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let name = url.rsplit('/').next().unwrap();
    // Long enough for the test to close the circle before anybody looks for one.
    sql(&url, &format!("ALTER DATABASE {name} SET deadlock_timeout = '3s'")).await;
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    let mut waiting: Vec<String> = scene.deadlines.lock().unwrap().keys().cloned().collect();
    waiting.sort();
    let [held, first, .., last] = waiting.as_slice() else { panic!("some wait") };
    let (mut admin, mut holder, mut intruder) = (connect(&url).await, connect(&url).await, connect(&url).await);

    // While the answer to one order is held up, the others gather: they are the next batch, all together.
    holder.execute("BEGIN").await.unwrap();
    lock(&mut holder, held).await;
    scene.say("inventory_exchange", "InventoryReserved", held, &json!({})).await;
    is_waited_for(&mut admin, &mut holder).await;
    intruder.execute("SET deadlock_timeout = '10min'; BEGIN").await.unwrap();
    lock(&mut intruder, last).await;
    scene.answer().await;
    let service = Service::connect(&vhost.url()).await;
    scene.escrow().until("all answers are with Escrow", async || (service.ready(TAP).await == 0).then_some(())).await;
    holder.execute("ROLLBACK").await.unwrap();
    // It locks in the order of keys: it has the first, and waits for the last.
    is_waited_for(&mut admin, &mut intruder).await;
    lock(&mut intruder, first).await;
    let deadlocks = "SELECT pg_stat_get_db_deadlocks(oid) FROM pg_database WHERE datname = current_database()";
    scene.escrow().until("it was in a deadlock", async || (admin_count(&url, deadlocks).await > 0).then_some(())).await;
    // And now it only waits, and gives up, again and again.
    tokio::time::sleep(TOO_LONG).await;
    scene.place(Fate::Answered, 2).await;
    intruder.execute("ROLLBACK").await.unwrap();
    scene.finish().await;
    alive.was_alive();
}

async fn admin_count(url: &str, question: &'static str) -> i64 {
    connect(url).await.fetch_one(question).await.unwrap().get(0)
}
