//! The form of what Escrow says by itself: CloudEvents 1.0, structured JSON.

use serde_json::{Value, json};

use super::time::Moment;

/// The body of one event.
///
/// `saga` names the source (`/escrow/{saga}`), `kind` is the event's type, `subject` the order id. The same arguments give
/// the same bytes.
pub fn body(saga: &str, id: &str, kind: &str, subject: &str, time: Moment, data: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/escrow/{saga}"),
        "type": kind,
        "subject": subject,
        "time": time.rfc3339(),
        "datacontenttype": "application/json",
    });
    event["data"] = data.clone();
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_order_and_its_saga() {
        let event = body("order", "i-1", "escrow.order.stuck", "4711", Moment(1_000_000), &json!({"done": 2}));
        assert_eq!(
            event,
            json!({
                "specversion": "1.0", "id": "i-1", "source": "/escrow/order", "type": "escrow.order.stuck",
                "subject": "4711", "time": "1970-01-01T00:00:01Z", "datacontenttype": "application/json", "data": {"done": 2}
            })
        );
    }
}
