//! PagerDuty's words: Events API v2.
//!
//! All that is told of an episode has one `dedup_key`, so a repeat is the same alert there, and the resolve ends the one it
//! belongs to. An update is a trigger with the same key.

use serde_json::{Value, json};

use super::call::Call;
use super::render::{Alert, line};
use super::secret::Secret;
use crate::saga::incident::NoticeKind;

/// PagerDuty refuses longer ones.
const SUMMARY_CHARS_MAX: usize = 1024;

/// The call that tells it.
pub(super) fn call(alert: &Alert, url: &Secret, routing_key: &Secret) -> Call {
    Call::post(url.clone(), &event(alert, routing_key))
}

fn event(alert: &Alert, routing_key: &Secret) -> Value {
    let key = alert.episode_key();
    if alert.notice.kind == NoticeKind::Resolve {
        return json!({"routing_key": routing_key.expose(), "event_action": "resolve", "dedup_key": key});
    }
    let incident = &alert.notice.incident;
    let details: serde_json::Map<String, Value> =
        alert.facts().into_iter().map(|(name, fact)| (name.to_lowercase(), Value::String(fact))).collect();
    let links: Vec<Value> = [(&alert.link, "Open it in Escrow"), (&alert.runbook_url, "What to do")]
        .into_iter()
        .filter_map(|(url, text)| Some(json!({"href": url.as_ref()?, "text": text})))
        .collect();
    let mut payload = json!({
        "summary": line(&alert.title(), SUMMARY_CHARS_MAX),
        "source": line(&format!("escrow {}", alert.instance), SUMMARY_CHARS_MAX),
        "severity": alert.severity.word(),
        "timestamp": incident.opened_at.rfc3339(),
        "class": line(&incident.about.cause, SUMMARY_CHARS_MAX),
        "custom_details": details,
    });
    if !incident.about.saga.is_empty() {
        payload["group"] = Value::String(line(&incident.about.saga, SUMMARY_CHARS_MAX));
    }
    if let Some(step) = &incident.about.step {
        payload["component"] = Value::String(line(step, SUMMARY_CHARS_MAX));
    }
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": key,
        "payload": payload,
        "links": links,
        "client": "Escrow",
        "client_url": alert.link,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{alert, incident};

    /// PagerDuty refuses larger events.
    const EVENT_BYTES_MAX: usize = 512 << 10;

    fn told(alert: &Alert) -> Value {
        event(alert, &Secret::new("key"))
    }

    #[test]
    fn all_of_an_episode_has_one_key() {
        let of = |kind, episode| {
            let mut incident = incident();
            incident.episode = episode;
            let event = told(&alert(kind, incident));
            (event["event_action"].clone(), event["dedup_key"].clone())
        };
        let (trigger, key) = of(NoticeKind::Trigger, 1);
        assert_eq!(trigger, "trigger");
        assert_eq!(of(NoticeKind::Update, 1), (trigger, key.clone()));
        assert_eq!(of(NoticeKind::Resolve, 1), ("resolve".into(), key.clone()));
        assert_ne!(of(NoticeKind::Trigger, 2).1, key);
        assert!(key.as_str().is_some_and(|key| key.len() <= 255));
    }

    #[test]
    fn the_largest_event_is_taken() {
        let mut large = incident();
        large.why = "\u{1f4a5}".repeat(1 << 20);
        large.samples = vec!["\u{1f4a5}".repeat(1 << 16); 100];
        large.about.step = Some("s".repeat(1 << 20));
        let event = told(&alert(NoticeKind::Trigger, large));
        assert!(event.to_string().len() < EVENT_BYTES_MAX / 8);
        assert!(event["payload"]["summary"].as_str().is_some_and(|it| it.chars().count() <= SUMMARY_CHARS_MAX));
    }

    #[test]
    fn a_responder_sees_what_it_is_about() {
        let event = told(&alert(NoticeKind::Trigger, incident()));
        let payload = &event["payload"];
        assert_eq!(payload["severity"], "critical");
        assert_eq!(
            (&payload["class"], &payload["group"], &payload["component"]),
            (&json!("service_silent"), &json!("order"), &json!("inventory"))
        );
        assert_eq!(payload["custom_details"]["orders"], "10,000 now, 10,000 at most");
        assert_eq!(event["links"].as_array().map(Vec::len), Some(2));
    }
}
