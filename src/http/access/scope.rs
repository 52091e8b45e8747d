//! Which sagas a caller sees. What is outside is, for that caller, not there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::store::OrderFilter;

/// The sagas a caller sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    All,
    /// These, whether they exist or not.
    Sagas(Arc<BTreeSet<String>>),
}

impl Scope {
    /// Whether the saga is seen.
    pub fn takes(&self, saga: &str) -> bool {
        match self {
            Self::All => true,
            Self::Sagas(sagas) => sagas.contains(saga),
        }
    }

    /// The sagas by name; `None` where it is all of them.
    pub fn names(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Sagas(sagas) => Some(sagas.iter().cloned().collect()),
        }
    }

    /// The filter cut down to what is seen; `None` where nothing of it is left. An empty list of sagas means all, so it never stays
    /// empty.
    pub fn narrow(&self, mut filter: OrderFilter) -> Option<OrderFilter> {
        let Self::Sagas(sagas) = self else { return Some(filter) };
        if filter.sagas.is_empty() {
            filter.sagas = sagas.iter().cloned().collect();
        } else {
            filter.sagas.retain(|saga| sagas.contains(saga));
        }
        (!filter.sagas.is_empty()).then_some(filter)
    }

    /// Whether a filter names nothing outside.
    pub fn covers(&self, filter: &OrderFilter) -> bool {
        match self {
            Self::All => true,
            Self::Sagas(sagas) => !filter.sagas.is_empty() && filter.sagas.iter().all(|saga| sagas.contains(saga)),
        }
    }
}

impl<T: Into<String>> FromIterator<T> for Scope {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        Self::Sagas(Arc::new(names.into_iter().map(Into::into).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(sagas: &[&str]) -> OrderFilter {
        OrderFilter { sagas: sagas.iter().map(|it| (*it).to_owned()).collect(), ..OrderFilter::default() }
    }

    #[test]
    fn a_filter_never_reaches_beyond_the_scope() {
        let scope: Scope = ["order", "return"].into_iter().collect();
        assert_eq!(scope.narrow(filter(&[])), Some(filter(&["order", "return"])));
        assert_eq!(scope.narrow(filter(&["order", "secret"])), Some(filter(&["order"])));
        assert_eq!(scope.narrow(filter(&["secret"])), None);
        assert_eq!(Scope::All.narrow(filter(&[])), Some(filter(&[])));
        // Nothing named is everything.
        for (sagas, covered) in [(&["order"][..], true), (&[][..], false), (&["order", "secret"][..], false)] {
            assert_eq!(scope.covers(&filter(sagas)), covered, "{sagas:?}");
        }
        // A scope without sagas sees none, rather than all.
        let nothing: Scope = Vec::<String>::new().into_iter().collect();
        assert_eq!(nothing.narrow(filter(&[])), None);
    }
}
