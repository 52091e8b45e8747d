//! A batch in two parts: halves, to be written one after the other, or lanes, which share no order and may be written beside each
//! other.
//!
//! ```text
//!   batch ──refused──▶ halves, each with the messages in their order
//!         ──every message has an id, and names one order──▶ lanes, by the hash of the order's name
//! ```
//!
//! How a batch is split changes nothing but the moments written down. The progress of the tap is the last part's: it may be
//! committed only after the first. Should the last lane be lost, the first comes again with it, and is known by the ids of its
//! messages (rule 2): that is why a message without one keeps its batch out of lanes.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use sha2::Digest as _;

use super::{Delivered, FromTap, OrderRef, Plan, Work};
use crate::saga::order::Digest;

/// Smaller batches are not worth two transactions.
const LANES_MIN: usize = 256;

impl Plan {
    /// The two halves of this batch, in the order in which they are to be committed.
    pub fn into_halves(mut self) -> [Self; 2] {
        let mut first = std::mem::take(&mut self.work);
        let last = first.split_off(first.len() / 2);
        Self { needs_versions: false, ..self }.parted(first, last)
    }

    /// The two lanes of this batch, in the order in which they are to be committed.
    ///
    /// # Errors
    /// It has to stay together; here it is.
    pub fn into_lanes(mut self) -> Result<[Self; 2], Box<Self>> {
        if self.tap.is_none() || self.work.len() < LANES_MIN {
            return Err(Box::new(self));
        }
        let Some(lanes) = self.work.iter().map(lane).collect::<Option<Vec<bool>>>() else { return Err(Box::new(self)) };
        let mut lanes = lanes.into_iter();
        let work = std::mem::take(&mut self.work).into_iter();
        let (first, last) = work.partition(|_| lanes.next().unwrap_or_default());
        Ok(self.parted(first, last))
    }

    /// What the first part leaves behind is remembered with the last, for nothing is acknowledged before the whole.
    fn parted(self, first: Vec<Work>, last: Vec<Work>) -> [Self; 2] {
        let part = |name| self.token.map(|token| token_of(&token, name));
        let marks = first.iter().filter_map(Work::delivered).filter_map(|it| it.content_hash);
        let mut tap = self.tap.clone();
        if let Some(tap) = &mut tap {
            tap.before.extend(marks);
        }
        let before = self.tap.clone().map(|tap| FromTap { watermark: None, is_fresh: false, ..tap });
        // What was met is counted once, with the last part.
        let coverage = Arc::default();
        let first = Self { work: first, token: part("first"), tap: before, coverage, ..self.clone() };
        let token = part("second");
        [first, Self { work: last, token, tap, ..self }]
    }
}

/// What names a batch, or a part of one.
pub fn token_of(secret: &Digest, part: &str) -> Digest {
    let mut hash = sha2::Sha256::new();
    hash.update(b"batch token");
    hash.update(secret);
    hash.update(part);
    hash.finalize().into()
}

/// Whether this work goes into the first lane; `None` if it may not be parted from the rest.
fn lane(work: &Work) -> Option<bool> {
    let mut hash = DefaultHasher::new();
    only_order(work.delivered()?)?.hash(&mut hash);
    Some(hash.finish() & 1 == 0)
}

/// The one order id that every saga reads in it; `None` also where it has to be told apart by its content.
fn only_order(delivered: &Delivered) -> Option<&str> {
    if delivered.content_hash.is_some() {
        return None;
    }
    let mut ids = delivered.arrivals.iter().flat_map(|arrival| &arrival.candidates).map(|candidate| &candidate.place);
    let OrderRef::Id(first) = ids.next()? else { return None };
    ids.all(|place| matches!(place, OrderRef::Id(id) if id == first)).then_some(first)
}
