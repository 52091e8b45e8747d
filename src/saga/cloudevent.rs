//! CloudEvents 1.0 in structured JSON form: the shape of everything Escrow says about an order.

use serde_json::{Value, json};

use super::time::Moment;

/// An event of type `kind` about `subject`, from this Escrow's saga.
pub fn body(saga: &str, id: &str, kind: &str, subject: &str, time: Moment, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/escrow/{saga}"),
        "type": kind,
        "subject": subject,
        "time": time.rfc3339(),
        "datacontenttype": "application/json",
        "data": data,
    })
}
