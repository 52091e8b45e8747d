//! How many orders begin and end: the traffic, as it was over the last minutes.
//!
//! ```text
//!   every 10 s:  orders by status ──▶ (all there are, those that ended) ──▶ the last 90 of these ──▶ differences
//! ```
//!
//! Counted from the database, so it is the same on every replica and whoever applied what. It is kept in memory only: it begins anew
//! with the program, and one order that ran again after its end counts as one less that ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::Json;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

use super::access::scope::Scope;
use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use crate::saga::order::Status;
use crate::saga::time::{Moment, Span};
use crate::store::StatusCount;

/// Between two looks. Each reads an index once.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks kept: a quarter of an hour and the one before it.
const LOOKS_MAX: usize = 91;

/// What counts as now when a rate is said.
const RATE_SPAN: Span = Span::from_secs(60);

/// The orders there are and those that ended, of each saga, at some moments.
#[derive(Debug, Default)]
pub struct Flow {
    looks: Mutex<VecDeque<Look>>,
}

#[derive(Clone, Debug)]
struct Look {
    at: Moment,
    sagas: BTreeMap<String, Totals>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    begun: u64,
    ended: u64,
}

/// The traffic of orders.
#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowView {
    /// The oldest first; empty until Escrow has looked twice.
    pub points: Vec<FlowPoint>,
    /// Over the last minute, or what is known of it; null until Escrow has looked twice.
    pub begun_per_minute: Option<f64>,
    pub ended_per_minute: Option<f64>,
}

/// What happened between two looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowPoint {
    pub from: String,
    pub to: String,
    pub begun: u64,
    pub ended: u64,
}

/// Says how many orders began and ended over the last quarter of an hour.
#[utoipa::path(get, path = "/v1/flow", tag = "status",
    params(("saga" = Option<String>, Query, description = "Of one saga")),
    responses(
        (status = 200, description = "The traffic", body = FlowView),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_flow(state: ApiState, uri: Uri) -> Result<Json<FlowView>, Problem> {
    let saga = Params::read(&uri, &["saga"], None)?.saga(&state.desk.catalog())?;
    Ok(Json(state.flow.show(saga.as_deref(), &state.scope)))
}

/// Looks now and then, until it is dropped. A look that fails is left out: the next one covers its time.
pub async fn watch(state: ApiState) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match (state.query.count_by_status().await, state.query.now().await) {
            (Ok(counts), Ok(now)) => state.flow.look(now, &counts),
            (Err(error), _) | (_, Err(error)) => tracing::debug!(%error, "the traffic of orders could not be read"),
        }
    }
}

impl Flow {
    /// Remembers one look.
    pub fn look(&self, at: Moment, counts: &[StatusCount]) {
        let mut sagas: BTreeMap<String, Totals> = BTreeMap::new();
        for count in counts {
            let totals = sagas.entry(count.saga.clone()).or_default();
            totals.begun += count.count;
            if has_ended(count.status) {
                totals.ended += count.count;
            }
        }
        let mut looks = self.looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        looks.push_back(Look { at, sagas });
        while looks.len() > LOOKS_MAX {
            looks.pop_front();
        }
    }

    fn show(&self, saga: Option<&str>, scope: &Scope) -> FlowView {
        let looks = self.looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen: Vec<(Moment, Totals)> = looks.iter().map(|look| (look.at, look.totals(saga, scope))).collect();
        drop(looks);
        let points = seen.windows(2).map(|pair| {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            FlowPoint {
                from: from.rfc3339(),
                to: to.rfc3339(),
                begun: after.begun.saturating_sub(before.begun),
                ended: after.ended.saturating_sub(before.ended),
            }
        });
        let rate = |count: fn(Totals) -> u64| {
            let (now, last) = *seen.last()?;
            let (then, first) = *seen.iter().find(|(at, _)| now.since(*at) <= RATE_SPAN).filter(|(at, _)| *at < now)?;
            let minutes = now.since(then).as_secs_f64() / 60.0;
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let many = count(last).saturating_sub(count(first)) as f64;
            Some((many / minutes * 10.0).round() / 10.0)
        };
        FlowView {
            begun_per_minute: rate(|it| it.begun),
            ended_per_minute: rate(|it| it.ended),
            points: points.collect(),
        }
    }
}

impl Look {
    fn totals(&self, saga: Option<&str>, scope: &Scope) -> Totals {
        let is_wanted = |name: &str| scope.takes(name) && saga.is_none_or(|it| it == name);
        let wanted = self.sagas.iter().filter(|(name, _)| is_wanted(name));
        wanted
            .fold(Totals::default(), |sum, (_, it)| Totals { begun: sum.begun + it.begun, ended: sum.ended + it.ended })
    }
}

fn has_ended(status: Status) -> bool {
    match status {
        Status::Running | Status::Compensating | Status::Stuck => false,
        Status::Completed | Status::Compensated | Status::Cancelled | Status::Failed | Status::Closed => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(running: u64, completed: u64) -> Vec<StatusCount> {
        let count = |saga: &str, status, count| StatusCount { saga: saga.to_owned(), status, count };
        vec![
            count("order", Status::Running, running),
            count("order", Status::Completed, completed),
            count("return", Status::Stuck, 1),
        ]
    }

    #[test]
    fn a_rate_needs_two_looks_and_is_of_the_last_minute() {
        let flow = Flow::default();
        assert_eq!(
            flow.show(None, &Scope::All),
            FlowView { points: vec![], begun_per_minute: None, ended_per_minute: None }
        );
        let at = |seconds: i64| Moment(seconds * 1_000_000);
        flow.look(at(0), &counts(0, 0));
        assert_eq!(flow.show(None, &Scope::All).begun_per_minute, None);
        flow.look(at(60), &counts(600, 0));
        flow.look(at(90), &counts(601, 5));
        flow.look(at(120), &counts(601, 15));
        let shown = flow.show(None, &Scope::All);
        assert_eq!((shown.begun_per_minute, shown.ended_per_minute), (Some(16.0), Some(15.0)));
        let points: Vec<_> = shown.points.iter().map(|it| (it.begun, it.ended)).collect();
        assert_eq!(points, [(600, 0), (6, 5), (10, 10)]);
        assert_eq!(flow.show(Some("return"), &Scope::All).begun_per_minute, Some(0.0));
        let of_one = flow.show(None, &["return"].into_iter().collect());
        assert!(of_one.points.iter().all(|it| (it.begun, it.ended) == (0, 0)), "the other saga is not seen");
    }

    #[test]
    fn only_the_last_quarter_of_an_hour_is_kept_and_less_is_never_a_debt() {
        let flow = Flow::default();
        for look in 0..200 {
            flow.look(Moment(look * 10_000_000), &counts(500 - u64::try_from(look).unwrap(), 0));
        }
        let shown = flow.show(None, &Scope::All);
        assert_eq!(shown.points.len(), LOOKS_MAX - 1);
        assert!(shown.points.iter().all(|it| it.begun == 0));
    }
}
