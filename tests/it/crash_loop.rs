//! Twenty-five deaths in a row over one backlog.
//!
//! A quorum queue counts how often it delivered each message, and drops what it delivered too often. A program that dies again
//! and again with the same messages in hand, and comes back every time, must not lose them that way.

use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::json;

use crate::support::choreography::{Service, definition};
use crate::support::database::Database;
use crate::support::escrow::{Escrow, PATIENCE};
use crate::support::rabbitmq;

const ORDERS: u64 = 3_000;
const MINUTES: &str = "within: 60m\n    on_timeout: compensate";

async fn loses_nothing(database: Database) {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let escrow = Escrow::new(&definition(MINUTES, MINUTES), &database.url, &url);
    let service = Service::start(&url).await;
    escrow.run().await;
    escrow.bound().await;
    escrow.kill_9();
    for number in 0..ORDERS {
        // With an id and without: what has none is known again by the broker's word alone.
        let id =
            (number % 2 == 0).then(|| BasicProperties::default().with_message_id(format!("placed-{number}").into()));
        let body = format!(r#"{{"event_type": "OrderPlaced", "data": {{"order_id": "{number}"}}}}"#);
        service.0.send_with("order_exchange", "", &body, id.unwrap_or_default()).await;
    }
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let waiting = async || {
        let tap = service.0.channel.queue_declare("escrow.tap.default".into(), look, FieldTable::default()).await;
        u64::from(tap.expect("the tap is there").message_count())
    };
    for death in 0..25 {
        // Five times something is committed and not acknowledged; else all in hand comes again as it was.
        let at = if death % 5 == 4 { "ingest.ack:before" } else { "ingest.next_batch:after" };
        escrow.start_as(Some(&url), &[("ESCROW_CRASH_AT", at)]);
        let began = std::time::Instant::now();
        while escrow.ended().is_none() {
            assert!(began.elapsed() < PATIENCE, "{at} was not reached\n{}", escrow.log_tail());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    escrow.kill_9();
    escrow.until("nothing was acknowledged", async || (waiting().await >= ORDERS).then_some(())).await;
    escrow.run().await;
    escrow.all_are("running", ORDERS).await;
    let again = escrow.get("/v1/journal?kind=repeated,conflict,late").await.unwrap();
    assert_eq!(again["entries"], json!([]), "each message once in its trail");
    escrow.until("the tap is empty", async || (waiting().await == 0).then_some(())).await;
    let status = escrow.get("/v1/status").await.unwrap();
    assert_eq!(status["doubts"], json!({"gaps": 0, "quarantine": 0}), "nothing is said to be missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_survives_twenty_five_deaths_in_a_row_on_postgres() {
    loses_nothing(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_survives_twenty_five_deaths_in_a_row_on_sqlite() {
    loses_nothing(Database::sqlite()).await;
}
