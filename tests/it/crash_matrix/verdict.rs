//! What must hold after all the deaths: every order where it belongs, and nothing lost, doubled or left over.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::stage::{Stage, act, post_event};
use crate::support::escrow::Escrow;

/// What the trail of an order must hold: entries of each kind, by name.
type Trail = BTreeMap<(String, String), usize>;

impl Stage {
    /// Waits until everything came to its end, and holds it to that.
    pub async fn judge(&self) {
        let escrow = self.alive();
        self.line().await;
        self.finish(escrow).await;
        self.nothing_is_left(escrow).await;
        for name in &self.sets {
            self.order(escrow, "order", &format!("{name}.good"), "completed", &GOOD).await;
            self.order(escrow, "order", &format!("{name}.bad"), "compensated", &BAD).await;
            self.order(escrow, "parcel", name, "stuck", &PARCEL).await;
        }
        for number in 1..=self.sets.len() {
            self.order(escrow, "line", &format!("arrival-{number}"), "completed", &LINE).await;
        }
        for ((what, order_id), ids) in self.services.seen() {
            assert_eq!(ids.len(), 1, "{what} of {order_id} went out under several ids: {ids:?}");
        }
        let verified = escrow.command(&["audit", "verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }

    /// Each message of the line is in the trail of one order, although nothing but the broker tells it from a repeat.
    async fn line(&self) {
        let text = if self.database.is_postgres() { "convert_from(body, 'UTF8')" } else { "CAST(body AS text)" };
        let applied = format!("SELECT {text} AS body FROM payloads WHERE saga = 'line'");
        let escrow = self.alive();
        let bodies = escrow
            .until("the line is applied", async || {
                let bodies = self.database.lines(&applied, "body").await;
                (bodies.len() >= 2 * self.sets.len()).then_some(bodies)
            })
            .await;
        let mut times = BTreeMap::<String, usize>::new();
        for body in bodies {
            let number = serde_json::from_str::<Value>(&body).unwrap()["number"].as_u64().unwrap();
            let set = &self.sets[usize::try_from(number).unwrap()];
            *times.entry(format!("{set}: {body}")).or_default() += 1;
        }
        times.retain(|_, times| *times > 1);
        assert!(times.is_empty(), "messages without an id were applied more than once: {times:#?}");
    }

    /// What was interrupted is asked for again, as whoever asked would; then everything comes to its end.
    async fn finish(&self, escrow: &Escrow) {
        for (order_ids, events) in
            [(&self.letters, ["LetterWritten", "LetterPosted"]), (&self.closed, ["LetterWritten", "LetterWritten"])]
        {
            for order_id in order_ids {
                for event in events {
                    assert!(post_event(escrow, event, order_id).await, "{event} of {order_id} is taken");
                }
            }
        }
        for order_id in &self.closed {
            let status = act(escrow, "letter", order_id, "close").await;
            assert!(matches!(status, Some(202 | 409)), "{order_id} is closed now, or was: {status:?}");
        }
        let sets = self.sets.len();
        let expected = json!({
            "order": {"completed": sets, "compensated": sets}, "parcel": {"stuck": sets}, "line": {"completed": sets},
            "letter": {"completed": self.letters.len(), "closed": self.closed.len()},
        });
        let last = Mutex::new(Value::Null);
        let what = || format!("every order comes to its end as {expected}; they are {}", last.lock().unwrap());
        escrow
            .until_with(what, async || {
                let status = escrow.get("/v1/status").await?;
                *last.lock().unwrap() =
                    status["sagas"].as_array()?.iter().map(|it| json!([it["saga"], it["orders"]])).collect();
                let of = |saga: &str| {
                    status["sagas"].as_array()?.iter().find(|it| it["saga"] == saga).map(|it| &it["orders"])
                };
                let holds = |saga: &str, wanted: &Value| {
                    let counts = of(saga)?.as_object()?.iter().filter(|(_, count)| **count != 0);
                    let wanted = wanted.as_object()?.iter().filter(|(_, count)| **count != 0);
                    Some(counts.eq(wanted))
                };
                let all = expected.as_object()?.iter().all(|(saga, wanted)| holds(saga, wanted) == Some(true));
                if !all {
                    // One of them is why, should it stay so.
                    let stuck = escrow.get("/v1/orders?saga=order&status=stuck,compensating,running&limit=3").await?;
                    last.lock().unwrap().as_array_mut()?.push(stuck["orders"].clone());
                }
                all.then_some(())
            })
            .await;
    }

    async fn nothing_is_left(&self, escrow: &Escrow) {
        escrow
            .until("the outbox is empty", async || {
                (escrow.get("/v1/status").await?["outbox"]["rows"] == 0).then_some(())
            })
            .await;
        escrow
            .until("the tap is empty", async || {
                let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
                let tap = self.service.channel.queue_declare(super::stage::TAP.into(), look, FieldTable::default());
                (tap.await.ok()?.message_count() == 0).then_some(())
            })
            .await;
        escrow
            .until("the quarantine is empty", async || {
                let listed = escrow.get("/v1/quarantine?limit=500").await?;
                for message in listed["messages"].as_array()? {
                    assert_eq!(message["exchange"], "odd_exchange", "only what is odd is kept: {message}");
                }
                (self.drop_quarantined(escrow).await? == 0).then_some(())
            })
            .await;
    }

    async fn order(&self, escrow: &Escrow, saga: &str, order_id: &str, status: &str, expected: &[(&str, &str, usize)]) {
        let path = format!("/v1/sagas/{saga}/orders/{order_id}");
        let order = escrow.get(&path).await.unwrap_or_else(|| panic!("{saga}/{order_id} is there"));
        assert_eq!(order["status"], status, "{order}");
        let entries = escrow.get(&format!("{path}/audit?limit=500")).await.unwrap();
        let mut trail = Trail::new();
        for entry in entries["entries"].as_array().unwrap() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            // Whether a retry goes out depends on what else waits in the queue at that moment.
            let kind = text("kind").replace("withheld", "retry");
            if kind != "confirmation" {
                *trail.entry((kind, text("name"))).or_default() += 1;
            }
        }
        let expected: Trail = expected
            .iter()
            .map(|(kind, name, count)| ((*kind).into(), (*name).into(), *count))
            .map(|(kind, name, count): (String, String, usize)| ((kind, name), count))
            .collect();
        assert_eq!(trail, expected, "{saga}/{order_id}\n{}", entries["entries"]);
    }
}

const GOOD: [(&str, &str, usize); 3] =
    [("event", "OrderPlaced", 1), ("event", "PaymentProcessed", 1), ("event", "InventoryReserved", 1)];

const BAD: [(&str, &str, usize); 8] = [
    ("event", "OrderPlaced", 1),
    ("event", "PaymentProcessed", 1),
    ("retry", "inventory", 1),
    ("deadline", "inventory", 1),
    ("compensation", "RefundPayment", 1),
    ("compensation", "ReleaseInventory", 1),
    ("event", "PaymentRefunded", 1),
    ("event", "InventoryReleased", 1),
];

const PARCEL: [(&str, &str, usize); 3] =
    [("event", "ParcelPacked", 1), ("deadline", "sent", 1), ("compensation", "UnpackParcel", 1)];

const LINE: [(&str, &str, usize); 2] = [("event", "LineAsked", 1), ("event", "LineAnswered", 1)];
