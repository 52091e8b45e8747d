//! Mode `observe` asks nothing of any service, and a change of mode is for what is decided after it (rule 9).

use escrow::app::Running;
use escrow::bus::memory::Subscription;
use escrow::saga::definition::Mode;
use escrow::saga::input::Action;
use escrow::saga::time::Span;
use escrow::worker::commands::CommandError;
use serde_json::Value;

use super::bed::{Bed, act, heard};

/// Every way to ask: retries to a queue and to where it was published; short and long compensations.
const SAGA: &str = r#"
saga: order
version: 1
mode: observe
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
cancelled_by: Cancelled
steps:
  placed: { done: Placed, compensation: { publish: Unplace, done: Unplaced } }
  paid:
    after: placed
    done: Paid
    failed: Declined
    within: 30s
    retry: { times: 1, every: 10s, to: { queue: payments } }
    on_timeout: compensate
    compensation:
      publish: { event: Refund, exchange: shop, routing_key: "", body: { type: Refund, order: "{{ order_id }}" } }
      retry: { times: 2, every: 10s }
      done: Refunded
      within: 30s
  packed:
    after: paid
    done: Packed
    failed: Torn
    within: 30s
    retry: { times: 1, every: 10s, to: original }
    on_timeout: compensate
    compensation: { publish: { event: Unpack, exchange: shop, routing_key: "", body: { type: Unpack } } }
"#;

/// What the services have said themselves.
const SAID: [&str; 6] = ["Placed", "Paid", "Declined", "Torn", "Cancelled", "Refunded"];

/// Everything that anybody can receive.
struct Services {
    shop: Subscription,
    payments: Subscription,
    escrow: Subscription,
}

impl Services {
    fn listen(bed: &Bed) -> Self {
        bed.bus.declare_queue("payments");
        assert!(bed.bus.bind("payments", "escrow.retry", "payments"));
        let payments = bed.bus.subscribe("payments").unwrap();
        Self { shop: bed.listen("everything", "shop"), payments, escrow: bed.listen("tellings", "escrow") }
    }

    /// What was asked of them since the last time, once all has left; tellings ask nothing, and what comes again was said once
    /// more than by its service.
    async fn asked(&mut self, bed: &Bed, running: &Running, said: usize) -> Vec<String> {
        bed.drained(running).await;
        bed.until("all has left", async || (bed.truth.outbox_backlog().await.unwrap().rows == 0).then_some(())).await;
        let word = |body: &Value| body["type"].as_str().unwrap().to_owned();
        let mut asked: Vec<String> = heard(&mut self.payments).await.iter().map(word).collect();
        asked.extend(heard(&mut self.escrow).await.iter().map(word).filter(|it| !it.starts_with("escrow.")));
        let (own, others): (Vec<String>, Vec<String>) =
            heard(&mut self.shop).await.iter().map(word).partition(|it| SAID.contains(&it.as_str()));
        asked.extend(others);
        // More than the services said was said again by Escrow.
        asked.extend(own.into_iter().skip(said));
        asked.sort();
        asked
    }
}

/// An order that timed out with its retry, one after that, one that failed, one that failed later, one that was cancelled.
async fn five_ways(bed: &Bed, running: &Running, prefix: &str) -> usize {
    let ways: [&[&str]; 5] = [
        &["Placed"],
        &["Placed", "Paid"],
        &["Placed", "Declined"],
        &["Placed", "Paid", "Torn"],
        &["Placed", "Paid", "Cancelled"],
    ];
    let mut said = 0;
    for (way, events) in ways.iter().enumerate() {
        for event in *events {
            bed.event(event, &format!("{prefix}{way}"));
            said += 1;
        }
    }
    bed.drained(running).await;
    for _ in 0..3 {
        bed.pass(running, Span::from_secs(31)).await;
        bed.drained(running).await;
    }
    said
}

#[tokio::test]
async fn no_service_hears_anything_but_tellings() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(SAGA).await;
    let mut services = Services::listen(&bed);
    let said = five_ways(&bed, &running, "").await;
    let stands = [
        "stuck (observe): done, timed_out, pending",
        "stuck (observe): done, done, timed_out",
        "stuck (observe): done, failed, pending",
        "stuck (observe): done, done, failed",
        "stuck (observe): done, done, waiting",
    ];
    for (way, expected) in stands.iter().enumerate().take(4) {
        bed.shows(&way.to_string(), expected).await;
    }
    for way in 0..5 {
        assert!(bed.kinds(&way.to_string()).await.contains(&"would_send"), "{way}");
        for action in [Action::Retry, Action::Compensate, Action::Release] {
            let refused = act(&running, &way.to_string(), action).await;
            assert!(matches!(&refused, Err(CommandError::Misfit(_))), "{way} {action:?} {refused:?}");
        }
    }
    // What sends nothing is a person's to do.
    for (way, action) in [("0", Action::Drop), ("1", Action::Skip), ("2", Action::Close), ("3", Action::Note)] {
        act(&running, way, action).await.unwrap();
    }
    bed.shows("0", "stuck (timed_out): done, timed_out, pending").await;
    bed.shows("1", "completed: done, done, skipped").await;
    assert_eq!(services.asked(&bed, &running, said).await, Vec::<String>::new());

    // In mode `act` each of the same ways asks: the services above would have heard it.
    bed.truth.set_mode("order".into(), Mode::Act, "ann".into(), "it is right".into()).await.unwrap();
    let said = five_ways(&bed, &running, "then-").await;
    let asked = services.asked(&bed, &running, said).await;
    for kind in ["Unplace", "Refund", "Unpack", "Placed", "Paid"] {
        assert!(asked.iter().any(|it| it == kind), "{kind} of {asked:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_change_of_mode_is_for_what_is_decided_after_it() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(SAGA).await;
    let mut services = Services::listen(&bed);
    let set = async |mode| bed.truth.set_mode("order".into(), mode, "ann".into(), "a try".into()).await.unwrap();
    for event in ["Placed", "Declined"] {
        bed.event(event, "withheld");
    }
    bed.drained(&running).await;
    bed.shows("withheld", "stuck (observe): done, failed, pending").await;

    // What was withheld stays so, through another mode, time and a restart.
    set(Mode::Act).await;
    bed.pass(&running, Span::from_secs(600)).await;
    assert_eq!(services.asked(&bed, &running, 2).await, Vec::<String>::new());
    running.stop().await;
    let running = bed.start(true).await;
    bed.drained(&running).await;
    bed.shows("withheld", "stuck (observe): done, failed, pending").await;
    act(&running, "withheld", Action::Release).await.unwrap();
    bed.shows("withheld", "compensating: compensating, failed, pending").await;
    assert_eq!(services.asked(&bed, &running, 0).await, ["Unplace"]);

    // What was decided before stays decided: it was sent, and its answer counts. Nothing more is asked.
    for event in ["Placed", "Paid", "Torn"] {
        bed.event(event, "sent");
    }
    bed.drained(&running).await;
    bed.shows("sent", "compensating: done, compensating, failed").await;
    assert_eq!(services.asked(&bed, &running, 3).await, ["Refund"]);
    set(Mode::Observe).await;
    bed.event("Refunded", "sent");
    bed.shows("sent", "stuck (observe): done, compensated, failed").await;
    bed.pass(&running, Span::from_secs(600)).await;
    assert_eq!(services.asked(&bed, &running, 1).await, Vec::<String>::new());
    running.stop().await;
}
