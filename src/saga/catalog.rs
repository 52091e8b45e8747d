//! All definitions Escrow follows now: every stored version of every saga.
//!
//! New orders open on the version applied last, which is the newest unless a person went back; open ones stay on theirs. A
//! version may be held back until its bindings stand: it reads its own orders (another replica may have opened some), and
//! opens none. One that opens none and has no open ones is idle: nothing is bound for it. A catalog is a value: a new definition
//! makes a new catalog, and whoever holds the old one finishes its batch with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::definition::Saga;

/// Every version of every saga.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    sagas: BTreeMap<String, BTreeMap<u32, Arc<Saga>>>,
    /// By saga, the version that opens orders where newer ones are held back.
    held_at: BTreeMap<String, u32>,
    /// By saga, the version applied last where that is not the newest.
    applied: BTreeMap<String, u32>,
    /// Versions that nothing needs to be read for.
    idle: BTreeSet<(String, u32)>,
}

impl Catalog {
    /// The version of a saga that opens orders: the one applied last, unless that is held back.
    pub fn newest(&self, saga: &str) -> Option<&Arc<Saga>> {
        let versions = self.sagas.get(saga)?;
        let held_at = self.held_at.get(saga).and_then(|version| versions.get(version));
        held_at.or_else(|| self.applied_last(saga))
    }

    /// The version that opens orders once its bindings stand.
    pub fn applied_last(&self, saga: &str) -> Option<&Arc<Saga>> {
        let versions = self.sagas.get(saga)?;
        let applied = self.applied.get(saga).and_then(|version| versions.get(version));
        applied.or_else(|| versions.values().next_back())
    }

    /// Says which version of a saga was applied last.
    pub fn apply_last(&mut self, saga: &str, version: u32) {
        self.applied.insert(saga.to_owned(), version);
    }

    /// Says which versions are idle, all of them. One that opens orders is not, whatever is said.
    pub fn rest(&mut self, idle: BTreeSet<(String, u32)>) {
        self.idle = idle;
    }

    /// The versions said to be idle.
    pub fn idle(&self) -> &BTreeSet<(String, u32)> {
        &self.idle
    }

    /// The versions something is read for: those that are not idle.
    pub fn watching(&self) -> impl Iterator<Item = &Arc<Saga>> {
        self.all().filter(|saga| !self.is_idle(saga))
    }

    fn is_idle(&self, saga: &Saga) -> bool {
        let opens = [self.newest(&saga.name), self.applied_last(&saga.name)];
        let is_said = self.idle.contains(&(saga.name.clone(), saga.version));
        is_said && opens.into_iter().flatten().all(|opening| opening.version != saga.version)
    }

    /// Holds back every version of a saga above `version`. One the saga does not have holds nothing back.
    pub fn hold_at(&mut self, saga: &str, version: u32) {
        self.held_at.insert(saga.to_owned(), version);
    }

    /// The versions held back, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &Arc<Saga>> {
        self.sagas.iter().flat_map(|(name, versions)| {
            let opens = self.newest(name).map_or(u32::MAX, |saga| saga.version);
            let last = self.applied_last(name).map_or(opens, |saga| saga.version);
            let waits = move |version: u32| version == last || (opens..last).contains(&version);
            versions.values().filter(move |saga| waits(saga.version) && saga.version != opens)
        })
    }

    /// One version of a saga.
    pub fn version(&self, saga: &str, version: u32) -> Option<&Arc<Saga>> {
        self.sagas.get(saga)?.get(&version)
    }

    /// All versions of a saga, newest first, those held back too.
    pub fn versions(&self, saga: &str) -> impl Iterator<Item = &Arc<Saga>> {
        self.sagas.get(saga).into_iter().flat_map(|versions| versions.values().rev())
    }

    /// The version of every saga that opens orders, by name.
    pub fn newest_all(&self) -> impl Iterator<Item = &Arc<Saga>> {
        self.sagas.keys().filter_map(|name| self.newest(name))
    }

    /// The same, of these sagas alone.
    pub fn only(&self, takes: impl Fn(&str) -> bool) -> Self {
        let mut all = self.clone();
        all.sagas.retain(|saga, _| takes(saga));
        all.held_at.retain(|saga, _| takes(saga));
        all.applied.retain(|saga, _| takes(saga));
        all.idle.retain(|(saga, _)| takes(saga));
        all
    }

    /// Every version of every saga.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Saga>> {
        self.sagas.values().flat_map(BTreeMap::values)
    }
}

impl FromIterator<Arc<Saga>> for Catalog {
    fn from_iter<T: IntoIterator<Item = Arc<Saga>>>(sagas: T) -> Self {
        let mut catalog = Self::default();
        for saga in sagas {
            catalog.sagas.entry(saga.name.clone()).or_default().insert(saga.version, saga);
        }
        catalog
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::parse::parse;

    #[test]
    fn a_version_held_back_is_there_and_opens_no_orders() {
        let version = |version: u32| {
            let text = format!(
                "saga: a\nversion: {version}\nread: {{ event: /e, order_id: /o }}\nwatch: [{{ exchange: x }}]\nsteps: {{ s: {{ done: D }} }}\n"
            );
            Arc::new(parse("a.yaml", &text).unwrap().saga)
        };
        let mut catalog: Catalog = [version(1), version(2), version(3)].into_iter().collect();
        let newest = |catalog: &Catalog| catalog.newest_all().map(|saga| saga.version).collect::<Vec<_>>();
        assert_eq!((newest(&catalog), catalog.held().count()), (vec![3], 0));
        catalog.hold_at("a", 1);
        assert_eq!(newest(&catalog), [1]);
        assert_eq!(catalog.held().map(|saga| saga.version).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((catalog.versions("a").count(), catalog.version("a", 3).is_some()), (3, true));
        catalog.hold_at("a", 2);
        assert_eq!((newest(&catalog), catalog.held().count()), (vec![2], 1));
        // A person goes back: the lower version waits for its bindings, too.
        catalog.apply_last("a", 1);
        assert_eq!(newest(&catalog), [2]);
        assert_eq!(catalog.held().map(|saga| saga.version).collect::<Vec<_>>(), [1]);
        let idle = [1, 2, 3].map(|version| ("a".to_owned(), version)).into();
        catalog.rest(BTreeSet::clone(&idle));
        assert_eq!(catalog.idle(), &idle, "as it was said, also of those that open orders");
        assert_eq!(catalog.watching().map(|saga| saga.version).collect::<Vec<_>>(), [1, 2]);
        catalog.hold_at("a", 1);
        assert_eq!((newest(&catalog), catalog.held().count(), catalog.watching().count()), (vec![1], 0, 1));
    }
}
