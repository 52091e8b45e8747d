//! How Escrow is: connections, how far it has read, orders by status, what waits to be sent, what is in doubt.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::brakes::{BrakeView, brake_view, latched_at};
use super::problem::Problem;
use super::query::Params;
use super::sagas::{by_status, mode_word, sight_words};
use super::state::{ApiState, BusReport};
use super::surroundings::{DOUBTS_MAX, as_of};
use super::view;
use crate::saga::order::DoubtKind;

/// How Escrow is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Names the tap; replicas share it.
    pub name: String,
    /// Of the program.
    pub version: String,
    pub started_at: String,
    /// By the database's clock.
    pub now: String,
    /// Null: events come over HTTP only.
    pub bus: Option<BusView>,
    pub sagas: Vec<SagaStatusView>,
    pub outbox: OutboxView,
    pub doubts: DoubtsView,
    /// What is wrong, in words; empty when nothing is.
    pub problems: Vec<String>,
    /// The least watermark of all sagas.
    pub as_of: Option<String>,
}

/// The connections to the broker, as this replica sees them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BusView {
    pub consuming_connected: bool,
    /// This replica reads the tap; a standby does not.
    pub consuming: bool,
    pub publishing_connected: bool,
    /// Messages waiting in the tap at the last look.
    pub tap_depth: Option<u64>,
    /// So many may wait in the tap: what is more drops the oldest, and is a gap. Null where it has no bound of Escrow's.
    pub tap_bound: Option<u64>,
    pub lag_seconds: Option<f64>,
    pub problem: Option<String>,
}

/// Where one saga stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SagaStatusView {
    pub saga: String,
    pub mode: String,
    /// `live`, `behind` or `blind`.
    pub sight: String,
    pub sight_detail: Option<String>,
    pub watermark: Option<String>,
    pub orders: BTreeMap<String, u64>,
    /// Null where the definition says `brake: none`.
    pub brake: Option<BrakeView>,
    /// Watched exchanges that are not there or cannot be bound, with the reason.
    pub unbound: BTreeMap<String, String>,
}

/// What waits to be sent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OutboxView {
    pub rows: u64,
    pub oldest_at: Option<String>,
}

/// Doubts that are not resolved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DoubtsView {
    /// At most a thousand are counted.
    pub gaps: usize,
    pub quarantine: usize,
}

/// Says how Escrow is.
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, description = "How Escrow is", body = StatusView)))]
pub async fn get_status(state: ApiState, uri: Uri) -> Result<Json<StatusView>, Problem> {
    Params::read(&uri, &[], None)?;
    let catalog = state.desk.catalog();
    let report = state.desk.status();
    let (counts, modes) = (state.query.count_by_status().await?, state.query.modes().await?);
    let backlog = state.query.outbox_backlog().await?;
    let doubts = state.query.doubts(DOUBTS_MAX).await?;
    let (states, now) = (state.query.saga_states().await?, state.query.now().await?);
    let braked = catalog.newest_all().filter_map(|saga| Some((&saga.name, latched_at(saga, &states)?)));
    let braked: Vec<String> = braked
        .map(|(saga, since)| {
            format!("the brake of saga {saga} holds orders back since {since}: find the cause, then reset it")
        })
        .collect();
    let sagas = catalog.newest_all().map(|saga| {
        let known = report.sagas.get(&saga.name);
        let (sight, sight_detail) = sight_words(known.map(|it| &it.sight));
        SagaStatusView {
            saga: saga.name.clone(),
            mode: mode_word(modes.get(&saga.name).copied().unwrap_or(saga.mode)).to_owned(),
            sight,
            sight_detail,
            watermark: view::time(state.desk.watermark(&saga.name)),
            orders: by_status(&counts, &saga.name),
            brake: brake_view(saga, &states, now),
            unbound: known.map(|it| it.unbound.clone()).unwrap_or_default(),
        }
    });
    Ok(Json(StatusView {
        sagas: sagas.collect(),
        name: report.name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: report.started_at.rfc3339(),
        now: now.rfc3339(),
        bus: report.bus.map(bus_view),
        outbox: OutboxView { rows: backlog.rows, oldest_at: view::time(backlog.oldest_at) },
        doubts: DoubtsView {
            gaps: doubts.iter().filter(|it| it.kind == DoubtKind::Gap).count(),
            quarantine: doubts.iter().filter(|it| it.kind == DoubtKind::Quarantine).count(),
        },
        problems: report.problems.into_iter().chain(braked).collect(),
        as_of: view::time(as_of(&state, &catalog)),
    }))
}

fn bus_view(bus: BusReport) -> BusView {
    BusView {
        consuming_connected: bus.consuming_connected,
        consuming: bus.consuming,
        publishing_connected: bus.publishing_connected,
        tap_depth: bus.tap_depth,
        tap_bound: bus.tap_bound,
        lag_seconds: bus.lag.map(crate::saga::time::Span::as_secs_f64),
        problem: bus.problem,
    }
}
