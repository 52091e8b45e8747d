//! Versions of a saga: which one opens new orders, and open orders that move from one to another.
//!
//! A call moves one page of orders and says what became of each; `next_cursor` goes on. Nothing is kept between calls, so one
//! that was cut off is simply made again.

use axum::Json;
use axum::extract::Path;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{self, Caller};
use super::filter;
use super::problem::{Problem, ProblemBody};
use super::query::{JsonBody, Params};
use super::state::ApiState;
use super::surroundings::known_saga;
use super::view;
use crate::saga::migration::{
    Armed, DeadlineEffect, Effects, Migration, MigrationAnswer, MigrationOutcome, StepEffect,
};

/// The parameters of the call: the filter of the order list, without what the body says.
const NAMES: &[&str] = &["status", "waiting_on", "reason", "incident", "older_than", "limit", "cursor"];

/// Which version opens new orders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionRequest {
    /// One that is stored.
    pub version: u32,
    /// Goes into the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Which version opens new orders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionAnswer {
    pub saga: String,
    /// The one that opens new orders once its bindings stand.
    pub version: u32,
    /// The one that opens them now.
    pub opens: u32,
}

/// Moving open orders to another version.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    /// Orders on any other version are left alone.
    pub from: u32,
    /// The version that opens new orders.
    pub to: u32,
    /// Only this order.
    #[serde(default)]
    pub order_id: Option<String>,
    /// Steps that wait wait anew, as long as the new version says; else what is armed stays armed.
    #[serde(default)]
    pub rearm: bool,
    /// Say what would happen, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Goes into the journal of each order.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What became of a page of orders, or would.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MigrateAnswer {
    pub saga: String,
    pub from: u32,
    pub to: u32,
    pub dry_run: bool,
    pub counts: MigrateCounts,
    /// Those of the page that are on `from`. A page may have none, and more may follow.
    pub orders: Vec<OrderMigrationView>,
    pub next_cursor: Option<String>,
    /// The watermark: what is due fires once it has passed.
    pub as_of: Option<String>,
}

/// How many orders of a page came to what.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct MigrateCounts {
    pub moved: usize,
    pub already: usize,
    pub refused: usize,
    /// Orders with a deadline that fires as soon as the watermark has passed it.
    pub due: usize,
    /// Orders that wait for an event that may have been published before.
    pub unproven: usize,
}

/// One order.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OrderMigrationView {
    pub order_id: String,
    /// `moved` (in a dry run: it would be), `already` or `refused`.
    pub outcome: String,
    /// Why it is refused; it is untouched.
    pub why: Option<String>,
    /// Sequence of the journal entry.
    pub sequence: Option<u64>,
    /// The status of the order, where that changes.
    pub order: Option<super::audit::StatusChangeView>,
    /// Steps that stand elsewhere than before; null is a version that does not have the step.
    pub changes: Vec<StepMigrationView>,
    /// Everything that is armed afterwards, the earliest first.
    pub deadlines: Vec<DeadlineMigrationView>,
    /// Compensations asked for at once.
    pub asks: Vec<String>,
    /// Events that may have been published before: the order is unproven (`gap`) while it waits for them.
    pub missed: Vec<String>,
}

/// A step that stands elsewhere than before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepMigrationView {
    pub step: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// An armed deadline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadlineMigrationView {
    /// Null for the order as a whole and its turning back.
    pub step: Option<String>,
    /// `step`, `order` or `turn_back`.
    pub of: String,
    pub at: String,
    /// When it was armed for before; null where it was not.
    pub before: Option<String>,
    /// It has passed by the clock: it fires as soon as the watermark has passed it too.
    pub due: bool,
}

/// Lets new orders open on a stored version: the way back from a newer one, and forth again. Open orders stay where they are.
#[utoipa::path(put, path = "/v1/sagas/{saga}/version", tag = "sagas",
    params(("saga" = String, Path), ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts")),
    request_body = VersionRequest,
    responses(
        (status = 200, description = "The version from now on", body = VersionAnswer),
        (status = 400, description = "The body is not right", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "No such version", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn set_saga_version(
    state: ApiState,
    caller: Caller,
    Path(saga): Path<String>,
    JsonBody(request): JsonBody<VersionRequest>,
) -> Result<Json<VersionAnswer>, Problem> {
    known_saga(&state.desk.catalog(), &saga)?;
    let reason = caller::reason(request.reason.as_deref())?;
    state.desk.apply_version(saga.clone(), request.version, caller.actor, reason).await?;
    let catalog = state.desk.catalog();
    let opens = catalog.newest(&saga).map_or(request.version, |opening| opening.version);
    Ok(Json(VersionAnswer { saga, version: request.version, opens }))
}

/// Moves open orders to the version that opens new ones, or says what that would do. Repeating it is safe.
#[utoipa::path(post, path = "/v1/sagas/{saga}/migrate", tag = "sagas",
    params(
        ("saga" = String, Path),
        ("status" = Option<String>, Query, description = "Only open orders in these statuses, separated by commas"),
        ("waiting_on" = Option<String>, Query, description = "Only those that wait for these steps, separated by commas"),
        ("reason" = Option<String>, Query, description = "Only those stuck for these reasons, separated by commas"),
        ("incident" = Option<String>, Query, description = "Only those of this incident"),
        ("older_than" = Option<String>, Query, description = "Only those whose oldest wait is older than this, like `10m`"),
        ("attr.NAME" = Option<String>, Query, description = "Only those with this value of an attribute; NAME is the attribute's"),
        ("limit" = Option<u32>, Query, description = "Orders looked at: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("X-Escrow-Actor" = Option<String>, Header, description = "Who acts"),
    ),
    request_body = MigrateRequest,
    responses(
        (status = 200, description = "What became of each order, or would", body = MigrateAnswer),
        (status = 400, description = "The request is not right", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such saga or order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The versions do not go together, or `to` does not open orders", body = ProblemBody,
            content_type = "application/problem+json"),
    ))]
pub async fn migrate_orders(
    state: ApiState,
    caller: Caller,
    uri: Uri,
    Path(saga): Path<String>,
    JsonBody(request): JsonBody<MigrateRequest>,
) -> Result<Json<MigrateAnswer>, Problem> {
    let params = Params::read(&uri, NAMES, Some(filter::ATTRIBUTE_PREFIX))?;
    let catalog = state.desk.catalog();
    known_saga(&catalog, &saga)?;
    let mut filter = filter::read(&params, &catalog)?;
    if filter.sagas.iter().any(|named| *named != saga) {
        return Err(Problem::parameter("incident", "the incident is not of this saga"));
    }
    filter.order_id.clone_from(&request.order_id);
    let migration = Migration {
        from: request.from,
        to: request.to,
        rearm: request.rearm,
        dry_run: request.dry_run,
        actor: caller.actor,
        reason: caller::reason(request.reason.as_deref())?,
    };
    let listed = state.desk.migrate(saga.clone(), migration, filter, params.page()?).await?;
    let count = |holds: fn(&MigrationOutcome) -> bool| listed.items.iter().filter(|it| holds(&it.outcome)).count();
    Ok(Json(MigrateAnswer {
        counts: MigrateCounts {
            moved: count(|it| matches!(it, MigrationOutcome::Moved { .. })),
            already: count(|it| matches!(it, MigrationOutcome::Already)),
            refused: count(|it| matches!(it, MigrationOutcome::Refused(_))),
            due: count(|it| effects(it).is_some_and(|it| it.deadlines.iter().any(|armed| armed.is_due))),
            unproven: count(|it| effects(it).is_some_and(|it| !it.missed.is_empty())),
        },
        orders: listed.items.iter().map(order_view).collect(),
        next_cursor: listed.next_cursor,
        from: request.from,
        to: request.to,
        dry_run: request.dry_run,
        as_of: view::time(state.desk.watermark(&saga)),
        saga,
    }))
}

fn effects(outcome: &MigrationOutcome) -> Option<&Effects> {
    match outcome {
        MigrationOutcome::Moved { effects, .. } => Some(effects),
        MigrationOutcome::Already | MigrationOutcome::Refused(_) => None,
    }
}

fn order_view(answer: &MigrationAnswer) -> OrderMigrationView {
    let outcome = |word: &str| OrderMigrationView {
        order_id: answer.key.order_id.clone(),
        outcome: word.to_owned(),
        ..OrderMigrationView::default()
    };
    match &answer.outcome {
        MigrationOutcome::Already => outcome("already"),
        MigrationOutcome::Refused(why) => OrderMigrationView { why: Some(why.clone()), ..outcome("refused") },
        MigrationOutcome::Moved { sequence, effects } => OrderMigrationView {
            sequence: Some(*sequence),
            order: effects.status.map(|(from, to)| super::audit::StatusChangeView {
                from: from.word().to_owned(),
                to: to.word().to_owned(),
            }),
            changes: effects.steps.iter().map(step_view).collect(),
            deadlines: effects.deadlines.iter().map(deadline_view).collect(),
            asks: effects.asks.clone(),
            missed: effects.missed.clone(),
            ..outcome("moved")
        },
    }
}

fn step_view(effect: &StepEffect) -> StepMigrationView {
    StepMigrationView {
        step: effect.step.clone(),
        from: effect.from.map(|status| status.word().to_owned()),
        to: effect.to.map(|status| status.word().to_owned()),
    }
}

fn deadline_view(effect: &DeadlineEffect) -> DeadlineMigrationView {
    let (of, step) = match &effect.what {
        Armed::Turn => ("turn_back", None),
        Armed::Order => ("order", None),
        Armed::Step(step) => ("step", Some(step.clone())),
    };
    DeadlineMigrationView {
        step,
        of: of.to_owned(),
        at: effect.at.rfc3339(),
        before: view::time(effect.before),
        due: effect.is_due,
    }
}
