//! `escrow alert`: the file is checked, and each channel tried.

use std::process::{Command, Output};

use super::stage::{SECRET, Stage};
use crate::support::database::Database;
use crate::support::receiver::{Receiver, status};

/// Runs a command of the program against the stage's file, with the secret in the environment or without.
fn alert(stage: &Stage, arguments: &[&str], secret: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_escrow"));
    command
        .arg("alert")
        .args(arguments)
        .arg("--alerts")
        .arg(stage.file())
        .env("NO_COLOR", "1")
        .env_remove("ALERT_SECRET");
    if let Some(secret) = secret {
        command.env("ALERT_SECRET", secret);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_channel_is_tried_and_says_what_came_back() {
    let (pager, hook) = (Receiver::start().await, Receiver::start().await);
    let stage = Stage::new(
        Database::sqlite(),
        &[
            ("hook", format!("webhook: {{ url: '{}/hook', secret: '${{ALERT_SECRET}}' }}", hook.url)),
            ("pager", format!("pagerduty: {{ url: '{}/pager', routing_key: '${{ALERT_SECRET}}' }}", pager.url)),
        ],
    );
    let fine = alert(&stage, &["test"], Some(SECRET));
    assert_eq!(fine.status.code(), Some(0), "{}", said(&fine));
    let types: Vec<_> = hook.seen().iter().map(|call| call.body["type"].clone()).collect();
    assert_eq!(types, ["incident.trigger", "incident.resolve"]);
    assert!(hook.seen().iter().all(|call| call.body["data"]["test"] == true), "they are marked");
    assert!(pager.seen()[0].body["payload"]["summary"].as_str().is_some_and(|it| it.starts_with("[TEST]")));
    assert_eq!(pager.seen()[0].body["dedup_key"], pager.seen()[1].body["dedup_key"]);

    pager.answer([status(429)]);
    let one_fails = alert(&stage, &["test", "-o", "json"], Some(SECRET));
    assert_eq!(one_fails.status.code(), Some(1), "{}", said(&one_fails));
    let rows: serde_json::Value = serde_json::from_slice(&one_fails.stdout).unwrap();
    assert_eq!((&rows[0]["ok"], &rows[1]["ok"]), (&true.into(), &false.into()));
    assert_eq!(rows[1]["trigger"], "not taken: it answered 429");

    let before = pager.seen().len();
    let only = alert(&stage, &["test", "--channel", "hook"], Some(SECRET));
    assert_eq!((only.status.code(), pager.seen().len()), (Some(0), before));
    let nobody = alert(&stage, &["test", "--channel", "hok"], Some(SECRET));
    assert_eq!(nobody.status.code(), Some(3), "{}", said(&nobody));
    for output in [fine, one_fails, only, nobody] {
        assert!(!said(&output).contains(SECRET));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_is_missing_is_named_and_keeps_escrow_from_starting() {
    let stage = Stage::new(
        Database::sqlite(),
        &[("chat", "slack: { url: 'https://x/${ALERT_SECRET}/${NOT_SET}' }".to_owned())],
    );
    let checked = alert(&stage, &["check"], Some(SECRET));
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked).contains("the environment has no `NOT_SET`"), "{}", said(&checked));
    assert!(said(&checked).contains(":3:"), "it has a place: {}", said(&checked));
    stage.escrow.start_as(None, &[]);
    let deadline = std::time::Instant::now() + crate::support::escrow::PATIENCE;
    while stage.escrow.ended().is_none() {
        assert!(std::time::Instant::now() < deadline, "it runs without the variable");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let log = stage.escrow.log_text();
    assert!(log.contains("NOT_SET") && !log.contains(SECRET), "{log}");
}
