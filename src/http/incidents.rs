//! Incidents: stuck orders gathered by their cause, so that a thousand orders stuck on one thing are one line.
//!
//! An incident is derived from the orders that are stuck now; its id is that of saga, step and reason, and stays the same.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::brakes::latched_at;
use super::problem::{Kind, Problem, ProblemBody, unknown};
use super::query::Params;
use super::state::{ApiState, Unbound};
use super::surroundings::as_of;
use super::view::{self, incident_id};
use crate::saga::catalog::Catalog;
use crate::saga::order::StuckReason;
use crate::saga::time::Moment;
use crate::store::StuckGroup;

/// Orders named as samples of an incident.
const SAMPLES_MAX: usize = 10;

/// Incidents, the largest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentList {
    pub incidents: Vec<IncidentView>,
    pub next_cursor: Option<String>,
    pub as_of: Option<String>,
}

/// One cause that holds up orders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    pub id: String,
    /// Why the orders are stuck; `unbound` when a person has taken the tap away.
    pub cause: String,
    /// Empty where it is about all of them.
    pub saga: String,
    pub step: Option<String>,
    /// `open`.
    pub status: String,
    /// Orders it holds up now.
    pub count: u64,
    /// Most orders it held up at once; null where that is not recorded.
    pub peak: Option<u64>,
    pub first_at: String,
    pub last_at: String,
    /// Up to ten of the orders.
    pub samples: Vec<String>,
    /// One sentence a person can act on.
    pub why: String,
    /// The incident that explains this one.
    pub parent: Option<String>,
    pub acked_by: Option<String>,
}

/// Lists what holds up orders now.
#[utoipa::path(get, path = "/v1/incidents", tag = "incidents",
    params(
        ("status" = Option<String>, Query, description = "`open`: incidents last as long as their orders are stuck"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The incidents, the largest first", body = IncidentList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_incidents(State(state): State<ApiState>, uri: Uri) -> Result<Json<IncidentList>, Problem> {
    let params = Params::read(&uri, &["status", "limit", "cursor"], None)?;
    if let Some(status) = params.text("status")
        && status != "open"
    {
        return Err(Problem::parameter("status", unknown("status of an incident", status, ["open"])));
    }
    let page = params.page()?;
    let catalog = state.desk.catalog();
    let states = state.query.saga_states().await?;
    let latched =
        catalog.newest_all().filter_map(|saga| Some((saga.name.clone(), latched_at(saga, &states)?))).collect();
    let mut groups = gather_held(state.query.stuck_groups().await?, &latched);
    groups.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| key(left).cmp(&key(right))));
    let unbound = state.desk.status().unbound.map(|unbound| unbound_view(&unbound));
    let stuck = groups.iter().map(|group| incident_view(&catalog, group));
    let mut incidents: Vec<IncidentView> = unbound.into_iter().chain(stuck).collect();
    if let Some(cursor) = &page.cursor {
        let place = incidents.iter().position(|it| it.id == *cursor).ok_or_else(|| {
            Problem::new(
                Kind::BadCursor,
                "the cursor is not one this list gave, or its incident has ended; begin again",
            )
        })?;
        incidents.drain(..=place);
    }
    let is_more = incidents.len() > page.limit;
    incidents.truncate(page.limit);
    Ok(Json(IncidentList {
        next_cursor: incidents.last().filter(|_| is_more).map(|it| it.id.clone()),
        incidents,
        as_of: view::time(as_of(&state, &catalog)),
    }))
}

/// What the brake of a saga holds is one incident, whatever the steps; while it is latched there is one, even if nothing is held.
fn gather_held(groups: Vec<StuckGroup>, latched: &BTreeMap<String, Moment>) -> Vec<StuckGroup> {
    let (held, mut others): (Vec<_>, Vec<_>) = groups.into_iter().partition(|it| it.reason == StuckReason::Held);
    let empty = |(saga, since): (&String, &Moment)| StuckGroup {
        saga: saga.clone(),
        step: None,
        reason: StuckReason::Held,
        count: 0,
        first_at: *since,
        last_at: *since,
        samples: Vec::new(),
    };
    let mut by_saga: BTreeMap<String, StuckGroup> = latched.iter().map(|it| (it.0.clone(), empty(it))).collect();
    for group in held {
        let begin = StuckGroup { step: None, count: 0, samples: Vec::new(), ..group.clone() };
        let one = by_saga.entry(group.saga.clone()).or_insert(begin);
        one.count += group.count;
        one.first_at = one.first_at.min(group.first_at);
        one.last_at = one.last_at.max(group.last_at);
        one.samples.extend(group.samples);
        one.samples.truncate(SAMPLES_MAX);
    }
    others.extend(by_saga.into_values());
    others
}

/// The tap is unbound: it stands above all others, and says something about every saga.
fn unbound_view(unbound: &Unbound) -> IncidentView {
    IncidentView {
        id: "unbound".to_owned(),
        cause: "unbound".to_owned(),
        saga: String::new(),
        step: None,
        status: "open".to_owned(),
        count: 0,
        peak: None,
        first_at: unbound.since.rfc3339(),
        last_at: unbound.since.rfc3339(),
        samples: Vec::new(),
        why: format!(
            "Escrow sees nothing of what the services publish: the tap is {}. `escrow rabbit bind` binds it again; what was \
             published meanwhile is a gap, and the orders open in it are told about and not acted on",
            unbound.why
        ),
        parent: None,
        acked_by: None,
    }
}

fn key(group: &StuckGroup) -> (&str, Option<&str>, StuckReason) {
    (&group.saga, group.step.as_deref(), group.reason)
}

fn incident_view(catalog: &Catalog, group: &StuckGroup) -> IncidentView {
    IncidentView {
        id: incident_id(&group.saga, group.step.as_deref(), group.reason),
        cause: group.reason.word().to_owned(),
        saga: group.saga.clone(),
        step: group.step.clone(),
        status: "open".to_owned(),
        count: group.count,
        peak: None,
        first_at: group.first_at.rfc3339(),
        last_at: group.last_at.rfc3339(),
        samples: group.samples.clone(),
        why: why(catalog, group),
        parent: None,
        acked_by: None,
    }
}

/// One sentence: how many orders, what did not happen, since when.
fn why(catalog: &Catalog, group: &StuckGroup) -> String {
    let orders = if group.count == 1 { "1 order".to_owned() } else { format!("{} orders", group.count) };
    let step = group.step.as_deref().map(|step| format!(" in step `{step}`")).unwrap_or_default();
    let saga = catalog.newest(&group.saga);
    let ix = group.step.as_deref().and_then(|step| saga?.step_ix(step));
    let awaited = |undoing: bool| match (saga, ix) {
        (Some(saga), Some(ix)) if undoing => saga.awaited_compensation(ix).join(" or "),
        (Some(saga), Some(ix)) => saga.awaited(ix).join(" or "),
        _ => "an event".to_owned(),
    };
    let what = match group.reason {
        StuckReason::TimedOut => format!("{} did not come in time", awaited(false)),
        StuckReason::Failed => "the step failed".to_owned(),
        StuckReason::OrderOverdue => "the order did not end in time".to_owned(),
        StuckReason::CompensationOverdue => format!("{} did not come in time", awaited(true)),
        StuckReason::CompensationUnroutable => "no queue is bound to receive its compensation".to_owned(),
        StuckReason::CompensationRefused => "the broker refused its compensation".to_owned(),
        StuckReason::CompensationFailed => "its compensation was answered with a failure".to_owned(),
        StuckReason::TemplateFailed => "an expression of the definition failed".to_owned(),
        StuckReason::Held => "the brake holds the turning back".to_owned(),
        StuckReason::Unproven => "something may have been missed, so nothing was done".to_owned(),
        StuckReason::Observe => "the saga is in mode `observe`, so nothing was sent".to_owned(),
    };
    if group.reason == StuckReason::Held {
        let since = group.first_at;
        return format!(
            "the brake of saga `{}` holds {orders}, since {since}: too many turned back by timeout; find the cause, reset it, and release or drop what is held",
            group.saga
        );
    }
    format!("{orders} of saga `{}` stuck{step} since {}: {what}", group.saga, group.first_at)
}
