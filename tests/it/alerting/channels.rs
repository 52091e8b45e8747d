//! Slack, PagerDuty, a signed webhook and a mailbox: each told once, whatever they answer first.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;

use super::stage::{SECRET, Stage};
use crate::support::database::Database;
use crate::support::mail_server::MailServer;
use crate::support::receiver::{Receiver, Reply, Seen, status};

fn of<'s>(seen: &'s [Seen], path: &str) -> Vec<&'s Seen> {
    seen.iter().filter(|call| call.path == path).collect()
}

fn is_signed(call: &Seen) -> bool {
    let header = |name: &str| call.headers.get(name).cloned().unwrap_or_default();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), call.text);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    header("webhook-signature") == format!("v1,{expected}") && header("idempotency-key") == header("webhook-id")
}

async fn each_is_told_once(database: Database) {
    let (slack, pager, hook, elsewhere) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let mailbox = MailServer::start().await;
    // For a while nobody takes anything.
    let wait = || Reply { headers: vec![("retry-after", "1".to_owned())], ..status(429) };
    pager.answer([wait(), wait(), wait()]);
    hook.answer([status(500), status(503)]);
    slack.answer([Reply { headers: vec![("location", format!("{}/stolen", elsewhere.url))], ..status(302) }]);
    mailbox.put_off(1);
    let stage = Stage::new(
        database,
        &[
            ("chat", format!("slack: {{ url: '{}/chat' }}", slack.url)),
            ("hook", format!("webhook: {{ url: '{}/hook', secret: '${{ALERT_SECRET}}' }}", hook.url)),
            (
                "mail",
                format!(
                    "email: {{ smtp: '{}', tls: plain, from: escrow@example.org, to: ada@example.org }}",
                    mailbox.address
                ),
            ),
            ("pager", format!("pagerduty: {{ url: '{}/pager', routing_key: '${{ALERT_SECRET}}' }}", pager.url)),
        ],
    );
    stage.run().await;
    let incident = stage.open(1).await;
    assert_eq!(
        stage.told(&incident).await,
        ["chat trigger: sent", "hook trigger: sent", "mail trigger: sent", "pager trigger: sent"]
    );
    stage.end(&incident).await;
    stage.told(&incident).await;
    assert!(elsewhere.seen().is_empty(), "a redirect was followed");
    // The first calls were refused; of those that were taken, there is one each.
    assert_eq!(of(&slack.seen(), "/chat").len(), 1 + 2);
    assert_eq!(hook.seen().len(), 2 + 2);
    assert_eq!(pager.seen().len(), 3 + 2);
    assert!(hook.seen().iter().all(is_signed));
    let types: Vec<Value> = hook.seen()[2..].iter().map(|call| call.body["type"].clone()).collect();
    assert_eq!(types, ["incident.trigger", "incident.resolve"]);
    let ids: Vec<_> = hook.seen().iter().map(|call| call.headers["idempotency-key"].clone()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    let events: Vec<_> = pager.seen()[3..]
        .iter()
        .map(|call| (call.body["event_action"].clone(), call.body["dedup_key"].clone()))
        .collect();
    assert_eq!((&events[0].0, &events[1].0), (&Value::from("trigger"), &Value::from("resolve")));
    assert_eq!(events[0].1, events[1].1);
    let text = slack.seen()[1].body["text"].as_str().unwrap().to_owned();
    assert!(text.contains("10,000 orders") && text.contains("`order-9`"), "{text}");
    assert!(text.contains(&format!("https://escrow.example.org/incidents/{}", incident.about.id())), "{text}");
    let mails = mailbox.mails();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(
        mails[0].contains("Subject: [CRITICAL] service silent") && mails[0].contains("To: ada@example.org"),
        "{}",
        mails[0]
    );
    assert!(mails[1].contains("Subject: [RESOLVED]"), "{}", mails[1]);
    assert!(!stage.escrow.log_text().contains(SECRET), "a secret is in the log");
    assert_eq!(stage.escrow.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_channel_is_told_once_on_postgres() {
    each_is_told_once(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_channel_is_told_once_on_sqlite() {
    each_is_told_once(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_settled_and_shown_and_a_dead_channel_holds_up_no_other() {
    let (refusing, fine, mailbox) = (Receiver::start().await, Receiver::start().await, MailServer::start().await);
    let no = Reply { body: "no such key: c0rrect-h0rse-battery", ..status(400) };
    refusing.answer([no.clone(), no]);
    let stage = Stage::new(
        Database::sqlite(),
        &[
            ("dead", "slack: { url: 'http://127.0.0.1:1/chat' }".to_owned()),
            ("hook", format!("webhook: {{ url: '{}/hook', secret: '${{ALERT_SECRET}}' }}", fine.url)),
            // It has no TLS, and nothing is said to it in the clear.
            (
                "mail",
                format!("email: {{ smtp: '{}', from: escrow@example.org, to: ada@example.org }}", mailbox.address),
            ),
            ("pager", format!("pagerduty: {{ url: '{}/pager', routing_key: '${{ALERT_SECRET}}' }}", refusing.url)),
        ],
    );
    stage.run().await;
    let incident = stage.open(1).await;
    stage.end(&incident).await;
    let shown = stage
        .escrow
        .until("the others are told, and what is wrong is shown", async || {
            let problems = stage.escrow.get("/v1/status").await?["problems"].to_string();
            let verdicts = crate::support::incidents::verdicts(&stage.database, &incident).await;
            let settled = verdicts.iter().filter(|line| !line.ends_with("pending")).count();
            let all_shown =
                ["dead", "mail", "pager"].iter().all(|name| problems.contains(&format!("alert channel {name} ")));
            (settled == 4 && all_shown).then_some((problems, verdicts))
        })
        .await;
    let (problems, verdicts) = shown;
    assert_eq!(fine.seen().len(), 2, "the fine channel knows the beginning and the end");
    assert_eq!(
        verdicts,
        [
            "dead resolve: pending",
            "dead trigger: pending",
            "hook resolve: sent",
            "hook trigger: sent",
            "mail resolve: pending",
            "mail trigger: pending",
            "pager resolve: refused: it answered 400: no such key: …",
            "pager trigger: refused: it answered 400: no such key: …",
        ]
    );
    assert!(
        problems.contains("pager refuses what it is told: it answered 400: no such key: …; check `routing_key`"),
        "{problems}"
    );
    let words = mailbox.words();
    assert!(!words.iter().any(|word| word.starts_with("MAIL")), "mail in the clear: {words:?}");
    let metrics = reqwest::get(stage.escrow.url("/metrics")).await.unwrap().text().await.unwrap();
    for line in [
        "escrow_alert_notifications_failed_total{channel=\"pagerduty\"} 2",
        "escrow_alert_notifications_total{channel=\"webhook\"} 2",
        "escrow_alert_notifications_failed_total{channel=\"webhook\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let log = stage.escrow.log_text();
    assert!(!log.contains(SECRET) && !problems.contains(SECRET), "a secret is shown");
    assert!(log.contains("a channel refuses an alert"), "{log}");
}
