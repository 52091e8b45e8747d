//! Alertmanager's words: API v2, which is about what is so, not about what happened.
//!
//! An alert is its labels: identity alone, so that it is the same alert however many orders it is about. What changes stands in
//! annotations. It fires until `endsAt`, which is pushed on each time it is said again; when its incident is resolved, `endsAt` is
//! that moment.
//!
//! ```text
//!   open      startsAt = opened, endsAt = now + 3 × every       again every `every`
//!   resolved  startsAt = opened, endsAt = resolved              again for five minutes
//! ```

use serde_json::{Value, json};

use super::call::Call;
use super::render::Alert;
use super::secret::Secret;
use crate::saga::incident::IncidentStatus;
use crate::saga::time::{Moment, Span};

/// What is resolved is said again this long, for peers that were away.
pub const RESOLVED_FOR: Span = Span::from_secs(300);

/// Of how many sayings one may be lost before an alert ends by itself.
const EVERY_TIMES: i64 = 3;

/// The call that tells one peer of all of them.
pub(super) fn call(alerts: &[Alert], url: &Secret, every: Span, now: Moment) -> Call {
    let posted: Vec<Value> = alerts.iter().map(|alert| posted(alert, every, now)).collect();
    let url = Secret::new(format!("{}/api/v2/alerts", url.expose().trim_end_matches('/')));
    Call::post(url, &Value::Array(posted))
}

fn posted(alert: &Alert, every: Span, now: Moment) -> Value {
    let incident = &alert.notice.incident;
    let mut labels = json!({
        "alertname": camel_case(&incident.about.cause),
        "job": "escrow",
        "instance": alert.instance,
        "severity": alert.severity.word(),
    });
    if !incident.about.saga.is_empty() {
        labels["saga"] = Value::String(incident.about.saga.clone());
    }
    if let Some(step) = &incident.about.step {
        labels["step"] = Value::String(step.clone());
    }
    let mut annotations = json!({"summary": alert.title(), "description": alert.why()});
    for (name, fact) in alert.facts() {
        let name = match name {
            "Why" => continue,
            "Runbook" => "runbook_url".to_owned(),
            other => other.to_lowercase().replace(' ', "_"),
        };
        annotations[name] = Value::String(fact);
    }
    let ends_at = match (incident.status, incident.resolved_at) {
        (IncidentStatus::Open, _) => now + Span(every.0 * EVERY_TIMES),
        // What ends before it starts is refused.
        (IncidentStatus::Resolved, resolved_at) => resolved_at.unwrap_or(now).max(incident.opened_at),
    };
    let mut posted = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": incident.opened_at.rfc3339(),
        "endsAt": ends_at.rfc3339(),
    });
    if let Some(link) = &alert.link {
        posted["generatorURL"] = Value::String(link.clone());
    }
    posted
}

/// `service_silent` as `ServiceSilent`.
fn camel_case(cause: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    cause.split(['_', '-']).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{alert, incident};
    use crate::saga::incident::NoticeKind;

    const NOW: Moment = Moment(1_800_000_000_000_000);
    const EVERY: Span = Span::from_secs(60);

    #[test]
    fn labels_are_identity_and_nothing_else() {
        let before = posted(&alert(NoticeKind::Trigger, incident()), EVERY, NOW);
        let mut more = incident();
        (more.count, more.peak, more.why) = (7, 20_000, "otherwise".to_owned());
        (more.first_at, more.last_at) = (Moment(1), Moment(2));
        more.samples = vec!["another".to_owned()];
        let after = posted(&alert(NoticeKind::Update, more), EVERY, Moment(NOW.0 + 1));
        let expected = json!({
            "alertname": "ServiceSilent", "job": "escrow", "instance": "prod", "severity": "critical", "saga": "order", "step": "inventory",
        });
        assert_eq!(before["labels"], expected);
        assert_eq!(after["labels"], expected);
        assert_eq!(before["startsAt"], after["startsAt"]);
        assert_ne!(before["annotations"], after["annotations"]);
        assert_eq!(before["annotations"]["runbook_url"], "https://wiki.example.org/silent");
    }

    #[test]
    fn it_fires_for_three_times_and_ends_when_it_is_resolved() {
        let mut incident = incident();
        let firing = posted(&alert(NoticeKind::Trigger, incident.clone()), EVERY, NOW);
        assert_eq!(firing["endsAt"], (NOW + Span::from_secs(180)).rfc3339());
        incident.status = IncidentStatus::Resolved;
        incident.resolved_at = Some(incident.opened_at + Span::from_secs(5));
        let ended = posted(&alert(NoticeKind::Resolve, incident.clone()), EVERY, NOW);
        assert_eq!(ended["endsAt"], (incident.opened_at + Span::from_secs(5)).rfc3339());
        incident.resolved_at = Some(Moment(0));
        let before_it_began = posted(&alert(NoticeKind::Resolve, incident), EVERY, NOW);
        assert_eq!(before_it_began["endsAt"], before_it_began["startsAt"]);
    }
}
