//! What one request reads once, to show any number of orders with: the clock, modes, doubts, statistics, watermarks, queues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::{Facts, definition, stand_in};
use super::problem::{Problem, unknown};
use super::state::ApiState;
use super::view::{self, OrderView};
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Mode, Saga, Step};
use crate::saga::order::{Doubt, Order};
use crate::saga::queue::QueueFinding;
use crate::saga::time::Moment;
use crate::store::StepStats;

/// Unresolved doubts looked at. More than these would make every order of a saga unproven anyway.
pub const DOUBTS_MAX: usize = 1_000;

/// What surrounds the orders of one answer.
pub struct Surroundings {
    pub catalog: Arc<Catalog>,
    pub now: Moment,
    modes: BTreeMap<String, Mode>,
    doubts: Vec<Doubt>,
    stats: BTreeMap<String, Vec<StepStats>>,
    watermarks: BTreeMap<String, Option<Moment>>,
    queues: Vec<QueueFinding>,
}

impl Surroundings {
    /// Reads what the orders of `sagas` need.
    pub async fn read(state: &ApiState, sagas: BTreeSet<String>) -> Result<Self, Problem> {
        let query = &state.query;
        let mut stats = BTreeMap::new();
        let mut watermarks = BTreeMap::new();
        let catalog = state.desk.catalog();
        let steps = catalog.all().filter(|saga| sagas.contains(&saga.name)).flat_map(|saga| &saga.steps);
        let named: BTreeSet<&str> = steps.flat_map(Step::queues).collect();
        let queues = named.into_iter().filter_map(|queue| state.desk.queue_finding(queue)).collect();
        for saga in sagas {
            watermarks.insert(saga.clone(), state.desk.watermark(&saga));
            stats.insert(saga.clone(), query.stats(saga, None).await?);
        }
        Ok(Self {
            catalog,
            queues,
            now: query.now().await?,
            modes: query.modes().await?,
            doubts: query.doubts(DOUBTS_MAX).await?,
            stats,
            watermarks,
        })
    }

    /// Shows one order.
    pub fn show(&self, order: &Order) -> OrderView {
        let name = &order.key.saga;
        let stand_in_saga;
        let (saga, is_known): (&Saga, bool) = if let Some(saga) = definition(&self.catalog, order) {
            (saga, true)
        } else {
            stand_in_saga = stand_in(order);
            (&stand_in_saga, false)
        };
        view::order(&Facts {
            order,
            saga,
            is_known,
            mode: self.modes.get(name).copied().unwrap_or(saga.mode),
            doubts: &self.doubts,
            stats: self.stats.get(name).map_or(&[], Vec::as_slice),
            watermark: self.watermarks.get(name).copied().flatten(),
            queues: &self.queues,
            now: self.now,
        })
    }
}

/// The newest version of a saga, or a 404 that names what was meant.
pub fn known_saga<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<Saga>, Problem> {
    let names = || catalog.newest_all().map(|saga| saga.name.as_str());
    catalog.newest(name).ok_or_else(|| Problem::not_found(unknown("saga", name, names())))
}

/// The least of the known watermarks: what an answer over several sagas is true for.
pub fn as_of(state: &ApiState, catalog: &Catalog) -> Option<Moment> {
    let mut least = None;
    for saga in catalog.newest_all() {
        let watermark = state.desk.watermark(&saga.name)?;
        least = Some(least.map_or(watermark, |least: Moment| least.min(watermark)));
    }
    least
}
