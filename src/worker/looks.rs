//! Looks at the watched exchanges every 2 s, always, and binds the tap where it is not bound.
//!
//! An exchange may not exist yet; one that is deleted and declared again loses its bindings silently. Nothing can have been
//! published to what is absent, so an absent exchange holds its sagas' watermark at the last look. One that appeared between
//! two looks may have carried messages nobody saw: a gap.
//!
//! A new version of a saga opens orders only once its bindings stand: it is held back until one look found each of its exchanges
//! bound, or absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::bus::{Look, Tap, Wanted};
use crate::faults::{Bug, is_planted};
use crate::saga::batch::NewDoubt;
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Place, Saga, Selector, Watch};
use crate::saga::order::DoubtKind;
use crate::saga::time::Moment;
use crate::store::{BindingRow, StoreError};

use super::{Escrow, Ran, Worker, WorkerError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps the tap bound.
pub struct Looks {
    escrow: Arc<Escrow>,
    tap: Arc<dyn Tap>,
    /// What is stored; read at the first run.
    known: Option<BTreeMap<String, BindingRow>>,
}

impl Looks {
    /// Looks for this tap.
    pub fn new(escrow: Arc<Escrow>, tap: Arc<dyn Tap>) -> Self {
        Self { escrow, tap, known: None }
    }

    async fn stored(&self) -> Result<BTreeMap<String, BindingRow>, WorkerError> {
        let rows = self.escrow.store.bindings(self.tap.name().to_owned()).await?;
        Ok(rows.into_iter().map(|row| (row.exchange.clone(), row)).collect())
    }

    async fn note(&mut self, look: Look, before: Moment, after: Moment) -> Result<(), WorkerError> {
        let known = self.known.get_or_insert_default();
        let previous = known.get(&look.exchange).cloned();
        let (row, gap_from) = judge(&look, previous.as_ref(), before, after);
        self.escrow.sight.looked(&look.exchange, row.problem.clone());
        if let Some(from) = gap_from.filter(|_| !is_planted(Bug::AppearanceIgnored)) {
            tracing::warn!(
                exchange = look.exchange,
                "an exchange appeared between two looks: what was published before is unseen"
            );
            let doubts = gaps(&self.escrow.catalog(), &look.exchange, from, after);
            self.escrow.store.record_doubts(doubts).await?;
        }
        // Of an exchange that stays bound only the moment changes: not worth a write every two seconds.
        let same = previous.as_ref().is_some_and(|previous| {
            previous.bound && row.bound && previous.problem == row.problem && previous.problem.is_none()
        });
        if !same {
            if previous.as_ref().is_none_or(|previous| previous.bound != row.bound) {
                tracing::info!(exchange = look.exchange, bound = row.bound, "looked at a watched exchange");
            }
            self.escrow.store.save_binding(self.tap.name().to_owned(), row.clone()).await?;
        }
        known.insert(look.exchange, row);
        Ok(())
    }
}

impl Worker for Looks {
    fn name(&self) -> &'static str {
        "looks"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            if self.known.is_none() {
                self.known = Some(self.stored().await?);
            }
            let before = self.escrow.store.now().await?;
            let catalog = self.escrow.catalog();
            let looks = self.tap.look(wanted(&catalog)).await?;
            let after = self.escrow.store.now().await?;
            let settled = |look: &&Look| look.problem.is_none() && (look.bound || !look.found);
            let stand: BTreeSet<String> = looks.iter().filter(settled).map(|look| look.exchange.clone()).collect();
            for look in looks {
                self.note(look, before, after).await?;
            }
            let ready: Vec<(String, u32)> = catalog
                .held()
                .filter(|saga| exchanges(saga).all(|exchange| stand.contains(exchange)))
                .map(|saga| (saga.name.clone(), saga.version))
                .collect();
            if !ready.is_empty() {
                tracing::info!(versions = ?ready, "the bindings of new versions stand: they open orders from now on");
                self.escrow.follow(&ready);
            }
            Ok(Ran::Idle(LOOK_EVERY))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Holds back the versions whose bindings are not known to stand, from the start: a version is followed at once when it is the
/// saga's first, when it has open orders, or when what it watches is bound for others already.
///
/// # Errors
/// The store cannot be read now.
pub async fn hold_unbound(escrow: &Escrow, tap: &str) -> Result<(), StoreError> {
    let rows = escrow.store.bindings(tap.to_owned()).await?;
    let definitions = escrow.store.definitions().await?;
    let has_orders = |saga: &Saga| {
        definitions.iter().any(|row| row.saga == saga.name && row.version == saga.version && row.open_orders > 0)
    };
    let catalog = escrow.catalog();
    let mut above = Vec::new();
    for newest in catalog.newest_all() {
        let mut versions: Vec<&Arc<Saga>> = catalog.versions(&newest.name).collect();
        versions.reverse();
        let mut opens = versions.first().map_or(newest.version, |first| first.version);
        for (place, saga) in versions.iter().enumerate().skip(1) {
            let others = versions[..place].iter().copied();
            let others = others.chain(catalog.all().filter(|other| other.name != saga.name));
            if has_orders(saga) || stands(saga, &rows, &wanted_by(others)) {
                opens = saga.version;
            }
        }
        above.push((newest.name.clone(), opens));
    }
    escrow.hold_versions(&above);
    Ok(())
}

/// Whether everything a version watches is bound, or known to be absent, for others already.
fn stands(saga: &Arc<Saga>, rows: &[BindingRow], for_others: &[Wanted]) -> bool {
    wanted_by(std::iter::once(saga)).iter().all(|wanted| {
        let keys = wanted.binding_keys();
        let others = for_others.iter().find(|other| other.exchange == wanted.exchange);
        // The row of an exchange no other watches was made by a look for this version.
        let is_covered = others.is_none_or(|other| keys.iter().all(|key| other.binding_keys().contains(key)));
        is_covered && rows.iter().any(|row| row.exchange == wanted.exchange && row.problem.is_none())
    })
}

/// The exchanges a version watches.
pub fn exchanges(saga: &Saga) -> impl Iterator<Item = &str> {
    saga.watch.iter().filter_map(|watch| match &watch.place {
        Place::Exchange { name, .. } => Some(name.as_str()),
        Place::Http => None,
    })
}

/// What is now known of an exchange, and since when messages to it may have been missed.
fn judge(look: &Look, previous: Option<&BindingRow>, before: Moment, after: Moment) -> (BindingRow, Option<Moment>) {
    let mut row = previous.cloned().unwrap_or(BindingRow {
        exchange: look.exchange.clone(),
        bound: false,
        absent_at: None,
        bound_at: None,
        problem: None,
    });
    row.problem.clone_from(&look.problem);
    let mut gap_from = None;
    if look.bound && look.problem.is_none() {
        if !row.bound {
            gap_from = row.absent_at;
        }
        row.bound = true;
        row.bound_at = Some(after);
        row.absent_at = None;
    } else if !look.found && look.problem.is_none() {
        row.bound = false;
        row.absent_at = Some(before);
    }
    (row, gap_from)
}

fn gaps(catalog: &Catalog, exchange: &str, from: Moment, to: Moment) -> Vec<NewDoubt> {
    let watches = |saga: &Arc<Saga>| exchanges(saga).any(|name| name == exchange);
    let sagas = catalog.newest_all().filter(|saga| catalog.versions(&saga.name).any(watches));
    let doubt = |saga: &Arc<Saga>| NewDoubt {
        kind: DoubtKind::Gap,
        saga: Some(saga.name.clone()),
        from,
        to,
        event: None,
        order_id: None,
        detail: format!(
            "exchange {exchange} appeared between two looks; what was published to it before it was bound is unseen"
        ),
        quarantined: None,
    };
    sagas.map(doubt).collect()
}

/// Every exchange any version watches, each with all keys any of them needs.
pub fn wanted(catalog: &Catalog) -> Vec<Wanted> {
    wanted_by(catalog.all())
}

fn wanted_by<'a>(sagas: impl Iterator<Item = &'a Arc<Saga>>) -> Vec<Wanted> {
    let mut by_exchange: BTreeMap<String, Wanted> = BTreeMap::new();
    for saga in sagas {
        for watch in &saga.watch {
            let Place::Exchange { name, declare, keys } = &watch.place else { continue };
            let one = Wanted {
                exchange: name.clone(),
                declare: declare.clone(),
                keys: keys.clone(),
                routing_key_events: events_by_routing_key(saga, watch),
            };
            let all = by_exchange.entry(name.clone()).or_insert_with(|| Wanted {
                exchange: name.clone(),
                keys: Some(Vec::new()),
                ..Wanted::default()
            });
            all.declare = all.declare.take().or_else(|| one.declare.clone());
            if let Some(keys) = &mut all.keys {
                keys.extend(one.binding_keys());
                keys.sort();
                keys.dedup();
            }
        }
    }
    by_exchange.into_values().collect()
}

/// The events a definition names, where the routing key is the event's name.
fn events_by_routing_key(saga: &Saga, watch: &Watch) -> Option<Vec<String>> {
    (watch.read.event == [Selector::RoutingKey]).then(|| saga.roles.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(found: bool, problem: Option<&str>) -> Look {
        Look {
            exchange: "shop".to_owned(),
            found,
            bound: found && problem.is_none(),
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn an_exchange_that_appears_between_two_looks_is_a_gap_since_the_first() {
        let (absent, gap) = judge(&look(false, None), None, Moment(10), Moment(11));
        assert_eq!((absent.bound, absent.absent_at, gap), (false, Some(Moment(10)), None));
        let (bound, gap) = judge(&look(true, None), Some(&absent), Moment(20), Moment(21));
        assert_eq!((bound.bound, bound.bound_at, gap), (true, Some(Moment(21)), Some(Moment(10))));
        let (_, again) = judge(&look(true, None), Some(&bound), Moment(30), Moment(31));
        assert_eq!(again, None, "bound all along");
    }

    #[test]
    fn an_exchange_there_at_the_first_look_is_no_gap() {
        assert_eq!(judge(&look(true, None), None, Moment(1), Moment(2)).1, None);
    }

    #[test]
    fn a_refused_look_keeps_what_was_known() {
        let (bound, _) = judge(&look(true, None), None, Moment(1), Moment(2));
        let (refused, gap) = judge(&look(false, Some("403")), Some(&bound), Moment(3), Moment(4));
        assert_eq!(
            (refused.bound, refused.bound_at, refused.problem.as_deref(), gap),
            (true, Some(Moment(2)), Some("403"), None)
        );
    }
}
