//! Incidents: one cause that holds up one or many orders is one line, with what to do about it.
//!
//! They are rows, kept by the loop of the incidents; a person reads them here, with who was told of them, and says that he knows.

use axum::Json;
use axum::extract::Path;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{self, Caller};
use super::problem::{Kind, Problem, ProblemBody, unknown};
use super::query::{JsonBody, Params};
use super::state::ApiState;
use super::surroundings::as_of;
use super::view;
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::Standing;
use crate::saga::incident::{About, IncidentStatus};
use crate::store::{IncidentFilter, NoticeRow, NoticeVerdict};

/// Earlier episodes shown of one incident.
const EPISODES_MAX: usize = 20;

/// Notices shown of one incident, the last: there is one for each channel every few minutes at most.
const NOTICES_MAX: usize = 200;

/// What `status` may say, the default first.
const STATUSES: [&str; 3] = ["open", "resolved", "all"];

/// Incidents, opened last first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentList {
    pub incidents: Vec<IncidentView>,
    pub next_cursor: Option<String>,
    pub as_of: Option<String>,
}

/// One cause that holds up orders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    /// The same whenever it is about the same.
    pub id: String,
    /// Counts the times it opened, from 1.
    pub episode: u64,
    /// Why orders are stuck, by the word of the reason; or `unbound`, `broker_away`, `database_away`, `blind`, `event_never_seen`, `service_silent`,
    /// `step_stalled`, `quarantine`, `late_on_ended`, `never_opened`.
    pub cause: String,
    /// Empty where it is about all of them.
    pub saga: String,
    pub step: Option<String>,
    /// `open` or `resolved`.
    pub status: String,
    /// Orders it holds up now.
    pub count: u64,
    /// Most orders it held up at once.
    pub peak: u64,
    pub first_at: String,
    pub last_at: String,
    pub opened_at: String,
    /// It is not seen any more since then, and resolved once that has lasted.
    pub calm_since: Option<String>,
    pub resolved_at: Option<String>,
    /// Up to ten of the orders.
    pub samples: Vec<String>,
    /// One sentence a person can act on.
    pub why: String,
    /// The incident that explains this one, and is told of in its stead.
    pub parent: Option<String>,
    /// The open incidents this one explains.
    pub children: Vec<String>,
    pub acked_by: Option<String>,
    pub acked_at: Option<String>,
    pub acked_reason: Option<String>,
    /// Notices of this episode so far, for each channel.
    pub told: u64,
    /// The channels that were told that it opened.
    pub told_to: Vec<String>,
}

/// One incident with what it was before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentDetail {
    #[serde(flatten)]
    pub incident: IncidentView,
    /// What was told of this episode, in its sequence: the last 200.
    pub notices: Vec<NoticeView>,
    /// Its earlier episodes, newest first.
    pub episodes: Vec<IncidentView>,
}

/// What was told, or is to be, to one channel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// As `alerts.yaml` calls it.
    pub channel: String,
    /// `trigger`, `update` or `resolve`.
    pub kind: String,
    /// Its place among the notices of the episode.
    pub number: u64,
    /// `pending` while it is to be sent, `sent`, or `refused`: then it is not sent again.
    pub state: String,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed that did.
    pub problem: Option<String>,
    pub created_at: String,
    /// When the channel took or refused it.
    pub settled_at: Option<String>,
}

/// Says that a person knows of an incident.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// Kept with the incident.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Lists what holds up orders.
#[utoipa::path(get, path = "/v1/incidents", tag = "incidents",
    params(
        ("status" = Option<String>, Query, description = "`open` (when left out), `resolved` or `all`"),
        ("saga" = Option<String>, Query, description = "Of one saga"),
        ("cause" = Option<String>, Query, description = "Of one cause"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The incidents, opened last first", body = IncidentList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_incidents(state: ApiState, uri: Uri) -> Result<Json<IncidentList>, Problem> {
    let params = Params::read(&uri, &["status", "saga", "cause", "limit", "cursor"], None)?;
    let catalog = state.desk.catalog();
    let cause = params.text("cause");
    if let Some(word) = cause.filter(|word| Cause::from_word(word).is_none()) {
        return Err(Problem::parameter("cause", unknown("cause", word, Cause::all().map(Cause::word))));
    }
    let filter =
        IncidentFilter { status: status(&params)?, saga: params.saga(&catalog)?, cause: cause.map(str::to_owned) };
    let listed = state.query.incidents(filter, params.page()?).await?;
    let open = state.query.open_incidents().await?;
    Ok(Json(IncidentList {
        incidents: listed.items.iter().map(|it| incident_view(it, &open)).collect(),
        next_cursor: listed.next_cursor,
        as_of: view::time(as_of(&state, &catalog)),
    }))
}

fn status(params: &Params) -> Result<Option<IncidentStatus>, Problem> {
    match params.text("status").unwrap_or("open") {
        "all" => Ok(None),
        word => IncidentStatus::from_word(word)
            .map(Some)
            .ok_or_else(|| Problem::parameter("status", unknown("status of an incident", word, STATUSES))),
    }
}

/// Shows one incident: its last episode, what was told of it, and the episodes before.
#[utoipa::path(get, path = "/v1/incidents/{id}", tag = "incidents", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The incident", body = IncidentDetail),
        (status = 404, description = "No such incident", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_incident(state: ApiState, uri: Uri, Path(id): Path<String>) -> Result<Json<IncidentDetail>, Problem> {
    Params::read(&uri, &[], None)?;
    if id.contains('\0') {
        return Err(missing(&id));
    }
    let mut episodes = state.query.incident_episodes(id.clone(), EPISODES_MAX + 1).await?;
    if episodes.is_empty() {
        return Err(missing(&id));
    }
    let last = episodes.remove(0);
    let open = state.query.open_incidents().await?;
    let notices = state.query.incident_notices(id, last.incident.episode, NOTICES_MAX).await?;
    Ok(Json(IncidentDetail {
        incident: incident_view(&last, &open),
        notices: notices.into_iter().map(notice_view).collect(),
        episodes: episodes.iter().map(|it| incident_view(it, &[])).collect(),
    }))
}

/// Says that a person knows: no more is told of this episode but its end.
#[utoipa::path(post, path = "/v1/incidents/{id}/ack", tag = "incidents",
    params(("id" = String, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who knows")),
    request_body = AckRequest,
    responses(
        (status = 200, description = "The incident now", body = IncidentView),
        (status = 400, description = "No reason is given", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is over", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn ack_incident(
    state: ApiState,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<AckRequest>,
) -> Result<Json<IncidentView>, Problem> {
    let reason = caller::reason(request.reason.as_deref())?;
    if id.contains('\0') {
        return Err(missing(&id));
    }
    let acked = state.desk.ack_incident(id.clone(), caller.actor, reason).await?.ok_or_else(|| missing(&id))?;
    if acked.incident.status == IncidentStatus::Resolved {
        let over = view::time(acked.incident.resolved_at).unwrap_or_default();
        return Err(Problem::new(
            Kind::Misfit,
            format!("the incident is over since {over}: there is nothing to know of"),
        ));
    }
    let open = state.query.open_incidents().await?;
    Ok(Json(incident_view(&acked, &open)))
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no incident `{id}`; `GET /v1/incidents?status=all` lists them"))
}

fn incident_view(standing: &Standing, open: &[Standing]) -> IncidentView {
    let Standing { incident, told } = standing;
    let About { cause, saga, step } = incident.about.clone();
    let id = incident.about.id();
    let is_open = incident.status == IncidentStatus::Open;
    let children = open.iter().filter(|it| is_open && it.incident.parent.as_ref() == Some(&id));
    let acked = incident.acked.as_ref();
    IncidentView {
        children: children.map(|it| it.incident.about.id()).collect(),
        id,
        episode: incident.episode,
        cause,
        saga,
        step,
        status: incident.status.word().to_owned(),
        count: incident.count,
        peak: incident.peak,
        first_at: incident.first_at.rfc3339(),
        last_at: incident.last_at.rfc3339(),
        opened_at: incident.opened_at.rfc3339(),
        calm_since: view::time(incident.calm_since),
        resolved_at: view::time(incident.resolved_at),
        samples: incident.samples.clone(),
        why: incident.why.clone(),
        parent: incident.parent.clone(),
        acked_by: acked.map(|it| it.by.clone()),
        acked_at: view::time(acked.map(|it| it.at)),
        acked_reason: acked.map(|it| it.reason.clone()),
        told: told.notices,
        told_to: told.channels.clone(),
    }
}

fn notice_view(notice: NoticeRow) -> NoticeView {
    let (state, problem) = match notice.verdict {
        None => ("pending", notice.problem),
        Some(NoticeVerdict::Sent) => ("sent", notice.problem),
        Some(NoticeVerdict::Refused(why)) => ("refused", Some(why)),
    };
    NoticeView {
        channel: notice.channel,
        kind: notice.kind.word().to_owned(),
        number: notice.number,
        state: state.to_owned(),
        tries: notice.tries,
        problem,
        created_at: notice.created_at.rfc3339(),
        settled_at: view::time(notice.settled_at),
    }
}
