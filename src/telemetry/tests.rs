//! Every metric has words, a row in the document, and a place where somebody sees it.

use std::collections::BTreeMap;

use super::Metrics;
use crate::saga::batch::{Outcome, Tally};
use crate::saga::definition::Saga;
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::{Standing, Told};
use crate::saga::incident::{About, Incident, IncidentStatus};
use crate::saga::order::{Status, StuckReason};
use crate::saga::time::Moment;
use crate::store::{Backlog, OpenCounts, StatusCount, StuckGroup, WaitingCount};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");
const DASHBOARDS: [&str; 2] =
    [include_str!("../../dashboards/grafana/overview.json"), include_str!("../../dashboards/grafana/internals.json")];

fn saga() -> Saga {
    let text = "saga: order\nversion: 1\nwatch: [{ exchange: shop }]\nread: { event: /type, order_id: /order }\n\
                steps:\n  placed: { done: Placed }\n  paid: { after: placed, done: Paid, within: 30s }\n";
    match crate::saga::parse::parse("order.yaml", text) {
        Ok(parsed) => parsed.saga,
        Err(findings) => panic!("{findings:?}"),
    }
}

fn expecting() -> Metrics {
    let metrics = Metrics::new();
    metrics.expect(&saga());
    metrics
}

/// Name, kind and words of every family that has a series.
fn families(text: &str) -> BTreeMap<String, (String, String)> {
    let mut families: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let family = families.entry(name.to_owned()).or_default();
        match what {
            "HELP" => rest.clone_into(&mut family.1),
            "TYPE" => rest.clone_into(&mut family.0),
            _ => {}
        }
    }
    families
}

/// As Prometheus shows it.
fn shown(name: &str, kind: &str) -> String {
    match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    }
}

#[test]
fn every_metric_is_described_documented_and_on_a_dashboard() {
    let metrics = expecting();
    drop(metrics.http_duration.get_or_create(&super::HttpLabels {
        route: "/livez".to_owned(),
        method: "GET".to_owned(),
        code: 200,
    }));
    let families = families(&metrics.encode().unwrap());
    let registered = include_str!("metrics.rs").matches("to.register(").count();
    assert_eq!(families.len(), registered, "a family without a series was not expected: {families:?}");
    for (name, (kind, words)) in &families {
        let shown = shown(name, kind);
        assert!(words.len() > 5 && words.ends_with('.'), "{name} has no description: {words:?}");
        assert!(DOCUMENT.contains(&format!("| `{shown}` |")), "docs/metrics.md has no row for {shown}");
        let used = |text: &str| {
            let ends = |at: usize| !text[at..].starts_with(|it: char| it.is_ascii_lowercase());
            text.match_indices(&shown).any(|(at, found)| {
                let rest = &text[at + found.len()..];
                ends(at + found.len()) && !rest.starts_with("_total")
                    || kind == "histogram" && ["_bucket", "_sum", "_count"].iter().any(|end| rest.starts_with(end))
            })
        };
        assert!(DASHBOARDS.iter().any(|text| used(text)), "no dashboard shows {shown}");
    }
    let documented = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for name in documented.filter(|name| *name != "metric") {
        let known = families.iter().any(|(family, (kind, _))| shown(family, kind) == name);
        assert!(known, "docs/metrics.md has a row for {name}, which is not there");
    }
}

#[test]
fn what_can_be_zero_is_there_from_the_start() {
    let text = expecting().encode().unwrap();
    for line in [
        "escrow_events_total{saga=\"order\",result=\"late\"} 0",
        "escrow_orders_overdue{saga=\"order\",step=\"paid\"} 0",
        "escrow_emissions_total{kind=\"retry\",result=\"withheld\"} 0",
        "escrow_alert_notifications_failed_total{channel=\"pagerduty\"} 0",
        "escrow_incidents_open{cause=\"unbound\"} 0",
        "escrow_order_duration_seconds_count{saga=\"order\",outcome=\"compensated\"} 0",
        "escrow_label_overflow_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("escrow_build_info{version="));
}

#[test]
fn outcomes_grow_with_a_batch() {
    let metrics = expecting();
    let mut tally = Tally { deadlines_fired: 2, ..Tally::default() };
    tally.count(Some("order"), Outcome::Applied);
    tally.count(Some("order"), Outcome::Applied);
    tally.count(None, Outcome::Quarantined);
    metrics.count(&tally);
    let text = metrics.encode().unwrap();
    assert!(text.contains("escrow_events_total{saga=\"order\",result=\"applied\"} 2"), "{text}");
    assert!(text.contains("escrow_events_total{saga=\"\",result=\"quarantined\"} 1"), "{text}");
    assert!(text.contains("escrow_deadlines_fired_total 2"));
}

#[test]
fn a_status_that_emptied_goes_back_to_zero() {
    let metrics = Metrics::new();
    let row = |status, count| StatusCount { saga: "order".to_owned(), status, count };
    metrics.set_stored(&[row(Status::Stuck, 4)], Backlog::default());
    assert!(metrics.encode().unwrap().contains("escrow_orders{saga=\"order\",status=\"stuck\"} 4"));
    metrics.set_stored(&[row(Status::Closed, 4)], Backlog { rows: 2, oldest_at: Some(Moment(1_500_000)) });
    let text = metrics.encode().unwrap();
    assert!(text.contains("escrow_orders{saga=\"order\",status=\"stuck\"} 0"));
    assert!(text.contains("escrow_outbox_oldest_timestamp_seconds 1.5"));
}

fn standing(cause: Cause) -> Standing {
    let incident = Incident {
        about: About::new(cause, "order", None),
        episode: 1,
        status: IncidentStatus::Open,
        count: 1,
        peak: 1,
        first_at: Moment(0),
        last_at: Moment(0),
        opened_at: Moment(0),
        resolved_at: None,
        calm_since: None,
        samples: Vec::new(),
        why: String::new(),
        parent: None,
        acked: None,
    };
    Standing { incident, told: Told::default() }
}

#[test]
fn what_waits_is_counted_by_step_and_by_cause_and_goes_back_to_zero() {
    let metrics = expecting();
    let group = |step: &str, reason, count| StuckGroup {
        saga: "order".to_owned(),
        step: Some(step.to_owned()),
        reason,
        count,
        first_at: Moment(0),
        last_at: Moment(0),
        samples: Vec::new(),
    };
    let waiting = vec![WaitingCount { saga: "order".to_owned(), step: "paid".to_owned(), count: 7 }];
    let open = OpenCounts { waiting, quarantine: vec![("no_event".to_owned(), 3)] };
    let stuck = [
        group("paid", StuckReason::TimedOut, 5),
        group("paid", StuckReason::Held, 2),
        group("placed", StuckReason::Held, 1),
    ];
    let incidents =
        [Cause::Stuck(StuckReason::TimedOut), Cause::Stuck(StuckReason::Held), Cause::Unbound, Cause::Blind];
    let mut incidents: Vec<Standing> = incidents.into_iter().map(standing).collect();
    incidents.push(incidents[3].clone());
    metrics.set_open(&open, &stuck, &incidents);
    let text = metrics.encode().unwrap();
    for line in [
        "escrow_orders_waiting{saga=\"order\",step=\"paid\"} 7",
        "escrow_orders_overdue{saga=\"order\",step=\"paid\"} 5",
        "escrow_quarantine_open{reason=\"no_event\"} 3",
        "escrow_incidents_open{cause=\"timed_out\"} 1",
        "escrow_incidents_open{cause=\"held\"} 1",
        "escrow_incidents_open{cause=\"unbound\"} 1",
        "escrow_incidents_open{cause=\"blind\"} 2",
        "escrow_incidents_open{cause=\"service_silent\"} 0",
        "escrow_deadlines_held{reason=\"held\"} 3",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    metrics.set_open(&OpenCounts::default(), &[], &[]);
    let text = metrics.encode().unwrap();
    assert!(text.contains("escrow_orders_waiting{saga=\"order\",step=\"paid\"} 0"));
    assert!(text.contains("escrow_incidents_open{cause=\"held\"} 0"));
}
