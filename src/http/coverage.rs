//! Coverage: whether a definition and the bus speak of the same events.
//!
//! ```text
//!   named by the saga ──┬── seen                ▶ as it should be
//!                       └── never seen          ▶ misspelt, or its service has not spoken yet
//!   seen for the saga ───── named nowhere       ▶ not needed, or what the misspelt one should be called
//! ```
//!
//! The names are those of the version new orders open on; what was seen is counted from the day the saga was first followed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::scope::Scope;
use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use super::surroundings::known_saga;
use super::view;
use crate::saga::coverage::similar;
use crate::saga::definition::{Role, Saga};
use crate::saga::time::Moment;
use crate::store::EventMet;

/// Which events a saga names, and which it met.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SagaEvents {
    pub saga: String,
    /// The version whose names these are.
    pub version: u32,
    /// Every event that is named or was seen, by name.
    pub events: Vec<EventView>,
    /// Those the saga names and nobody ever published.
    pub never_seen: Vec<NeverSeenView>,
    /// Those somebody published and the saga names nowhere.
    pub named_nowhere: Vec<NamedNowhereView>,
    /// Further names that were met, beyond a thousand; they are counted together. Null when there are none.
    pub other: Option<OtherEventsView>,
    pub as_of: Option<String>,
}

/// One event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    pub event: String,
    /// Deliveries; one that came twice is counted twice.
    pub seen: u64,
    pub last_at: Option<String>,
    /// Where it came from; an empty one is HTTP.
    pub exchanges: Vec<String>,
    /// Empty where the saga does not name it.
    pub used_by: Vec<EventUseView>,
}

/// What an event is to a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventUseView {
    /// Null where it is about the order as a whole.
    pub step: Option<String>,
    /// `done`, `failed`, `when`, `compensation_done`, `compensation_failed` or `cancelled_by`.
    #[serde(rename = "as")]
    pub role: String,
}

/// An event that is named and was never seen.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NeverSeenView {
    pub event: String,
    pub used_by: Vec<EventUseView>,
    /// Up to three events that were seen, are named nowhere, and are called almost like it; the most similar first.
    pub similar: Vec<String>,
}

/// An event that was seen and is named nowhere.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NamedNowhereView {
    pub event: String,
    /// Empty for events over HTTP.
    pub exchange: String,
    pub seen: u64,
    pub last_at: String,
}

/// Events whose names are not kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OtherEventsView {
    pub seen: u64,
    pub last_at: String,
}

/// Says which events a saga names, which it met, and which of each are missing on the other side.
#[utoipa::path(get, path = "/v1/sagas/{saga}/events", tag = "sagas", params(("saga" = String, Path)),
    responses(
        (status = 200, description = "The events", body = SagaEvents),
        (status = 404, description = "No such saga", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_saga_events(state: ApiState, uri: Uri, Path(name): Path<String>) -> Result<Json<SagaEvents>, Problem> {
    Params::read(&uri, &[], None)?;
    let catalog = state.desk.catalog();
    let saga = known_saga(&catalog, &name)?;
    let mut met = state.query.events_met(name.clone()).await?;
    if state.scope != Scope::All {
        // What the saga names nowhere may be another saga's.
        let all = coverage(saga, &met).events;
        met.retain(|row| all.iter().any(|it| it.event == row.event && !it.used_by.is_empty()));
    }
    let coverage = coverage(saga, &met);
    Ok(Json(SagaEvents { as_of: view::time(state.desk.watermark(&name)), ..coverage }))
}

/// What the database says about one name.
#[derive(Default)]
struct Seen {
    count: u64,
    last_at: Option<Moment>,
    exchanges: Vec<String>,
}

fn coverage(saga: &Saga, met: &[EventMet]) -> SagaEvents {
    let (known, others): (Vec<&EventMet>, Vec<&EventMet>) = met.iter().partition(|it| !it.event.is_empty());
    let mut seen: BTreeMap<&str, Seen> = saga.roles.keys().map(|event| (event.as_str(), Seen::default())).collect();
    for it in &known {
        let one = seen.entry(&it.event).or_default();
        one.count += it.seen;
        one.last_at = one.last_at.max(Some(it.last_at));
        one.exchanges.push(it.exchange.clone());
    }
    let nowhere: Vec<&EventMet> = known.into_iter().filter(|it| !saga.roles.contains_key(&it.event)).collect();
    let strangers: Vec<&str> = nowhere.iter().map(|it| it.event.as_str()).collect();
    let never = seen.iter().filter(|(_, seen)| seen.count == 0);
    let never = never.map(|(event, _)| NeverSeenView {
        event: (*event).to_owned(),
        used_by: used_by(saga, event),
        similar: similar(event, &strangers),
    });
    SagaEvents {
        saga: saga.name.clone(),
        version: saga.version,
        never_seen: never.collect(),
        named_nowhere: nowhere
            .iter()
            .map(|it| NamedNowhereView {
                event: it.event.clone(),
                exchange: it.exchange.clone(),
                seen: it.seen,
                last_at: it.last_at.rfc3339(),
            })
            .collect(),
        other: others.first().map(|it| OtherEventsView { seen: it.seen, last_at: it.last_at.rfc3339() }),
        events: seen
            .into_iter()
            .map(|(event, seen)| EventView {
                used_by: used_by(saga, event),
                event: event.to_owned(),
                seen: seen.count,
                last_at: view::time(seen.last_at),
                exchanges: seen.exchanges,
            })
            .collect(),
        as_of: None,
    }
}

/// Each use once, in the order of the definition.
fn used_by(saga: &Saga, event: &str) -> Vec<EventUseView> {
    let mut uses = Vec::new();
    for named in saga.roles.get(event).into_iter().flatten() {
        let (step, role) = match named.role {
            Role::Done(ix) => (Some(ix), "done"),
            Role::Failed(ix) => (Some(ix), "failed"),
            Role::When(ix) => (Some(ix), "when"),
            Role::CompensationDone(ix) => (Some(ix), "compensation_done"),
            Role::CompensationFailed(ix) => (Some(ix), "compensation_failed"),
            Role::Cancel => (None, "cancelled_by"),
        };
        let view = EventUseView { step: step.map(|ix| saga.steps[ix].name.clone()), role: role.to_owned() };
        if !uses.contains(&view) {
            uses.push(view);
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::parse::parse;

    fn saga() -> Saga {
        let text = "saga: order\nversion: 3\nread: { event: /e, order_id: /o }\nwatch: [{ exchange: shop }]\ncancelled_by: Gone\n\
            steps:\n  placed: { done: [OrderPlaced, Imported] }\n  paid: { after: placed, done: PaymentProcessed, failed: Gone }\n";
        parse("order.yaml", text).unwrap().saga
    }

    fn met(exchange: &str, event: &str, seen: u64, at: i64) -> EventMet {
        EventMet { exchange: exchange.to_owned(), event: event.to_owned(), seen, last_at: Moment(at) }
    }

    #[test]
    fn what_is_missing_on_either_side_is_named_and_what_may_be_meant_is_said() {
        let all = [
            met("", "", 70, 9_000_000),
            met("", "OrderPlaced", 2, 3_000_000),
            met("shop", "OrderPlaced", 5, 2_000_000),
            met("shop", "payment.processed", 4, 1_000_000),
            met("shop", "StockLow", 1, 1_000_000),
        ];
        let found = serde_json::to_value(coverage(&saga(), &all)).unwrap();
        let paid = serde_json::json!([{"step": "paid", "as": "done"}]);
        assert_eq!(
            found["events"],
            serde_json::json!([
                {"event": "Gone", "seen": 0, "last_at": null, "exchanges": [],
                    "used_by": [{"step": "paid", "as": "failed"}, {"step": null, "as": "cancelled_by"}]},
                {"event": "Imported", "seen": 0, "last_at": null, "exchanges": [], "used_by": [{"step": "placed", "as": "done"}]},
                {"event": "OrderPlaced", "seen": 7, "last_at": "1970-01-01T00:00:03Z", "exchanges": ["", "shop"],
                    "used_by": [{"step": "placed", "as": "done"}]},
                {"event": "PaymentProcessed", "seen": 0, "last_at": null, "exchanges": [], "used_by": paid},
                {"event": "StockLow", "seen": 1, "last_at": "1970-01-01T00:00:01Z", "exchanges": ["shop"], "used_by": []},
                {"event": "payment.processed", "seen": 4, "last_at": "1970-01-01T00:00:01Z", "exchanges": ["shop"], "used_by": []},
            ])
        );
        let never: Vec<_> =
            found["never_seen"].as_array().unwrap().iter().map(|it| (&it["event"], &it["similar"])).collect();
        let none = serde_json::json!([]);
        let similar = serde_json::json!(["payment.processed"]);
        assert_eq!(
            never,
            [(&"Gone".into(), &none), (&"Imported".into(), &none), (&"PaymentProcessed".into(), &similar)]
        );
        assert_eq!(
            found["named_nowhere"][1],
            serde_json::json!({"event": "StockLow", "exchange": "shop", "seen": 1, "last_at": "1970-01-01T00:00:01Z"})
        );
        assert_eq!(found["other"], serde_json::json!({"seen": 70, "last_at": "1970-01-01T00:00:09Z"}));
        assert_eq!((&found["version"], coverage(&saga(), &[]).other.is_none()), (&3.into(), true));
    }
}
