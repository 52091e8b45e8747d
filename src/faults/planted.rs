//! What a test planted: at most one crash in the process, one mistake and one gate on each thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;

use super::Bug;

/// Which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    Before,
    After,
}

impl Edge {
    /// As `ESCROW_CRASH_AT` says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Asked at every edge of every step on its thread; the step goes on when the answer resolves.
pub type Gate = Arc<dyn Fn(&'static str, Edge) -> BoxFuture<'static, ()> + Send + Sync>;

thread_local! {
    static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
    static GATE: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

/// Makes this mistake on this thread from now on, or none.
pub fn plant(bug: Option<Bug>) {
    BUG.set(bug);
}

/// Whether this mistake is to be made now.
pub fn is_planted(bug: Bug) -> bool {
    BUG.get() == Some(bug)
}

/// Asks this gate at the steps of this thread from now on, or none.
pub fn set_gate(gate: Option<Gate>) {
    GATE.set(gate);
}

pub async fn pass<F: Future>(name: &'static str, step: F) -> F::Output {
    edge(name, Edge::Before).await;
    let output = step.await;
    edge(name, Edge::After).await;
    output
}

async fn edge(name: &'static str, edge: Edge) {
    crash(name, edge);
    let answer = GATE.with_borrow(|gate| gate.as_ref().map(|gate| gate(name, edge)));
    if let Some(answer) = answer {
        answer.await;
    }
}

/// Kills the process if it is to die here.
pub fn crash(name: &'static str, edge: Edge) {
    static PLANNED: OnceLock<Option<(String, String, u32)>> = OnceLock::new();
    static PASSED: Mutex<BTreeMap<(&'static str, Edge), u32>> = Mutex::new(BTreeMap::new());
    let planned = PLANNED.get_or_init(|| {
        let text = std::env::var("ESCROW_CRASH_AT").ok()?;
        let mut words = text.split(':').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next().map_or(Some(1), |count| count.parse().ok())?))
    });
    let Some((at, side, count)) = planned else { return };
    if at != name || side != edge.word() {
        return;
    }
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let times = passed.entry((name, edge)).or_default();
    *times += 1;
    if *times == *count {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
