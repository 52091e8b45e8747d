//! Sagas: what is followed, in which mode, how far it is read, and how long its steps usually take.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::brakes::{BrakeView, brake_view};
use super::caller::{self, Caller};
use super::facts::SAMPLES_MIN;
use super::problem::{Problem, ProblemBody, unknown};
use super::query::{JsonBody, Params};
use super::state::{ApiState, Sight, StatusReport};
use super::surroundings::{as_of, known_saga};
use super::view;
use crate::saga::brake::SagaState;
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Mode, OnFailure, OnTimeout, Pattern, Place, Saga, Within};
use crate::saga::journal::hex;
use crate::saga::time::{Moment, Span};
use crate::store::{DefinitionRow, OrderFilter, StatusCount, StuckGroup};

/// The window the stored statistics are made over.
const STATS_WINDOW: Span = Span::from_secs(7 * 86_400);

/// All sagas, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SagaList {
    pub sagas: Vec<SagaView>,
    pub next_cursor: Option<String>,
    pub as_of: Option<String>,
}

/// One saga.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SagaView {
    pub saga: String,
    /// The version new orders open on.
    pub version: u32,
    /// `act` or `observe`.
    pub mode: String,
    /// Step names of that version, in its order.
    pub steps: Vec<String>,
    /// How many orders are in each status.
    pub orders: BTreeMap<String, u64>,
    /// `live`, `behind` (deadlines wait) or `blind` (nothing is known to be read).
    pub sight: String,
    /// Why it is blind.
    pub sight_detail: Option<String>,
    /// Watched exchanges that are not there or cannot be bound, with the reason.
    pub unbound: BTreeMap<String, String>,
    /// Null where the definition says `brake: none`.
    pub brake: Option<BrakeView>,
    /// The watermark.
    pub as_of: Option<String>,
}

/// One saga with its definition.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SagaDetail {
    #[serde(flatten)]
    pub saga: SagaView,
    /// Stored versions, newest first.
    pub versions: Vec<VersionView>,
    /// The version described from here on: the one new orders open on, unless another was asked for.
    pub shown_version: u32,
    pub definition: Vec<StepDefinitionView>,
    /// Exchanges watched by it; `http` is events over HTTP.
    pub watch: Vec<String>,
    pub cancelled_by: Vec<String>,
    /// For the whole order.
    pub within: String,
    /// Its file, as it was read.
    pub text: String,
}

/// A stored version.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    pub version: u32,
    pub stored_at: String,
    /// New orders open on the version applied last.
    pub applied_at: String,
    pub open_orders: u64,
    /// Hash of the meaning, hex.
    pub fingerprint: String,
}

/// A step as it is defined.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepDefinitionView {
    pub step: String,
    pub after: Vec<String>,
    pub when: Vec<String>,
    pub done: Vec<String>,
    pub failed: Vec<String>,
    /// A duration, or the expression that gives it.
    pub within: Option<String>,
    pub on_timeout: String,
    pub on_failure: String,
    /// How often its message is sent again.
    pub retries: u32,
    /// The event its compensation publishes, or the events that tell of it.
    pub compensation: Option<String>,
}

/// How long the steps of a saga take.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SagaStats {
    pub saga: String,
    pub version: u32,
    /// What the percentiles were made over.
    pub window: String,
    /// How many orders are in each status.
    pub orders: BTreeMap<String, u64>,
    pub steps: Vec<StepStatsView>,
    pub as_of: Option<String>,
}

/// How long one step takes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepStatsView {
    pub step: String,
    /// Orders waiting in it now.
    pub waiting: u64,
    /// Orders stuck on it now.
    pub stuck: u64,
    /// Steps that ended in the window.
    pub closed: u64,
    /// Of these, given up because no answer came in time; also where one came later.
    pub timed_out: u64,
    /// Steps measured; percentiles come from 30 on.
    pub samples: u64,
    /// Seconds.
    pub p50: Option<f64>,
    /// Seconds.
    pub p95: Option<f64>,
    /// Seconds.
    pub p99: Option<f64>,
}

/// A change of mode.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeRequest {
    /// `act` or `observe`.
    pub mode: String,
    /// Goes into the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The mode of a saga.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModeAnswer {
    pub saga: String,
    pub mode: String,
}

/// Lists the sagas that are followed.
#[utoipa::path(get, path = "/v1/sagas", tag = "sagas",
    params(
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "The sagas, by name", body = SagaList)))]
pub async fn list_sagas(state: ApiState, uri: Uri) -> Result<Json<SagaList>, Problem> {
    let page = Params::read(&uri, &["limit", "cursor"], None)?.page()?;
    let catalog = state.desk.catalog();
    let known = Known::read(&state).await?;
    let after = page.cursor.as_deref().unwrap_or("");
    let mut sagas: Vec<SagaView> = catalog
        .newest_all()
        .filter(|saga| saga.name.as_str() > after)
        .take(page.limit + 1)
        .map(|saga| saga_view(&state, saga, &known))
        .collect();
    let is_more = sagas.len() > page.limit;
    sagas.truncate(page.limit);
    Ok(Json(SagaList {
        next_cursor: sagas.last().filter(|_| is_more).map(|it| it.saga.clone()),
        sagas,
        as_of: view::time(as_of(&state, &catalog)),
    }))
}

/// Shows one saga with its definition.
#[utoipa::path(get, path = "/v1/sagas/{saga}", tag = "sagas",
    params(
        ("saga" = String, Path),
        ("version" = Option<u32>, Query, description = "Whose definition to show; that on which new orders open when left out"),
    ),
    responses(
        (status = 200, description = "The saga", body = SagaDetail),
        (status = 400, description = "No such version", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_saga(state: ApiState, uri: Uri, Path(name): Path<String>) -> Result<Json<SagaDetail>, Problem> {
    let params = Params::read(&uri, &["version"], None)?;
    let catalog = state.desk.catalog();
    let saga = known_saga(&catalog, &name)?;
    let shown = asked_version(&params, &catalog, saga)?;
    let known = Known::read(&state).await?;
    let mut versions: Vec<DefinitionRow> =
        state.query.definitions().await?.into_iter().filter(|row| row.saga == name).collect();
    versions.sort_by_key(|row| std::cmp::Reverse(row.version));
    Ok(Json(SagaDetail {
        saga: saga_view(&state, saga, &known),
        versions: versions.iter().map(version_view).collect(),
        shown_version: shown.version,
        definition: (0..shown.steps.len()).map(|ix| step_definition(shown, ix)).collect(),
        watch: shown.watch.iter().map(|watch| place_name(&watch.place)).collect(),
        cancelled_by: names(&shown.cancelled_by),
        within: shown.within.to_string(),
        text: shown.text.clone(),
    }))
}

/// Says how long the steps of a saga take and how many orders are where.
#[utoipa::path(get, path = "/v1/sagas/{saga}/stats", tag = "sagas",
    params(
        ("saga" = String, Path),
        ("window" = Option<String>, Query, description = "How far back, like 1h; seven days when left out"),
        ("version" = Option<u32>, Query, description = "Of which version; that on which new orders open when left out"),
    ),
    responses(
        (status = 200, description = "The statistics", body = SagaStats),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_saga_stats(state: ApiState, uri: Uri, Path(name): Path<String>) -> Result<Json<SagaStats>, Problem> {
    let params = Params::read(&uri, &["window", "version"], None)?;
    let window = params.span("window")?;
    let catalog = state.desk.catalog();
    let saga = asked_version(&params, &catalog, known_saga(&catalog, &name)?)?;
    let stats = state.query.stats(name.clone(), window).await?;
    let counts = state.query.count_by_status().await?;
    let groups = state.query.stuck_groups().await?;
    let mut steps = Vec::with_capacity(saga.steps.len());
    for step in &saga.steps {
        let waiting =
            OrderFilter { sagas: vec![name.clone()], waiting_on: vec![step.name.clone()], ..OrderFilter::default() };
        let row = stats.iter().find(|row| row.version == saga.version && row.step == step.name);
        let is_here = |group: &&StuckGroup| group.saga == name && group.step.as_ref() == Some(&step.name);
        let seconds = |span: fn(&crate::store::StepStats) -> Span| {
            row.filter(|row| row.samples >= SAMPLES_MIN).map(|row| span(row).as_secs_f64())
        };
        steps.push(StepStatsView {
            step: step.name.clone(),
            waiting: state.query.count_orders(waiting).await?,
            stuck: groups.iter().filter(is_here).map(|group| group.count).sum(),
            closed: row.map_or(0, |row| row.closed),
            timed_out: row.map_or(0, |row| row.timed_out),
            samples: row.map_or(0, |row| row.samples),
            p50: seconds(|row| row.p50),
            p95: seconds(|row| row.p95),
            p99: seconds(|row| row.p99),
        });
    }
    Ok(Json(SagaStats {
        version: saga.version,
        window: window.unwrap_or(STATS_WINDOW).to_string(),
        orders: by_status(&counts, &name),
        steps,
        as_of: view::time(state.desk.watermark(&name)),
        saga: name,
    }))
}

/// Changes whether Escrow acts for a saga or only observes.
#[utoipa::path(put, path = "/v1/sagas/{saga}/mode", tag = "sagas",
    params(("saga" = String, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts")),
    request_body = ModeRequest,
    responses(
        (status = 200, description = "The mode now", body = ModeAnswer),
        (status = 400, description = "No such mode", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn set_saga_mode(
    state: ApiState,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<ModeRequest>,
) -> Result<Json<ModeAnswer>, Problem> {
    known_saga(&state.desk.catalog(), &name)?;
    let mode = match request.mode.as_str() {
        "act" => Mode::Act,
        "observe" => Mode::Observe,
        other => return Err(Problem::body("/mode", unknown("mode", other, ["act", "observe"]))),
    };
    let reason = caller::reason(request.reason.as_deref())?;
    state.desk.set_mode(name.clone(), mode, caller.actor, reason).await?;
    Ok(Json(ModeAnswer { saga: name, mode: mode_word(mode).to_owned() }))
}

/// The version a request is about; `usual` when it says nothing.
fn asked_version<'a>(params: &Params, catalog: &'a Catalog, usual: &'a Saga) -> Result<&'a Saga, Problem> {
    let Some(text) = params.text("version") else { return Ok(usual) };
    let asked = text.parse().ok().and_then(|version| catalog.version(&usual.name, version));
    asked.map(AsRef::as_ref).ok_or_else(|| {
        let known: Vec<String> = catalog.versions(&usual.name).map(|saga| saga.version.to_string()).collect();
        Problem::parameter("version", unknown("version of this saga", text, known.iter().map(String::as_str)))
    })
}

/// What is read once to show any number of sagas.
struct Known {
    now: Moment,
    modes: BTreeMap<String, Mode>,
    states: BTreeMap<String, SagaState>,
    counts: Vec<StatusCount>,
    report: StatusReport,
}

impl Known {
    async fn read(state: &ApiState) -> Result<Self, Problem> {
        let query = &state.query;
        let (modes, states) = (query.modes().await?, query.saga_states().await?);
        let (counts, now) = (query.count_by_status().await?, query.now().await?);
        Ok(Self { now, modes, states, counts, report: state.desk.status() })
    }
}

fn saga_view(state: &ApiState, saga: &Saga, known: &Known) -> SagaView {
    let report = known.report.sagas.get(&saga.name);
    let (sight, sight_detail) = sight_words(report.map(|it| &it.sight));
    SagaView {
        saga: saga.name.clone(),
        version: saga.version,
        mode: mode_word(known.modes.get(&saga.name).copied().unwrap_or(saga.mode)).to_owned(),
        steps: saga.steps.iter().map(|step| step.name.clone()).collect(),
        orders: by_status(&known.counts, &saga.name),
        brake: brake_view(saga, &known.states, known.now),
        sight,
        sight_detail,
        unbound: report.map(|it| it.unbound.clone()).unwrap_or_default(),
        as_of: view::time(state.desk.watermark(&saga.name)),
    }
}

/// The word for how well a saga is seen, with the reason when it is not.
pub fn sight_words(sight: Option<&Sight>) -> (String, Option<String>) {
    match sight {
        Some(Sight::Live) => ("live".to_owned(), None),
        Some(Sight::Behind) => ("behind".to_owned(), None),
        Some(Sight::Blind(why)) => ("blind".to_owned(), Some(why.clone())),
        None => ("blind".to_owned(), Some("Escrow has not begun to follow it".to_owned())),
    }
}

/// The word used everywhere.
pub fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Act => "act",
        Mode::Observe => "observe",
    }
}

/// How many orders of one saga are in each status.
pub fn by_status(counts: &[StatusCount], saga: &str) -> BTreeMap<String, u64> {
    counts.iter().filter(|it| it.saga == saga).map(|it| (it.status.word().to_owned(), it.count)).collect()
}

fn version_view(row: &DefinitionRow) -> VersionView {
    VersionView {
        version: row.version,
        stored_at: row.stored_at.rfc3339(),
        applied_at: row.applied_at.rfc3339(),
        open_orders: row.open_orders,
        fingerprint: hex(&row.fingerprint),
    }
}

fn step_definition(saga: &Saga, ix: usize) -> StepDefinitionView {
    let step = &saga.steps[ix];
    let compensation = step.compensation.as_ref().map(|undo| match &undo.publish {
        Some(publish) => publish.event.clone(),
        None => saga.awaited_compensation(ix).join(", "),
    });
    StepDefinitionView {
        step: step.name.clone(),
        after: step.after.iter().map(|&ix| saga.steps[ix].name.clone()).collect(),
        when: names(&step.when),
        done: names(&step.done),
        failed: names(&step.failed),
        within: step.within.as_ref().map(|within| match within {
            Within::Fixed(span) => span.to_string(),
            Within::Computed(expression) => format!("{{{{ {} }}}}", expression.source()),
        }),
        on_timeout: match step.on_timeout {
            OnTimeout::Alert => "alert",
            OnTimeout::Compensate => "compensate",
            OnTimeout::Skip => "skip",
        }
        .to_owned(),
        on_failure: match step.on_failure {
            OnFailure::Compensate => "compensate",
            OnFailure::Alert => "alert",
            OnFailure::Wait => "wait",
        }
        .to_owned(),
        retries: step.retry.as_ref().map_or(0, |retry| retry.cadence.times),
        compensation,
    }
}

fn names(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.event.clone()).collect()
}

fn place_name(place: &Place) -> String {
    match place {
        Place::Exchange { name, .. } => name.clone(),
        Place::Http => "http".to_owned(),
    }
}
