//! A real Alertmanager: it sees what lasts for as long as it lasts, in one group, and its end.

use serde_json::Value;

use super::stage::Stage;
use crate::support::alertmanager::Alertmanager;
use crate::support::database::Database;
use crate::support::receiver::Receiver;

async fn told(database: Database) {
    let people = Receiver::start().await;
    let alertmanager = Alertmanager::start(&people.url).await;
    // One of its peers is dead.
    let peers = format!("alertmanager: {{ urls: ['{}', 'http://127.0.0.1:1'], every: 1s }}", alertmanager.url);
    let stage = Stage::new(database, &[("am", peers)]);
    stage.run().await;
    let incident = stage.open(1).await;
    assert_eq!(stage.told(&incident).await, ["am trigger: sent"]);
    let one = async || {
        let active = alertmanager.active().await;
        (active.len() == 1).then(|| active[0].clone())
    };
    let first = stage.escrow.until("the Alertmanager shows it", one).await;
    assert_eq!(
        first["labels"],
        serde_json::json!({
            "alertname": "ServiceSilent", "job": "escrow", "instance": "default", "severity": "critical", "saga": "order", "step": "inventory",
        })
    );
    assert!(first["annotations"]["description"].as_str().is_some_and(|it| it.contains("no consumer")), "{first}");
    // It lives for three sayings of a second each. That it is there long after shows that it is said again.
    let ends = |alert: &Value| alert["endsAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let later = stage
        .escrow
        .until("it is said again, well past its first end", async || {
            let alert = one().await?;
            (ends(&alert) > ends(&first) + jiff::SignedDuration::from_secs(4)).then_some(alert)
        })
        .await;
    assert_eq!((&later["startsAt"], &later["fingerprint"]), (&first["startsAt"], &first["fingerprint"]));
    stage.end(&incident).await;
    stage.told(&incident).await;
    let gone = async || alertmanager.active().await.is_empty().then_some(());
    stage.escrow.until("the Alertmanager takes it as over", gone).await;
    let groups = async || {
        let seen = people.seen();
        seen.iter().any(|call| call.body["status"] == "resolved").then_some(seen)
    };
    let groups = stage.escrow.until("people hear of the end", groups).await;
    let told: Vec<_> = groups
        .iter()
        .map(|call| (call.body["status"].clone(), call.body["alerts"].as_array().unwrap().len()))
        .collect();
    assert_eq!(told, [("firing".into(), 1), ("resolved".into(), 1)], "people hear of it twice");
    // The next episode is not ended by the end of the one before, which is still being said.
    let again = stage.open(2).await;
    stage.told(&again).await;
    let second = stage.escrow.until("the next episode is shown", one).await;
    stage
        .escrow
        .until("and stays", async || {
            let alert = one().await.expect("it lasts");
            (ends(&alert) > ends(&second) + jiff::SignedDuration::from_secs(4)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alertmanager_sees_what_lasts_on_postgres() {
    told(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alertmanager_sees_what_lasts_on_sqlite() {
    told(Database::sqlite()).await;
}
