//! Takes batches from a source and reads them: everything about a batch that needs no database.
//!
//! ```text
//!   Source ──Batch──▶ Fetched: its items read (pure), its receipt, what it is to its tap
//! ```
//!
//! Reading decides nothing. It may be done ahead of the writing of the batch before, and done again when another version of a
//! definition became known meanwhile.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::Digest as _;
use uuid::Uuid;

use crate::bus::{Batch, BusError, Delivery, Gap, Item, Receipt, Source};
use crate::faults::Step as _;
use crate::saga::batch::QuarantineReason;
use crate::saga::catalog::Catalog;
use crate::saga::coverage::Coverage;
use crate::saga::decide::{Unread, Work, token_of};
use crate::saga::order::Digest;
use crate::saga::time::{Moment, Span};
use crate::wire::Message;

use super::reading::{self, Readings};
use super::traces::Timing;
use super::{Escrow, words_of};

/// Reads what sources give.
pub struct Fetching {
    escrow: Arc<Escrow>,
    readings: Mutex<Readings>,
    body_keep_bytes: usize,
}

/// A batch that was taken and read; what is not applied of it comes again.
pub struct Fetched {
    pub tap: Option<String>,
    pub lag: Option<Span>,
    pub is_fresh: bool,
    pub is_full: bool,
    pub content: Content,
    pub timing: Timing,
    pub receipt: Box<dyn Receipt>,
    items: Vec<Item>,
}

/// What a batch comes to, by the definitions it was read with.
pub struct Content {
    pub catalog: Arc<Catalog>,
    pub work: Vec<Work>,
    pub gaps: Vec<Gap>,
    /// The latest canary.
    pub canary: Option<Moment>,
    /// The latest watermark one of them carries.
    pub carried: Option<Moment>,
    pub coverage: Coverage,
    /// Names this reading of the batch.
    pub token: Digest,
}

impl Fetching {
    /// Reading that keeps bodies up to `body_keep_bytes`.
    pub fn new(escrow: Arc<Escrow>, body_keep_bytes: usize) -> Self {
        Self { escrow, readings: Mutex::new(Readings::new(body_keep_bytes)), body_keep_bytes }
    }

    /// The next batch, read. Dropped before it is ready, nothing is lost: the source keeps what it took.
    ///
    /// # Errors
    /// The source ended.
    pub async fn next(&self, source: &mut dyn Source) -> Result<Fetched, BusError> {
        let batch = source.next_batch().at("ingest.next_batch").await?;
        // No await from here on: what was taken is read, and given.
        let timing = Timing::of(&self.escrow, &batch);
        let Batch { tap, items, lag, is_fresh, is_full, receipt } = batch;
        let content = self.read(&items, lag);
        Ok(Fetched { tap, lag, is_fresh, is_full, content, timing, receipt, items })
    }

    /// Reads the batch again, by the definitions known now.
    pub fn read_again(&self, fetched: &mut Fetched) {
        fetched.content = self.read(&fetched.items, fetched.lag);
    }

    fn read(&self, items: &[Item], lag: Option<Span>) -> Content {
        let secret: Digest = sha2::Sha256::digest(Uuid::new_v4().as_bytes()).into();
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = Content {
            catalog: self.escrow.catalog(),
            work: Vec::with_capacity(items.len()),
            gaps: Vec::new(),
            canary: None,
            carried: None,
            coverage: Coverage::default(),
            token: token_of(&secret, "whole"),
        };
        for (item, number) in items.iter().zip(1..) {
            match item {
                Item::Delivery(delivery) => {
                    let salt = reading::salt(&secret, number);
                    content.work.extend(self.read_one(&mut readings, &content.catalog, delivery, salt, lag));
                }
                Item::Canary { sent_at, carried } => {
                    content.canary = content.canary.max(Some(*sent_at));
                    content.carried = content.carried.max(*carried);
                }
                Item::Gap(gap) => content.gaps.push(gap.clone()),
            }
        }
        content.coverage = readings.take_coverage();
        content
    }

    /// A message the program breaks over is kept like one that cannot be read.
    fn read_one(
        &self,
        readings: &mut Readings,
        catalog: &Catalog,
        delivery: &Delivery,
        salt: [u8; 16],
        lag: Option<Span>,
    ) -> Option<Work> {
        let read = AssertUnwindSafe(|| readings.read(catalog, &self.escrow.sight, delivery, salt, lag));
        match std::panic::catch_unwind(read) {
            Ok(read) => read.map(Work::Delivered),
            Err(panic) => {
                let detail = format!("the program broke over it: {}", words_of(&*panic));
                tracing::error!(exchange = delivery.exchange, detail, "a message cannot be read");
                let raw = Message::new(delivery, salt, self.body_keep_bytes, lag).raw();
                let message = raw.quarantined(QuarantineReason::Unreadable, detail);
                Some(Work::Unreadable(Unread { message: Box::new(message), doubt: true }))
            }
        }
    }
}
