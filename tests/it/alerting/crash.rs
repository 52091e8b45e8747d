//! The program is killed at every step of alerting, over a beginning and over an end. Each channel hears of both, and under the keys
//! by which receivers drop repeats, of each once.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use super::stage::Stage;
use crate::crash_matrix::points::named_in_the_sources;
use crate::support::database::Database;
use crate::support::receiver::{Receiver, status};

struct Receivers {
    hook: Receiver,
    pager: Receiver,
    peer: Receiver,
}

async fn dies_everywhere(database: Database) {
    let receivers =
        Receivers { hook: Receiver::start().await, pager: Receiver::start().await, peer: Receiver::start().await };
    let stage = Stage::new(
        database,
        &[
            ("am", format!("alertmanager: {{ urls: ['{}'], every: 1s }}", receivers.peer.url)),
            ("hook", format!("webhook: {{ url: '{}/hook', secret: '${{ALERT_SECRET}}' }}", receivers.hook.url)),
            (
                "pager",
                format!("pagerduty: {{ url: '{}/pager', routing_key: '${{ALERT_SECRET}}' }}", receivers.pager.url),
            ),
        ],
    );
    stage.run().await;
    stage.escrow.kill_9();
    let points: Vec<String> = named_in_the_sources().into_iter().filter(|it| it.starts_with("alerting.")).collect();
    assert!(points.len() >= 8, "the steps were not found in the sources: {points:?}");
    let deaths = points.iter().flat_map(|point| ["before", "after"].map(|edge| format!("{point}:{edge}:1")));
    let mut episode = 0;
    for death in deaths {
        episode += 1;
        let incident = stage.open(episode).await;
        die(&stage, &receivers, &death).await;
        recover(&stage).await;
        stage.told(&incident).await;
        stage.escrow.kill_9();
        stage.end(&incident).await;
        die(&stage, &receivers, &death).await;
        recover(&stage).await;
        let verdicts = stage.told(&incident).await;
        assert!(verdicts.len() == 6 && verdicts.iter().all(|line| line.ends_with(": sent")), "{death}: {verdicts:?}");
        stage.escrow.kill_9();
    }
    receivers.heard_of_each_once(episode);
}

async fn die(stage: &Stage, receivers: &Receivers, death: &str) {
    if death.starts_with("alerting.release") {
        receivers.hook.answer([status(503)]);
    }
    stage.escrow.start_as(None, &[("ESCROW_CRASH_AT", death)]);
    let deadline = std::time::Instant::now() + crate::support::escrow::PATIENCE;
    let ended = loop {
        if let Some(ended) = stage.escrow.ended() {
            break ended;
        }
        assert!(std::time::Instant::now() < deadline, "{death} was not reached\n{}", stage.escrow.log_tail());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(ended.signal(), Some(9), "{death}: it ended by itself\n{}", stage.escrow.log_tail());
}

/// It comes again, and every lease has run out.
async fn recover(stage: &Stage) {
    stage.database.raw("UPDATE notices SET available_at = 0 WHERE state = 'pending'").await.unwrap();
    stage.run().await;
}

impl Receivers {
    fn heard_of_each_once(&self, episodes: u64) {
        let count = usize::try_from(episodes).unwrap();
        let hook = self.hook.seen();
        let keys: BTreeSet<_> = hook.iter().map(|call| call.headers["idempotency-key"].clone()).collect();
        assert_eq!(keys.len(), 2 * count, "one beginning and one end for each episode");
        let bodies: BTreeSet<_> = hook.iter().map(|call| call.text.clone()).collect();
        assert_eq!(bodies.len(), 2 * count, "what has one key is the same");
        // As PagerDuty takes them: the same key is the same alert, and one that is over opens anew.
        let mut alerts: Vec<(String, bool)> = Vec::new();
        for event in self.pager.seen() {
            let key = event.body["dedup_key"].as_str().unwrap().to_owned();
            let is_trigger = event.body["event_action"] == "trigger";
            match alerts.iter_mut().find(|(known, is_open)| *known == key && *is_open) {
                Some((_, is_open)) => *is_open = is_trigger,
                None if is_trigger => alerts.push((key, true)),
                // The end, told again.
                None => assert!(alerts.iter().any(|(known, _)| *known == key), "an end without a beginning: {key}"),
            }
        }
        assert_eq!(alerts.len(), count, "each episode opened one alert, once");
        assert!(alerts.iter().all(|(_, is_open)| !is_open), "each alert is over");
        let peer = self.peer.seen();
        let labels: BTreeSet<String> = peer.iter().flat_map(|call| labels(&call.body)).collect();
        assert_eq!(labels.len(), 1, "to an Alertmanager it is the same alert each time: {labels:?}");
    }
}

fn labels(body: &Value) -> Vec<String> {
    body.as_array().unwrap().iter().map(|alert| alert["labels"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerting_dies_everywhere_on_postgres_and_each_is_told_once() {
    dies_everywhere(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerting_dies_everywhere_on_sqlite_and_each_is_told_once() {
    dies_everywhere(Database::sqlite()).await;
}
