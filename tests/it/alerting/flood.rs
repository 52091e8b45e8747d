//! Ten thousand orders stuck on one thing are one alert for each channel, not ten thousand.

use super::stage::Stage;
use crate::support::database::Database;
use crate::support::receiver::Receiver;

const ORDERS: u32 = 10_000;

/// Orders that have timed out on one step within a minute.
async fn stick(database: &Database) {
    let (series, bytes) = if database.is_postgres() {
        (format!("generate_series(1, {ORDERS}) AS n (n)"), "'\\x00'::bytea")
    } else {
        let series = format!(
            "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ORDERS}) SELECT n FROM s"
        );
        (format!("({series})"), "x'00'")
    };
    let sql = format!(
        "INSERT INTO orders (order_id, saga, version, status, state, seen, attributes, waiting, reason, stuck_step, stuck_since,
             created_at, updated_at, sequence, head, duplicates)
         SELECT 'o' || n, 'order', 1, 'stuck', '{{\"life\":{{\"status\":\"stuck\"}},\"steps\":[]}}', {bytes}, '{{}}', '', 'timed_out', 'placed',
             1795226040000000 + n * 6000, n, n, 1, {bytes}, 0
         FROM {series}"
    );
    database.raw(&sql).await.unwrap();
}

async fn one_alert(database: Database) {
    let (chat, pager, peer) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let stage = Stage::new(
        database,
        &[
            ("am", format!("alertmanager: {{ urls: ['{}'] }}", peer.url)),
            ("chat", format!("slack: {{ url: '{}/chat' }}", chat.url)),
            ("pager", format!("pagerduty: {{ url: '{}/pager', routing_key: '${{ALERT_SECRET}}' }}", pager.url)),
        ],
    );
    stage.run().await;
    stick(&stage.database).await;
    let all_told = async || {
        let told = [&chat, &pager, &peer].iter().all(|receiver| !receiver.seen().is_empty());
        told.then_some(())
    };
    stage.escrow.until("every channel is told", all_told).await;
    assert_eq!(stage.database.lines("SELECT cause FROM incidents", "cause").await, ["timed_out"]);
    let kinds = "SELECT kind || ' ' || channel AS line FROM notices ORDER BY channel";
    assert_eq!(stage.database.lines(kinds, "line").await, ["trigger am", "trigger chat", "trigger pager"]);
    let summary = pager.seen()[0].body["payload"]["summary"].clone();
    assert_eq!(summary, "[WARNING] timed out: saga order, step placed, 10,000 orders (escrow default)");
    let text = chat.seen()[0].body["text"].as_str().unwrap().to_owned();
    assert_eq!(
        text.lines().find(|line| line.starts_with("*Samples:*")).map(|line| line.matches("`o").count()),
        Some(10),
        "{text}"
    );
    assert_eq!((chat.seen().len(), pager.seen().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_stuck_orders_are_one_alert_on_postgres() {
    one_alert(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_stuck_orders_are_one_alert_on_sqlite() {
    one_alert(Database::sqlite()).await;
}
