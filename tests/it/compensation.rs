//! A compensation nobody is bound to receive.

use serde_json::json;

use crate::support::choreography::{Reacting, Service};
use crate::support::escrow::Escrow;
use crate::support::{postgres, rabbitmq, services};

const DEFINITION: &str = r#"
saga: order
version: 1
watch: [{ exchange: order_exchange }, { exchange: payment_exchange }]
read: { event: /event_type, order_id: /data/order_id }
steps:
  placed: { done: OrderPlaced }
  payment:
    after: placed
    done: PaymentProcessed
    compensation:
      publish: { event: RefundPayment, exchange: refund_exchange, body: { event_type: RefundPayment, data: { order_id: "{{ order_id }}" } } }
      done: PaymentRefunded
  shipping: { after: payment, done: OrderShipped, within: 1s, on_timeout: compensate }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_nobody_receives_makes_the_order_stuck_and_a_retry_after_binding_mends_it() {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let escrow = Escrow::new(DEFINITION, &postgres::shared().database().await, &url);
    let order = Service::start(&url).await;
    let refunds = services::Service::connect(&url).await;
    refunds.exchange("refund_exchange", lapin::ExchangeKind::Fanout).await;
    escrow.run().await;
    let _payment = Reacting::payment(&url).await;
    escrow.bound().await;
    order.publish("order_exchange", "OrderPlaced", "7").await;

    let stuck = escrow.order_when("7", "is stuck", |order| order["status"] == "stuck").await;
    assert_eq!(stuck["stuck"]["reason"], "compensation_unroutable");
    assert_eq!(stuck["stuck"]["step"], "payment");
    assert!(stuck["why"].as_str().unwrap().contains("RefundPayment"), "it says so: {}", stuck["why"]);

    refunds.queue("refunds").await;
    refunds.bind("refunds", "refund_exchange", "").await;
    let action = json!({"action": "retry", "step": "payment", "reason": "the refund service is bound now"});
    let (status, body) = escrow.post("/v1/sagas/order/orders/7/actions", action).await;
    assert_eq!(status, 202, "{body}");
    escrow.order_when("7", "is asked for again", |order| order["steps"][1]["status"] == "compensating").await;
    order.publish("payment_exchange", "PaymentRefunded", "7").await;
    escrow.order_when("7", "is compensated", |order| order["status"] == "compensated").await;

    let trail = escrow.audit("7").await;
    let asked: Vec<_> = trail.iter().filter(|it| it["kind"] == "compensation").collect();
    let again = trail.iter().find(|entry| entry["kind"] == "command").unwrap();
    assert_eq!(asked[0]["published"][0], again["published"][0], "the same round goes out under the same message id");
}
