//! Looks at the watched exchanges every 2 s, always, and binds the tap where it is not bound.
//!
//! An exchange may not exist yet; one that is deleted and declared again loses its bindings silently. Nothing can have been
//! published to what is absent, so an absent exchange holds its sagas' watermark at the last look. One that appeared between
//! two looks may have carried messages nobody saw: a gap.
//!
//! Every look begins with what is stored. Another replica may have found an exchange absent, written that, and died: who finds it
//! next has to mend the row, though it never saw the exchange away, or the row would hold the watermark for good.
//!
//! A person may take the tap from all of them (`escrow rabbit unbind`). While that switch is set no look binds anything, in any replica;
//! what is published meanwhile is a gap, recorded when the tap is bound again.
//!
//! Where an administrator binds ([`Tap::is_administered`]), a look that finds an exchange says only that it is there. One that
//! was absent when the administrator bound cannot be bound since: it counts only once a person has said so.
//!
//! A new version of a saga opens orders only once its bindings stand: it is held back until one look found each of its exchanges
//! bound, or absent. What only versions need that nothing needs any more is unbound: `letting_go.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::bus::{BusError, Look, Tap, Wanted};
use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::batch::NewDoubt;
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Place, Saga, Selector, Watch};
use crate::saga::order::DoubtKind;
use crate::saga::time::Moment;
use crate::store::{BindingRow, StoreError, Switch};

use super::letting_go::LettingGo;
use super::{Escrow, Ran, Worker, WorkerError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why an exchange does not count as bound where an administrator binds.
const APPEARED: &str = "it was absent when the tap was bound by an administrator, who has to bind it now; then say so with \
                        `escrow rabbit bind`";

/// Keeps the tap bound.
pub struct Looks {
    pub(super) escrow: Arc<Escrow>,
    pub(super) tap: Arc<dyn Tap>,
    /// What is stored, as this run read it; the moments when an exchange was last found bound may be later.
    pub(super) known: BTreeMap<String, BindingRow>,
    pub(super) letting_go: LettingGo,
    /// The switch as last seen.
    switch: Option<Switch>,
    /// The switch is set, and this process has taken away what it may have bound before it saw that.
    has_unbound: bool,
}

impl Looks {
    /// Looks for this tap.
    pub fn new(escrow: Arc<Escrow>, tap: Arc<dyn Tap>) -> Self {
        Self { escrow, tap, known: BTreeMap::new(), letting_go: LettingGo::default(), switch: None, has_unbound: false }
    }

    async fn read_stored(&mut self) -> Result<(), WorkerError> {
        let rows = self.escrow.store.bindings(self.tap.name().to_owned()).at("looks.bindings").await?;
        let before = std::mem::take(&mut self.known);
        let stored = rows.into_iter().map(|mut row| {
            // That it stays bound is not written at every look.
            row.bound_at = row.bound_at.max(before.get(&row.exchange).and_then(|before| before.bound_at));
            (row.exchange.clone(), row)
        });
        self.known = stored.collect();
        Ok(())
    }

    /// The switch as it stands now.
    async fn read_switch(&mut self) -> Result<Option<Switch>, WorkerError> {
        let switch = self.escrow.store.switch(self.tap.name().to_owned()).at("looks.switch").await?;
        if switch != self.switch {
            self.has_unbound = false;
            self.switch.clone_from(&switch);
        }
        let unbound = switch.filter(|switch| switch.unbound);
        self.escrow.sight.switched_off(unbound.as_ref().map(|switch| (switch.at, words(switch))));
        Ok(unbound)
    }

    /// Binds nothing, and takes away what this process bound before it knew.
    async fn stay_unbound(&mut self, switch: &Switch) -> Result<(), WorkerError> {
        let wanted = wanted(&self.escrow.catalog());
        // A tap that is declared anew is bound to what the last look was asked for.
        self.tap.look(Vec::new()).await?;
        for wanted in wanted.iter().filter(|_| !self.has_unbound) {
            match self.tap.unbind(wanted.exchange.clone(), wanted.binding_keys()).await {
                Ok(()) => {}
                Err(BusError::Misconfigured(why)) => {
                    tracing::error!(
                        exchange = wanted.exchange,
                        why,
                        "the tap cannot be unbound: an administrator has to"
                    );
                }
                Err(error @ BusError::Disconnected(_)) => return Err(error.into()),
            }
        }
        self.has_unbound = true;
        for wanted in wanted {
            let problem = Some(words(switch));
            self.escrow.sight.looked(&wanted.exchange, problem.clone());
            let was = self.known.get(&wanted.exchange).cloned();
            if was.as_ref().is_none_or(|was| was.bound || was.problem != problem) {
                // What another replica still called bound after the switch was turned was bound up to then.
                let absent_at = was.as_ref().filter(|was| was.bound).map(|_| switch.at);
                let absent_at = absent_at.or(was.as_ref().and_then(|was| was.absent_at));
                let bound_at = was.and_then(|was| was.bound_at);
                let row =
                    BindingRow { exchange: wanted.exchange, bound: false, absent_at, bound_at, problem, keys: None };
                self.escrow.store.save_binding(self.tap.name().to_owned(), row.clone()).await?;
                self.known.insert(row.exchange.clone(), row);
            }
        }
        Ok(())
    }

    async fn note(&mut self, look: Look, keys: &[String], before: Moment, after: Moment) -> Result<(), WorkerError> {
        let previous = self.known.get(&look.exchange).cloned();
        let (mut row, mut gap_from) = judge(&look, keys, previous.as_ref(), before, after);
        if self.tap.is_administered() && row.bound {
            let said_at = self.switch.as_ref().map(|switch| switch.at);
            if let Some(absent_at) = gap_from.filter(|absent_at| said_at.is_none_or(|said_at| said_at < *absent_at)) {
                (row.bound, row.absent_at, row.problem) = (false, Some(absent_at), Some(APPEARED.to_owned()));
                gap_from = None;
            }
        }
        self.escrow.sight.looked(&look.exchange, row.problem.clone());
        if let Some(from) = gap_from.filter(|_| !is_planted(Bug::AppearanceIgnored)) {
            tracing::warn!(
                exchange = look.exchange,
                "an exchange appeared between two looks: what was published before is unseen"
            );
            let doubts = gaps(&self.escrow.catalog(), &look.exchange, from, after);
            self.escrow.store.record_doubts(doubts).at("looks.record_gaps").await?;
        }
        // Of an exchange that stays bound only the moment changes: not worth a write every two seconds.
        let same = previous.as_ref().is_some_and(|previous| {
            previous.bound
                && row.bound
                && previous.problem == row.problem
                && row.problem.is_none()
                && previous.keys == row.keys
        });
        if !same {
            if previous.as_ref().is_none_or(|previous| previous.bound != row.bound) {
                tracing::info!(exchange = look.exchange, bound = row.bound, "looked at a watched exchange");
            }
            self.escrow.store.save_binding(self.tap.name().to_owned(), row.clone()).at("looks.save_binding").await?;
        }
        self.known.insert(look.exchange, row);
        Ok(())
    }
}

impl Worker for Looks {
    fn name(&self) -> &'static str {
        "looks"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let unbound = self.read_switch().await?;
            self.read_stored().await?;
            if let Some(switch) = unbound {
                self.stay_unbound(&switch).await?;
                return Ok(Ran::Idle(LOOK_EVERY));
            }
            let before = self.escrow.store.now().at("looks.now_before").await?;
            let catalog = self.escrow.catalog();
            let wanted = wanted(&catalog);
            let looks = self.tap.look(wanted.clone()).at("looks.look").await?;
            let after = self.escrow.store.now().at("looks.now_after").await?;
            let settled = |look: &&Look| look.problem.is_none() && (look.bound || !look.found);
            let stand: BTreeSet<String> = looks.iter().filter(settled).map(|look| look.exchange.clone()).collect();
            for (look, wanted) in looks.into_iter().zip(&wanted) {
                self.note(look, &wanted.binding_keys(), before, after).await?;
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
            self.let_go(after).at("looks.let_go").await?;
            Ok(Ran::Idle(LOOK_EVERY))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Holds back the versions whose bindings are not known to stand, from the start: a version is followed at once when it is the
/// saga's only one, when it has open orders, or when everything it watches is written down as bound.
///
/// # Errors
/// The store cannot be read now.
pub async fn hold_unbound(escrow: &Escrow, tap: &str) -> Result<(), StoreError> {
    let rows = escrow.store.bindings(tap.to_owned()).at("looks.bindings_at_start").await?;
    let definitions = escrow.store.definitions().at("looks.definitions_at_start").await?;
    let has_orders = |saga: &Saga| {
        definitions.iter().any(|row| row.saga == saga.name && row.version == saga.version && row.open_orders > 0)
    };
    let catalog = escrow.catalog();
    let opens = catalog.newest_all().map(|last| {
        let is_ready = |saga: &&Arc<Saga>| has_orders(saga) || stands(saga, &rows);
        let others = || catalog.versions(&last.name).find(is_ready).or_else(|| catalog.versions(&last.name).last());
        let opening = Some(last).filter(is_ready).or_else(others).unwrap_or(last);
        (last.name.clone(), opening.version)
    });
    escrow.hold_versions(&opens.collect::<Vec<_>>());
    Ok(())
}

/// Whether everything a version watches is written down as bound, or as absent. Where nobody has written down the keys, they
/// were bound by a program that wrote none.
pub(super) fn stands(saga: &Arc<Saga>, rows: &[BindingRow]) -> bool {
    wanted_by(std::iter::once(saga)).iter().all(|wanted| {
        rows.iter().find(|row| row.exchange == wanted.exchange).is_some_and(|row| {
            let covers = |keys: &Vec<String>| wanted.binding_keys().iter().all(|key| keys.contains(key));
            if row.bound { row.keys.as_ref().is_none_or(covers) } else { row.problem.is_none() }
        })
    })
}

/// The switch, set, in words.
fn words(switch: &Switch) -> String {
    format!("unbound by {}: {}", switch.actor, switch.reason)
}

/// The exchanges a version watches.
pub fn exchanges(saga: &Saga) -> impl Iterator<Item = &str> {
    saga.watch.iter().filter_map(|watch| match &watch.place {
        Place::Exchange { name, .. } => Some(name.as_str()),
        Place::Http => None,
    })
}

/// What is now known of an exchange, and since when messages to it may have been missed.
fn judge(
    look: &Look,
    keys: &[String],
    previous: Option<&BindingRow>,
    before: Moment,
    after: Moment,
) -> (BindingRow, Option<Moment>) {
    let mut row = previous.cloned().unwrap_or(BindingRow {
        exchange: look.exchange.clone(),
        bound: false,
        absent_at: None,
        bound_at: None,
        problem: None,
        keys: None,
    });
    row.problem.clone_from(&look.problem);
    let mut gap_from = None;
    if look.bound && look.problem.is_none() {
        if !row.bound {
            gap_from = row.absent_at;
        }
        // What was bound before and is not wanted any more is still there.
        let known = row.keys.take().unwrap_or_default();
        let mut keys: Vec<String> = known.into_iter().chain(keys.iter().cloned()).collect();
        keys.sort();
        keys.dedup();
        row.keys = Some(keys);
        row.bound = true;
        row.bound_at = Some(after);
        row.absent_at = None;
    } else if !look.found && look.problem.is_none() {
        row.bound = false;
        row.keys = None;
        row.absent_at = Some(before);
    }
    (row, gap_from)
}

pub(super) fn gaps(catalog: &Catalog, exchange: &str, from: Moment, to: Moment) -> Vec<NewDoubt> {
    let watches = |saga: &Arc<Saga>| exchanges(saga).any(|name| name == exchange);
    let is_watched =
        |saga: &&Arc<Saga>| catalog.watching().any(|version| version.name == saga.name && watches(version));
    let sagas = catalog.newest_all().filter(is_watched);
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

/// Every exchange a version watches that is not idle, each with all keys any of them needs.
pub fn wanted(catalog: &Catalog) -> Vec<Wanted> {
    wanted_by(catalog.watching())
}

pub(super) fn wanted_by<'a>(sagas: impl Iterator<Item = &'a Arc<Saga>>) -> Vec<Wanted> {
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
        let (absent, gap) = judge(&look(false, None), &[], None, Moment(10), Moment(11));
        assert_eq!((absent.bound, absent.absent_at, gap), (false, Some(Moment(10)), None));
        let (bound, gap) = judge(&look(true, None), &[], Some(&absent), Moment(20), Moment(21));
        assert_eq!((bound.bound, bound.bound_at, gap), (true, Some(Moment(21)), Some(Moment(10))));
        let (_, again) = judge(&look(true, None), &[], Some(&bound), Moment(30), Moment(31));
        assert_eq!(again, None, "bound all along");
    }

    #[test]
    fn an_exchange_there_at_the_first_look_is_no_gap() {
        assert_eq!(judge(&look(true, None), &[], None, Moment(1), Moment(2)).1, None);
    }

    #[test]
    fn a_refused_look_keeps_what_was_known() {
        let (bound, _) = judge(&look(true, None), &[], None, Moment(1), Moment(2));
        let (refused, gap) = judge(&look(false, Some("403")), &[], Some(&bound), Moment(3), Moment(4));
        assert_eq!(
            (refused.bound, refused.bound_at, refused.problem.as_deref(), gap),
            (true, Some(Moment(2)), Some("403"), None)
        );
    }
}
