//! `escrow saga`, `escrow incident`, `escrow quarantine`.

use reqwest::Method;
use serde_json::{Value, json};

use super::args::{IncidentCommand, QuarantineCommand, SagaCommand};
use super::client::Client;
use super::coverage;
use super::failure::Failure;
use super::listing::Listing;
use super::migrate;
use super::output::{Column, Output, Said, Shape, at, card, when};

const SAGAS: Shape = Shape {
    columns: &[
        ("SAGA", |row| at(row, "/saga")),
        ("VERSION", |row| at(row, "/version")),
        ("MODE", |row| at(row, "/mode")),
        ("SIGHT", |row| at(row, "/sight")),
        ("ORDERS", |row| at(row, "/orders")),
        ("AS OF", |row| when(row, "/as_of")),
    ],
    fields: &[
        "saga",
        "version",
        "mode",
        "sight",
        "sight_detail",
        "steps",
        "orders",
        "brake.counted",
        "brake.latched_at",
        "unbound",
        "as_of",
    ],
};

const STEPS: [Column; 6] = [
    ("STEP", |row| at(row, "/step")),
    ("AFTER", |row| at(row, "/after")),
    ("DONE", |row| at(row, "/done")),
    ("FAILED", |row| at(row, "/failed")),
    ("WITHIN", |row| at(row, "/within")),
    ("COMPENSATION", |row| at(row, "/compensation")),
];

const INCIDENTS: Shape = Shape {
    columns: &[
        ("ID", |row| at(row, "/id")),
        ("STATUS", |row| at(row, "/status")),
        ("COUNT", |row| at(row, "/count")),
        ("SAGA", |row| at(row, "/saga")),
        ("STEP", |row| at(row, "/step")),
        ("CAUSE", |row| at(row, "/cause")),
        ("SINCE", |row| when(row, "/first_at")),
        ("WHY", |row| at(row, "/why")),
    ],
    fields: &[
        "id", "cause", "saga", "step", "status", "count", "peak", "first_at", "last_at", "why", "samples", "parent",
        "acked_by",
    ],
};

const NOTICES: [Column; 6] = [
    ("TOLD", |row| at(row, "/channel")),
    ("WHAT", |row| at(row, "/kind")),
    ("STATE", |row| at(row, "/state")),
    ("TRIES", |row| at(row, "/tries")),
    ("AT", |row| when(row, if row["settled_at"].is_null() { "/created_at" } else { "/settled_at" })),
    ("LAST TROUBLE", |row| at(row, "/problem")),
];

const EPISODES: [Column; 4] = [
    ("EPISODE", |row| at(row, "/episode")),
    ("FIRST", |row| when(row, "/first_at")),
    ("OVER SINCE", |row| when(row, "/resolved_at")),
    ("AT MOST", |row| at(row, "/peak")),
];

const QUARANTINE: Shape = Shape {
    columns: &[
        ("ID", |row| at(row, "/id")),
        ("AT", |row| when(row, "/at")),
        ("REASON", |row| at(row, "/reason")),
        ("SAGA", |row| at(row, "/saga")),
        ("EXCHANGE", |row| at(row, "/exchange")),
        ("EVENT", |row| at(row, "/event")),
        ("DETAIL", |row| at(row, "/detail")),
    ],
    fields: &[
        "id",
        "at",
        "reason",
        "detail",
        "saga",
        "event",
        "order_id",
        "exchange",
        "routing_key",
        "envelope",
        "body",
        "body_base64",
        "body_bytes",
        "resolved",
        "resolved_by",
        "resolved_reason",
    ],
};

/// `escrow saga`
pub async fn saga(client: &Client, command: SagaCommand, output: Output) -> Result<Said, Failure> {
    match command {
        SagaCommand::List(page) => {
            let list = Listing { parts: &["v1", "sagas"], query: &[], name: "sagas", shape: &SAGAS };
            list.show(client, &page, output).await
        }
        SagaCommand::Show { saga, watch } => {
            let look = async || {
                let found = client.get(&["v1", "sagas", &saga], &[]).await?;
                Ok(output.one(&found, |it| show_saga(it, output)))
            };
            watch.follow(output, look).await
        }
        SagaCommand::Events { saga, watch } => {
            watch.follow(output, async || coverage::look(client, &saga, output).await).await
        }
        SagaCommand::Mode { saga, mode, reason } => {
            let body = json!({"mode": mode, "reason": reason});
            let answer = client.ask(Method::PUT, &["v1", "sagas", &saga, "mode"], &body, None).await?;
            Ok(output.one(&answer, |it| format!("saga {} is in mode {}\n", at(it, "/saga"), at(it, "/mode"))))
        }
        SagaCommand::Version { saga, version, reason } => {
            migrate::version(client, &saga, version, &reason, output).await
        }
        SagaCommand::Migrate(orders) => migrate::migrate(client, &orders, output).await,
        SagaCommand::Brake { saga, reason: Some(reason), reset: _ } => {
            let parts = ["v1", "sagas", &saga, "brake", "reset"];
            let answer = client.ask(Method::POST, &parts, &json!({"reason": reason}), None).await?;
            Ok(output.one(&answer, show_reset))
        }
        SagaCommand::Brake { saga, reason: None, reset: _ } => {
            let found = client.get(&["v1", "sagas", &saga], &[]).await?;
            let brake = json!({"saga": found["saga"], "brake": found["brake"]});
            Ok(output.one(&brake, |it| format!("{}\n", brake_in_words(&it["brake"]))))
        }
    }
}

/// The brake in one line.
pub fn brake_in_words(brake: &Value) -> String {
    if brake.is_null() {
        return "none".to_owned();
    }
    let counted = format!("{} of {} counted within {}", at(brake, "/counted"), at(brake, "/orders"), at(brake, "/per"));
    match when(brake, "/latched_at") {
        since if since.is_empty() => counted,
        since => format!("holds since {since} ({counted})"),
    }
}

fn show_reset(answer: &Value) -> String {
    let since = when(answer, "/was_latched_at");
    let was = if since.is_empty() { "it did not hold".to_owned() } else { format!("it had held since {since}") };
    let held = match &answer["held"] {
        none if *none == 0 => String::new(),
        one if *one == 1 => "1 order stays held: `release` or `drop` it\n".to_owned(),
        held => format!("{held} orders stay held: `escrow order release --reason-filter held` or `drop` them\n"),
    };
    format!("the brake of saga {} is off; {was}\n{held}", at(answer, "/saga"))
}

fn show_saga(saga: &Value, output: Output) -> String {
    let steps = saga["definition"].as_array().map_or(&[][..], Vec::as_slice);
    let versions = saga["versions"].as_array().into_iter().flatten();
    let versions: Vec<String> =
        versions.map(|it| format!("{} ({} open)", at(it, "/version"), at(it, "/open_orders"))).collect();
    let head = card(&[
        ("saga", at(saga, "/saga")),
        ("mode", at(saga, "/mode")),
        ("sight", format!("{} {}", at(saga, "/sight"), at(saga, "/sight_detail")).trim_end().to_owned()),
        ("brake", brake_in_words(&saga["brake"])),
        ("versions", versions.join(", ")),
        ("orders", at(saga, "/orders")),
        ("watches", at(saga, "/watch")),
        ("unbound", at(saga, "/unbound")),
        ("within", at(saga, "/within")),
        ("as of", when(saga, "/as_of")),
    ]);
    format!("{head}\n{}", output.table(steps, &STEPS))
}

/// `escrow incident`
pub async fn incident(client: &Client, command: IncidentCommand, output: Output) -> Result<Said, Failure> {
    match command {
        IncidentCommand::List { status, page } => {
            let query: Vec<(&str, &str)> = status.iter().map(|status| ("status", status.as_str())).collect();
            let list = Listing { parts: &["v1", "incidents"], query: &query, name: "incidents", shape: &INCIDENTS };
            list.show(client, &page, output).await
        }
        IncidentCommand::Show { id } => {
            let found = client.get(&["v1", "incidents", &id], &[]).await?;
            Ok(output.one(&found, |it| show_incident(it, output)))
        }
        IncidentCommand::Ack { id, reason } => {
            let parts = ["v1", "incidents", &id, "ack"];
            let answer = client.ask(Method::POST, &parts, &json!({"reason": reason}), None).await?;
            let said = |it: &Value| format!("incident {} is acknowledged by {}\n", at(it, "/id"), at(it, "/acked_by"));
            Ok(output.one(&answer, said))
        }
    }
}

fn show_incident(incident: &Value, output: Output) -> String {
    let acked = match at(incident, "/acked_by") {
        nobody if nobody.is_empty() => nobody,
        who => format!("by {who}: {}", at(incident, "/acked_reason")),
    };
    let head = card(&[
        ("incident", at(incident, "/id")),
        ("cause", at(incident, "/cause")),
        ("saga", at(incident, "/saga")),
        ("step", at(incident, "/step")),
        ("status", at(incident, "/status")),
        ("why", at(incident, "/why")),
        ("orders", format!("{} now, {} at most", at(incident, "/count"), at(incident, "/peak"))),
        ("first", when(incident, "/first_at")),
        ("last", when(incident, "/last_at")),
        ("over since", when(incident, "/resolved_at")),
        ("samples", at(incident, "/samples")),
        ("explained by", at(incident, "/parent")),
        ("explains", at(incident, "/children")),
        ("acknowledged", acked),
        ("told", at(incident, "/told_to")),
    ]);
    let part = |name: &str, columns: &[Column]| match incident[name].as_array().filter(|rows| !rows.is_empty()) {
        Some(rows) => format!("\n{}", output.table(rows, columns)),
        None => String::new(),
    };
    format!("{head}{}{}", part("notices", &NOTICES), part("episodes", &EPISODES))
}

/// `escrow quarantine`
pub async fn quarantine(client: &Client, command: QuarantineCommand, output: Output) -> Result<Said, Failure> {
    let (id, verb, body) = match command {
        QuarantineCommand::List { saga, reason, exchange, resolved, page } => {
            let named = [("saga", &saga), ("reason", &reason), ("exchange", &exchange)];
            let mut query: Vec<(&str, &str)> =
                named.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
            if resolved {
                query.push(("resolved", "true"));
            }
            let list = Listing { parts: &["v1", "quarantine"], query: &query, name: "messages", shape: &QUARANTINE };
            return list.show(client, &page, output).await;
        }
        QuarantineCommand::Replay { id, order_id, reason } => {
            (id.to_string(), "replay", json!({"reason": reason, "order_id": order_id}))
        }
        QuarantineCommand::Drop { id, reason } => (id.to_string(), "drop", json!({"reason": reason})),
    };
    let answer = client.ask(Method::POST, &["v1", "quarantine", &id, verb], &body, None).await?;
    Ok(output.one(&answer, |it| format!("message {} is {}\n", at(it, "/id"), at(it, "/resolved"))))
}
