//! All definitions Escrow follows now: every stored version of every saga.
//!
//! New orders open on the newest version; open ones stay on theirs. A catalog is a value: a new definition makes a new
//! catalog, and whoever holds the old one finishes its batch with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::Saga;

/// Every version of every saga.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    sagas: BTreeMap<String, BTreeMap<u32, Arc<Saga>>>,
}

impl Catalog {
    /// The newest version of a saga.
    pub fn newest(&self, saga: &str) -> Option<&Arc<Saga>> {
        self.sagas.get(saga)?.values().next_back()
    }

    /// One version of a saga.
    pub fn version(&self, saga: &str, version: u32) -> Option<&Arc<Saga>> {
        self.sagas.get(saga)?.get(&version)
    }

    /// All versions of a saga, newest first.
    pub fn versions(&self, saga: &str) -> impl Iterator<Item = &Arc<Saga>> {
        self.sagas.get(saga).into_iter().flat_map(|versions| versions.values().rev())
    }

    /// The newest version of every saga, by name.
    pub fn newest_all(&self) -> impl Iterator<Item = &Arc<Saga>> {
        self.sagas.values().filter_map(|versions| versions.values().next_back())
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
