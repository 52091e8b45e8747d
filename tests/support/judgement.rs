//! The judgement every outage ends with: what was published against what Escrow made of it.
//!
//! Each published event is in the trail of its order, once. What was answered in time was neither timed out nor undone; what
//! was never answered timed out once, and was undone under one message id for each step. Every trail verifies, the outbox is
//! empty, Escrow is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::escrow::Escrow;
use super::scene::{Fate, Scene};

/// Kinds of entries that say what became of an event.
const HEARD: [&str; 4] = ["event", "late", "repeated", "conflict"];

impl Scene {
    /// A few more orders, all of them to their end, and the judgement: nothing was in doubt.
    pub async fn finish(&self) {
        self.place(Fate::Answered, 2).await;
        self.place(Fate::Silent, 2).await;
        self.settle().await;
        let status = self.escrow().get("/v1/status").await.expect("the status");
        assert_eq!(status["doubts"]["gaps"], 0, "nothing was missed: {status}");
        self.judge().await;
    }

    /// Waits until every order has come to its end and nothing is left to be sent.
    async fn settle(&self) {
        let escrow = self.escrow();
        escrow.ready().await;
        let orders = self.fates();
        for (order, fate) in &orders {
            let meant = self.may_end(order, *fate);
            escrow.order_when(order, &format!("is {meant:?}"), |it| meant.iter().any(|end| it["status"] == *end)).await;
        }
        drained(escrow).await;
    }

    /// How an order may end. One that was answered too late on a slow machine may have timed out.
    fn may_end(&self, order: &str, fate: Fate) -> &'static [&'static str] {
        match fate {
            Fate::Answered => &["completed"],
            Fate::Waiting if self.was_in_time(order) => &["completed"],
            Fate::Waiting => &["completed", "compensated"],
            Fate::Silent => &["compensated"],
        }
    }

    async fn judge(&self) {
        let (asked, answered) = self.undoing.heard();
        let mut published: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let said = self.said.lock().unwrap().clone();
        let events = said.iter().map(|(id, said)| (id, &said.order));
        for (id, order) in events.chain(answered.iter().map(|(id, (order, _))| (id, order))) {
            published.entry(order.clone()).or_default().insert(id.clone());
        }
        let mut wrong = Vec::new();
        let orders = self.fates();
        for (order, fate) in &orders {
            let trail = self.escrow().audit(order).await;
            applied_once(order, &trail, &published[order], &mut wrong);
            let in_time = *fate == Fate::Answered || (*fate == Fate::Waiting && self.was_in_time(order));
            match fate {
                _ if in_time => unharmed(order, &trail, &mut wrong),
                Fate::Silent => undone_once(order, &trail, &asked, &mut wrong),
                Fate::Answered | Fate::Waiting => {}
            }
            if in_time && asked.keys().any(|(of, _)| of == order) {
                wrong.push(format!("{order} was answered in time, and a service was asked to undo it"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        verified(self.escrow());
        let quarantined = self.escrow().get("/v1/quarantine").await.expect("the quarantine");
        assert_eq!(quarantined["messages"], serde_json::json!([]), "every message could be read and placed");
    }
}

/// Each message the services published is in the trail once.
fn applied_once(order: &str, trail: &[Value], published: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let heard = trail.iter().filter(|entry| HEARD.iter().any(|kind| entry["kind"] == *kind));
    let mut ids: Vec<&str> = heard.filter_map(|entry| entry["message"]["id"].as_str()).collect();
    ids.sort_unstable();
    if !ids.iter().copied().eq(published.iter().map(String::as_str)) {
        wrong.push(format!("{order}: published {published:?}, in its trail {ids:?}"));
    }
}

/// No deadline fired and nothing was sent.
fn unharmed(order: &str, trail: &[Value], wrong: &mut Vec<String>) {
    for kind in ["deadline", "retry", "withheld", "compensation"] {
        if let Some(entry) = trail.iter().find(|entry| entry["kind"] == kind) {
            wrong.push(format!("{order} was answered in time, and yet: {entry}"));
        }
    }
}

/// Timed out once, and each step undone under one message id, that of its trail.
fn undone_once(order: &str, trail: &[Value], asked: &BTreeMap<(String, String), Vec<String>>, wrong: &mut Vec<String>) {
    let of = |kind: &str| trail.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
    let fired: Vec<_> = of("deadline").iter().map(|entry| entry["name"].clone()).collect();
    if fired != ["inventory"] {
        wrong.push(format!("{order}: deadlines fired: {fired:?}"));
    }
    for event in ["RefundPayment", "ReleaseInventory"] {
        let decided: Vec<_> = of("compensation").into_iter().filter(|entry| entry["name"] == event).collect();
        let [decision] = decided.as_slice() else {
            wrong.push(format!("{order}: {event} was decided {} times", decided.len()));
            continue;
        };
        let ids: BTreeSet<&String> = asked.get(&(order.to_owned(), event.to_owned())).into_iter().flatten().collect();
        let known =
            |id: &&String| decision["published"].as_array().is_some_and(|all| all.iter().any(|it| it == id.as_str()));
        if ids.len() != 1 || !ids.iter().all(known) {
            wrong.push(format!("{order}: {event} came under {ids:?}, its trail says {}", decision["published"]));
        }
    }
}

/// Waits until nothing is left to be sent.
pub async fn drained(escrow: &Escrow) {
    let empty = async || (escrow.get("/v1/status").await?["outbox"]["rows"] == 0).then_some(());
    escrow.until("the outbox is empty", empty).await;
}

/// Every trail folds to what is stored.
pub fn verified(escrow: &Escrow) {
    let verified = tokio::task::block_in_place(|| escrow.command(&["audit", "verify"]));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Asks `/livez` again and again: whatever breaks around it, the process answers.
pub struct Alive {
    silent: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Alive {
    /// Asks this Escrow from now on.
    pub fn watch(escrow: &Escrow) -> Self {
        let (url, silent) = (escrow.url("/livez"), Arc::new(AtomicBool::new(false)));
        let was_silent = Arc::clone(&silent);
        let task = tokio::spawn(async move {
            let client = reqwest::Client::new();
            loop {
                let answer = client.get(&url).timeout(Duration::from_secs(20)).send().await;
                if !answer.is_ok_and(|answer| answer.status().is_success()) {
                    was_silent.store(true, Ordering::Release);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { silent, task }
    }

    /// It has answered all along.
    pub fn was_alive(self) {
        assert!(!self.silent.load(Ordering::Acquire), "/livez did not answer");
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.task.abort();
    }
}
