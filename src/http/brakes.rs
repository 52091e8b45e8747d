//! The brake of a saga (rule 14): how it is shown, and how a person takes it off.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{self, Caller};
use super::problem::{Problem, ProblemBody};
use super::query::JsonBody;
use super::state::ApiState;
use super::surroundings::known_saga;
use super::view;
use crate::saga::brake::SagaState;
use crate::saga::definition::Saga;
use crate::saga::order::StuckReason;
use crate::saga::time::Moment;
use crate::store::OrderFilter;

/// The brake of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrakeView {
    /// So many orders may turn back by timeout …
    pub orders: u32,
    /// … within this time.
    pub per: String,
    /// Turned back within the window that ends now.
    pub counted: u32,
    /// Since when it holds every order that would turn back by timeout; null when it does not.
    pub latched_at: Option<String>,
}

/// Takes a brake off.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrakeResetRequest {
    /// Goes into the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What became of a brake.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BrakeAnswer {
    pub saga: String,
    /// Null where the definition says `brake: none`.
    pub brake: Option<BrakeView>,
    /// Since when it had been latched; null when it was not.
    pub was_latched_at: Option<String>,
    /// Orders it held that stay held until a person releases or drops them; exact up to ten thousand.
    pub held: u64,
}

/// Takes the brake of a saga off: it counts from nothing again. Orders that are held stay held until they are released or
/// dropped.
#[utoipa::path(post, path = "/v1/sagas/{saga}/brake/reset", tag = "sagas",
    params(("saga" = String, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts")),
    request_body = BrakeResetRequest,
    responses(
        (status = 200, description = "The brake now", body = BrakeAnswer),
        (status = 400, description = "No reason is given", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn reset_saga_brake(
    state: ApiState,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<BrakeResetRequest>,
) -> Result<Json<BrakeAnswer>, Problem> {
    let catalog = state.desk.catalog();
    let saga = known_saga(&catalog, &name)?;
    let reason = caller::reason(request.reason.as_deref())?;
    let was = state.desk.reset_brake(name.clone(), caller.actor, reason).await?;
    let held = OrderFilter { sagas: vec![name.clone()], reasons: vec![StuckReason::Held], ..OrderFilter::default() };
    let held = state.query.count_orders(held).await?;
    let (states, now) = (state.query.saga_states().await?, state.query.now().await?);
    Ok(Json(BrakeAnswer {
        brake: brake_view(saga, &states, now),
        was_latched_at: view::time(was.latched_at),
        held,
        saga: name,
    }))
}

/// The brake of a saga; none where its definition says `none`.
pub fn brake_view(saga: &Saga, states: &BTreeMap<String, SagaState>, now: Moment) -> Option<BrakeView> {
    let limit = saga.brake?;
    let brake = states.get(&saga.name).map(|state| state.brake.clone()).unwrap_or_default();
    Some(BrakeView {
        orders: limit.orders,
        per: limit.per.to_string(),
        counted: brake.counted(limit, now),
        latched_at: view::time(brake.latched_at),
    })
}

/// Since when the brake of a saga holds.
pub fn latched_at(saga: &Saga, states: &BTreeMap<String, SagaState>) -> Option<Moment> {
    saga.brake?;
    states.get(&saga.name)?.brake.latched_at
}
