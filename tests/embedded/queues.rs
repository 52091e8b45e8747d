//! What is wrong with the queue of a service that does not answer: looked at while somebody waits, and told.

use std::sync::{Arc, Mutex};

use escrow::bus::memory::{Kind, MemoryBus};
use escrow::bus::{BusError, Envelope, Publication, Published, Sink};
use escrow::saga::queue::Found;
use escrow::saga::time::Span;
use escrow::worker::Worker as _;
use escrow::worker::queues::Queues;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::bed::Bed;
use super::http::{call, post};

/// Over HTTP, so that nothing but the test looks at queues.
const SAGA: &str = "
saga: order
version: 1
watch: [{ http: {} }]
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 1h, handled_by: { queue: billing } }
  checked: { when: Suspected, done: Checked, within: 1h, handled_by: { queue: fraud } }
  packed: { after: paid, done: Packed, within: 1h, handled_by: { queue: stock } }
";

/// Remembers which queues were looked at.
struct Watched {
    bus: MemoryBus,
    looks: Mutex<Vec<String>>,
}

impl Sink for Watched {
    fn publish(&self, publications: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Published>, BusError>> {
        self.bus.publish(publications)
    }

    fn look_at_queue(&self, queue: String) -> BoxFuture<'_, Result<Found, BusError>> {
        self.looks.lock().unwrap().push(queue.clone());
        self.bus.look_at_queue(queue)
    }

    fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}

#[tokio::test]
async fn a_queue_is_looked_at_while_an_order_waits_for_long_and_its_state_is_told() {
    let bed = Bed::new(&[]).await;
    bed.propose(SAGA).await;
    let running = bed.start(false).await;
    let watched = Arc::new(Watched { bus: bed.bus.clone(), looks: Mutex::default() });
    let mut queues = Queues::new(Arc::clone(&running.escrow), Arc::clone(&watched) as Arc<dyn Sink>);
    let looks = || std::mem::take(&mut *watched.looks.lock().unwrap());
    let known = || running.escrow.queues.of("billing").map(|finding| finding.what);

    queues.run_once().await.unwrap();
    assert_eq!(looks(), Vec::<String>::new(), "nobody waits for anything");
    assert_eq!(post(&running, "Placed", "1").await, 202);
    queues.run_once().await.unwrap();
    assert_eq!((looks(), known()), (vec![], None), "it may well be answered in a moment");
    bed.clock.advance(Span::from_secs(4));
    queues.run_once().await.unwrap();
    assert_eq!((looks(), known()), (vec!["billing".to_owned()], Some(Found::Missing)), "and no other queue");

    // A refused look costs a channel: it is not repeated at once.
    bed.bus.declare_exchange("commands", Kind::Fanout);
    bed.bus.declare_queue("billing");
    assert!(bed.bus.bind("billing", "commands", ""));
    for number in 0..312 {
        bed.bus.send("commands", "", Envelope::default(), number.to_string().into_bytes());
    }
    queues.run_once().await.unwrap();
    assert_eq!((looks(), known()), (vec![], Some(Found::Missing)));
    bed.clock.advance(Span::from_secs(13));
    queues.run_once().await.unwrap();
    assert_eq!((looks().len(), known()), (1, Some(Found::NoConsumer { messages: 312 })));
    let shown = call(&running, "GET", "/v1/sagas/order/orders/1", &Value::Null).await;
    let queue = &shown["waiting_on"][0]["queue"];
    let (found, messages, consumers) = (&queue["found"], &queue["messages"], &queue["consumers"]);
    assert_eq!((found, messages, consumers), (&json!("no_consumer"), &json!(312), &json!(0)), "{shown}");
    assert_eq!(queue["queue"], "billing");
    let said =
        "waiting 17s for Paid (step `paid`); queue billing has no consumer and 312 messages; if it does not come";
    assert!(shown["why"].as_str().unwrap().starts_with(said), "{shown}");

    let mut reader = bed.bus.subscribe("billing").unwrap();
    let mut held = vec![reader.next().await.unwrap()];
    queues.run_once().await.unwrap();
    assert_eq!(known(), Some(Found::Backlog { messages: 311, consumers: 1 }));
    while held.len() < 312 {
        held.push(reader.next().await.unwrap());
    }
    queues.run_once().await.unwrap();
    assert_eq!(known(), Some(Found::Consumed { consumers: 1 }), "in a consumer's hands is no more ready");
    assert!(held.iter().all(|it| !it.delivery.redelivered), "the looks took nothing");

    bed.bus.set_up(false);
    queues.run_once().await.unwrap();
    assert_eq!(known(), None, "what is not known any more is not told");
    bed.bus.set_up(true);
    queues.run_once().await.unwrap();
    assert!(known().is_some());
    assert_eq!(post(&running, "Paid", "1").await, 202);
    bed.clock.advance(Span::from_secs(4));
    looks();
    queues.run_once().await.unwrap();
    assert_eq!((looks(), known()), (vec!["stock".to_owned()], None), "nobody waits for it any more");
    running.stop().await;
}

const RETRIED: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 30s, retry: { times: 1, every: 10s, to: { queue: billing } } }
";

#[tokio::test]
async fn a_running_escrow_says_of_a_stuck_order_that_nobody_reads_the_queue() {
    let bed = Bed::new(&["shop"]).await;
    bed.bus.declare_queue("billing");
    assert!(bed.bus.bind("billing", "shop", ""));
    let running = bed.run(RETRIED).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    let path = "/v1/sagas/order/orders/1";
    let told = async || {
        let order = call(&running, "GET", path, &Value::Null).await;
        order["why"]
            .as_str()
            .filter(|why| why.contains("queue billing has no consumer and 1 message;"))
            .map(str::to_owned)
    };
    bed.pass(&running, Span::from_secs(4)).await;
    let why = bed.until("a waiting order says so", told).await;
    assert!(why.contains("(retry 1 of 1), or withheld if the queue is still so"), "{why}");
    bed.pass(&running, Span::from_secs(30)).await;
    bed.until("a retry was withheld", async || bed.kinds("1").await.contains(&"withheld").then_some(())).await;
    bed.pass(&running, Span::from_secs(30)).await;
    bed.shows("1", "stuck (timed_out): done, timed_out").await;
    assert_eq!(bed.kinds("1").await, ["event", "retry", "withheld", "deadline"]);
    let why = bed.until("a stuck order says so", told).await;
    assert!(why.starts_with("stuck for ") && why.contains("; `retry` sends its message again"), "{why}");
    let trail = call(&running, "GET", &format!("{path}/audit"), &Value::Null).await;
    let withheld = trail["entries"].as_array().unwrap().iter().find(|entry| entry["kind"] == "withheld").unwrap();
    assert!(withheld.to_string().contains("queue billing has no consumer and 1 message"), "{withheld}");
    assert_eq!(bed.bus.depth("billing"), Some(1), "and nothing was put into it");
    running.stop().await;
}
