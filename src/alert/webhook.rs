//! An address of the user's own: JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com) says, for which there are
//! libraries in every language.
//!
//! ```text
//!   webhook-id         the notice's key, the same on every sending; also as Idempotency-Key
//!   webhook-timestamp  seconds since 1970, of this sending
//!   webhook-signature  v1,base64(HMAC-SHA256(secret, "id.timestamp.body"))
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::call::Call;
use super::render::Alert;
use super::secret::Secret;
use crate::saga::time::Moment;

/// Before a secret in base64.
const ENCODED: &str = "whsec_";

/// The call that tells it.
pub(super) fn call(alert: &Alert, url: &Secret, secret: &Secret, now: Moment) -> Call {
    let id = alert.notice.key().to_string();
    let timestamp = now.0.div_euclid(1_000_000).to_string();
    let mut call = Call::post(url.clone(), &body(alert));
    let signature = sign(secret, &id, &timestamp, &call.body);
    call.headers = vec![
        ("idempotency-key", id.clone()),
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ];
    call
}

/// The bytes of a secret: what its base64 says after `whsec_`, else its text.
pub(super) fn key_of(secret: &Secret) -> Option<Vec<u8>> {
    match secret.expose().strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).ok().filter(|key| !key.is_empty()),
        None => Some(secret.expose().as_bytes().to_vec()),
    }
}

fn sign(secret: &Secret, id: &str, timestamp: &str, body: &str) -> String {
    // The rules refused a secret that cannot be read, and HMAC takes keys of any length.
    let key = key_of(secret).unwrap_or_default();
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The same on every sending.
fn body(alert: &Alert) -> Value {
    let incident = &alert.notice.incident;
    json!({
        "type": format!("incident.{}", alert.notice.kind.word()),
        "timestamp": alert.at().rfc3339(),
        "data": {
            "id": incident.about.id(),
            "episode": incident.episode,
            "number": alert.notice.number,
            "key": alert.episode_key(),
            "escrow": alert.instance,
            "test": alert.is_test,
            "title": alert.title(),
            "severity": alert.severity.word(),
            "cause": incident.about.cause,
            "saga": incident.about.saga,
            "step": incident.about.step,
            "status": incident.status.word(),
            "count": incident.count,
            "peak": incident.peak,
            "first_at": incident.first_at.rfc3339(),
            "last_at": incident.last_at.rfc3339(),
            "opened_at": incident.opened_at.rfc3339(),
            "resolved_at": incident.resolved_at.map(Moment::rfc3339),
            "samples": alert.samples(),
            "why": alert.why(),
            "acked_by": incident.acked.as_ref().map(|acked| &acked.by),
            "link": alert.link,
            "runbook_url": alert.runbook_url,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{alert, incident};
    use crate::saga::incident::NoticeKind;

    #[test]
    fn it_is_signed_as_the_standard_says() {
        // The example of the standard's own documentation.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(key_of(&Secret::new("plain")), Some(b"plain".to_vec()));
        assert_eq!(key_of(&Secret::new("whsec_!")), None);
    }

    #[test]
    fn a_repeat_has_the_same_id_and_body_and_its_own_time() {
        let alert = alert(NoticeKind::Trigger, incident());
        let (url, secret) = (Secret::new("https://x"), Secret::new("s"));
        let [first, second] = [1_000_000, 9_000_000].map(|now| call(&alert, &url, &secret, Moment(now)));
        assert_eq!(first.body, second.body);
        assert_eq!(first.headers[..2], second.headers[..2]);
        assert_ne!(first.headers[2..], second.headers[2..]);
        let body: Value = serde_json::from_str(&first.body).unwrap();
        assert_eq!(body["type"], "incident.trigger");
        assert_eq!((&body["data"]["count"], &body["data"]["status"]), (&json!(10_000), &json!("open")));
    }
}
