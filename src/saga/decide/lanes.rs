//! A batch in two lanes that share no order, so that they can be decided and written beside each other.
//!
//! ```text
//!   batch ──every message has an id, and names one order──▶ first lane, last lane: by the hash of the order's name
//!         └─anything else: one by one it matters what was before───▶ as it is
//! ```
//!
//! How a batch is split changes nothing but the moments written down. The progress of the tap is the last lane's: it may be
//! committed only after the first. Should the last be lost, the first comes again with it, and is known by the ids of its
//! messages (rule 2): that is why a message without one keeps its batch together.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::{Delivered, FromTap, OrderRef, Plan, Work};

/// Smaller batches are not worth two transactions.
const LANES_MIN: usize = 256;

impl Plan {
    /// The two lanes of this batch, in the order in which they are to be committed.
    ///
    /// # Errors
    /// It has to stay together; here it is.
    pub fn into_lanes(self) -> Result<[Self; 2], Box<Self>> {
        let Some(tap) = self.tap.clone().filter(|_| self.work.len() >= LANES_MIN) else { return Err(Box::new(self)) };
        let Some(lanes) = self.work.iter().map(lane).collect::<Option<Vec<bool>>>() else { return Err(Box::new(self)) };
        let mut sides = lanes.into_iter();
        let (first, last): (Vec<Work>, Vec<Work>) =
            self.work.into_iter().partition(|_| sides.next().unwrap_or_default());
        let plan = Self { work: Vec::new(), ..self };
        let before = FromTap { watermark: None, is_fresh: false, ..tap };
        // What was met is counted once.
        let first = Self { work: first, tap: Some(before), coverage: Arc::default(), token: None, ..plan.clone() };
        Ok([first, Self { work: last, token: None, ..plan }])
    }
}

/// Whether this work goes into the first lane; `None` if it may not be parted from the rest.
fn lane(work: &Work) -> Option<bool> {
    let Work::Delivered(delivered) = work else { return None };
    let order_id = only_order(delivered)?;
    let mut hash = DefaultHasher::new();
    order_id.hash(&mut hash);
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
