//! The demo as a whole, in a few seconds: the same services and the same steps, with short waits.

mod pictures;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::faults::Timing;
use super::stage::{Parts, Stage};
use super::summary::Snapshot;
use crate::config::{DemoConfig, HttpConfig};
use crate::saga::order::{OrderKey, Status};

/// As `sagas/order.yaml`, for people in a hurry.
const QUICK: &str = r#"
saga: order
version: 1
watch:
  - exchange: order_exchange
  - exchange: payment_exchange
  - exchange: inventory_exchange
  - exchange: notification_exchange
read:
  event: /event_type
  order_id: /data/order_id
attributes:
  customer: /data/customer
steps:
  placed:
    done: OrderPlaced
  payment:
    after: placed
    done: PaymentProcessed
    failed: PaymentDeclined
    within: 5s
    on_timeout: compensate
    compensation:
      publish:
        event: RefundPayment
        exchange: payment_exchange
        body: { event_type: RefundPayment, data: { order_id: "{{ order_id }}" } }
      done: PaymentRefunded
      within: 400ms
      retry: { times: 20, every: 400ms }
  inventory:
    after: placed
    done: InventoryReserved
    within: 400ms
    retry: { times: 2, every: 400ms, to: original }
    on_timeout: compensate
    compensation:
      publish:
        event: ReleaseInventory
        exchange: inventory_exchange
        body: { event_type: ReleaseInventory, data: { order_id: "{{ order_id }}" } }
      done: InventoryReleased
      within: 30s
  notification:
    after: [payment, inventory]
    done: NotificationSent
    within: 1s
    on_timeout: skip
within: 5m
brake: none
"#;

/// A machine that is busy with other tests gets there too.
const PATIENCE: Duration = Duration::from_mins(1);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn quick() -> Parts {
    let timing = Timing {
        period: millis(4_000),
        down_after: millis(500),
        down_for: millis(2_000),
        once: true,
        work_max: millis(40),
        late_by: millis(600),
        last_order_after: Some(millis(3_500)),
    };
    Parts { definition: ("quick.yaml".into(), QUICK.into()), timing }
}

fn settings() -> DemoConfig {
    let listen = Some(([127, 0, 0, 1], 0).into());
    DemoConfig {
        run_for: None,
        listen,
        http: HttpConfig::default(),
        rate: 20.0,
        seed: 42,
        amqp_url: None,
        otlp_endpoint: None,
        services_only: false,
    }
}

async fn until(stage: &mut Stage, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = stage.board.look().await.unwrap();
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "{what}, but it is {snapshot:#?}");
        sleep(millis(20)).await;
    }
}

#[tokio::test]
async fn orders_complete_an_outage_leads_to_retries_and_compensation_and_nothing_is_lost() {
    let mut stage = Stage::set(&settings(), quick()).await.unwrap();
    stage.company.open(20.0).await;
    until(&mut stage, "orders are placed until the script ends it", |it| it.elapsed > millis(3_500)).await;
    let end = until(&mut stage, "every order comes to its end", |it| {
        let known: u64 = it.statuses.iter().map(|(_, count)| count).sum();
        known == it.placed && it.statuses.iter().all(|(status, _)| status.is_ended())
    })
    .await;
    let count = |status| end.statuses.iter().find(|(it, _)| *it == status).map_or(0, |(_, count)| *count);
    assert!(end.placed > 10, "{end:#?}");
    assert!(count(Status::Completed) > 0 && count(Status::Compensated) > 0, "{end:#?}");
    let deeds = end.deeds;
    assert!(deeds.retries > 0 && deeds.timeouts > 0 && deeds.completed_after_retry > 0, "{deeds:#?}");
    assert!(deeds.compensations_asked > 0 && deeds.compensations_closed > 0, "{deeds:#?}");
    for number in 1..=end.placed {
        let key = OrderKey { saga: "order".into(), order_id: stage.company.order_id(number) };
        let order = stage.escrow.escrow.store.find_order(key.clone()).await.unwrap();
        assert!(order.is_some(), "{key} is not known");
    }
    stage.company.close().await;
    stage.clear().await;
}

#[tokio::test]
async fn a_taken_address_is_refused_with_the_flag_that_helps() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = DemoConfig { listen: Some(taken.local_addr().unwrap()), ..settings() };
    let error = Stage::set(&settings, quick()).await.err().unwrap();
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_be_run_are_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = super::run(DemoConfig { rate, ..settings() }).await.unwrap_err();
        assert!(error.to_string().contains("--rate"), "{error}");
    }
    let alone = DemoConfig { services_only: true, run_for: Some(millis(1)), ..settings() };
    let error = super::run(alone).await.unwrap_err();
    assert!(error.to_string().contains("--amqp-url"), "{error}");
}

#[test]
fn the_definition_of_the_demo_is_right() {
    let parsed = crate::saga::parse::parse("sagas/order.yaml", super::DEFINITION).unwrap();
    let watched: Vec<_> = parsed.saga.watch.iter().map(|watch| format!("{:?}", watch.place)).collect();
    for exchange in super::services::EXCHANGES {
        assert!(watched.iter().any(|place| place.contains(exchange)), "{exchange} is not watched");
    }
}
