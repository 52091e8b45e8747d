//! Losses found and not yet committed.
//!
//! Every source offers what is pending before anything else, and again until a batch that held it was acknowledged: so a gap
//! survives a failed commit and a lost connection. What finds a loss again while it is pending adds nothing.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::bus::{Gap, GapKind};

#[derive(Default)]
pub(super) struct Gaps {
    inner: Mutex<Inner>,
    added: Notify,
}

#[derive(Default)]
struct Inner {
    last: u64,
    pending: Vec<(u64, Gap)>,
}

impl Gaps {
    /// Adds a gap, unless the same one is pending.
    pub(super) fn add(&self, kind: GapKind, detail: String) {
        let gap = Gap { kind, detail };
        let mut inner = self.lock();
        if inner.pending.iter().any(|(_, pending)| *pending == gap) {
            return;
        }
        tracing::warn!(?kind, detail = gap.detail, "messages may have been missed");
        inner.last += 1;
        let number = inner.last;
        inner.pending.push((number, gap));
        drop(inner);
        self.added.notify_waiters();
    }

    /// The pending gaps after the `seen`-th, with their numbers.
    pub(super) fn after(&self, seen: u64) -> Vec<(u64, Gap)> {
        self.lock().pending.iter().filter(|(number, _)| *number > seen).cloned().collect()
    }

    /// Forgets the gaps up to the `through`-th: they are committed. Returns them.
    pub(super) fn settle(&self, through: u64) -> Vec<Gap> {
        let mut inner = self.lock();
        let (settled, pending) = inner.pending.drain(..).partition(|(number, _)| *number <= through);
        inner.pending = pending;
        settled.into_iter().map(|(_, gap): (u64, Gap)| gap).collect()
    }

    /// Waits until there is a gap after the `seen`-th.
    pub(super) async fn wait(&self, seen: u64) {
        loop {
            let added = self.added.notified();
            tokio::pin!(added);
            added.as_mut().enable();
            if self.lock().pending.iter().any(|(number, _)| *number > seen) {
                return;
            }
            added.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_offered_until_it_is_settled() {
        let gaps = Gaps::default();
        gaps.add(GapKind::Overflow, "3 messages".into());
        gaps.add(GapKind::Overflow, "3 messages".into());
        gaps.add(GapKind::NearlyFull, "95 of 100".into());
        assert_eq!(gaps.after(0).len(), 2, "the same gap is pending once");
        assert_eq!(gaps.after(1).len(), 1);
        assert_eq!(gaps.settle(1).len(), 1);
        assert_eq!(gaps.after(0)[0].1.kind, GapKind::NearlyFull);
        gaps.add(GapKind::Overflow, "3 messages".into());
        assert_eq!(gaps.after(0).len(), 2, "found again after it was committed");
    }
}
