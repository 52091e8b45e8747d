//! Two batches written beside each other, on two connections, in an order that holds whatever happens: the last commits only
//! after the first has.
//!
//! ```text
//!   first   load and lock ─▶ decide ─▶ save ────────────▶ commit
//!                         └ loaded                              └ committed
//!   last                  ▶ load and lock ─▶ decide ─▶ save ────▶ progress ─▶ commit
//! ```
//!
//! They share no order. Locks are taken by the first before the last begins, and what all batches write (the row of the tap,
//! the counts of events) the last writes after the first is done, so neither waits for the other in a circle. Should somebody
//! else close the circle, the last gives up after a while and begins again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::session::Failure;
use super::{Beside, Committed, StoreError};

/// A batch on its way through the store; not begun before it is waited for.
type Applying<'a> = BoxFuture<'a, Result<Committed, StoreError>>;

/// How long the last holds its locks and waits for the first.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far the first batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    Loaded,
    Committed,
    Failed,
}

/// A batch's place among those written beside each other.
#[derive(Clone, Debug)]
pub enum Turn {
    Alone,
    First(First),
    Last(Last),
}

/// The first's word to the last.
#[derive(Clone, Debug)]
pub struct First(Arc<watch::Sender<Stage>>);

/// Where the last hears it.
#[derive(Clone, Debug)]
pub struct Last(watch::Receiver<Stage>);

/// A first and a last.
pub fn turns() -> (First, Last) {
    let (first, last) = watch::channel(Stage::Begun);
    (First(Arc::new(first)), Last(last))
}

/// Whether the batch is done: not if it failed, and not if it decided nothing, for want of a definition.
fn has_decided(outcome: &Result<Committed, StoreError>) -> bool {
    outcome.as_ref().is_ok_and(|committed| committed.changes.unknown_version.is_none())
}

/// Both, where a store writes one at a time.
pub async fn one_after_the_other(first: Applying<'_>, last: Applying<'_>) -> Beside {
    let first = first.await;
    let last = if has_decided(&first) { Some(last.await) } else { None };
    Beside { first, last }
}

/// Both at the same time, each with its turn.
pub async fn together(turn: First, first: Applying<'_>, last: Applying<'_>) -> Beside {
    let first = async {
        let outcome = first.await;
        turn.ended(&outcome);
        outcome
    };
    let (first, last) = futures_util::future::join(first, last).await;
    let last = has_decided(&first).then_some(last);
    Beside { first, last }
}

impl First {
    /// How the transaction of the first ended.
    fn ended(&self, outcome: &Result<Committed, StoreError>) {
        self.0.send_replace(if has_decided(outcome) { Stage::Committed } else { Stage::Failed });
    }
}

impl Turn {
    /// Before anything is locked.
    pub async fn begin(&self) -> Result<(), Failure> {
        match self {
            Self::Alone | Self::First(_) => Ok(()),
            Self::Last(last) => last.until(|stage| stage != Stage::Begun).await,
        }
    }

    /// Everything is locked.
    pub async fn loaded(&self) {
        if let Self::First(First(stage)) = self {
            stage.send_if_modified(|stage| {
                let is_first_attempt = *stage == Stage::Begun;
                *stage = if is_first_attempt { Stage::Loaded } else { *stage };
                is_first_attempt
            });
            // Whom this woke is next on this very thread, and nobody else's: without a pause it would wait for the decision.
            tokio::task::yield_now().await;
        }
    }

    /// Before what all batches write.
    pub async fn come(&self) -> Result<(), Failure> {
        match self {
            Self::Alone | Self::First(_) => Ok(()),
            Self::Last(last) => last.until(|stage| stage == Stage::Committed).await,
        }
    }
}

impl Last {
    async fn until(&self, holds: impl Fn(Stage) -> bool) -> Result<(), Failure> {
        let mut stage = self.0.clone();
        let waiting = stage.wait_for(|stage| *stage == Stage::Failed || holds(*stage));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(stage)) if *stage != Stage::Failed => Ok(()),
            // The first failed, or nobody is there any more to say how it went.
            Ok(_) => {
                Err(StoreError::Unavailable(sqlx::Error::Protocol("the batch before this one failed".to_owned()))
                    .into())
            }
            Err(_) => Err(Failure::conflict("the batch before this one does not come to its end")),
        }
    }
}
