//! Who moves, and how far: every loop of every replica is a future that is polled by the schedule alone.
//!
//! ```text
//!   schedule ──poll──▶ actor ──▶ … ──▶ point("store.apply")   stops here; the schedule goes on with whomever it likes,
//!                                                             comes back, or drops the actor: a crash
//!                                 real(store call)            not interrupted: waits for the database's thread
//! ```
//!
//! A point is pending exactly once and wakes nobody. What waits for time or for a message is polled again after something
//! moved. So two replicas truly interleave between any two calls, and nothing depends on the machine's own threads.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use escrow::saga::time::Moment;

thread_local! {
    /// Calls that are with the database now.
    static WITH_DATABASE: Cell<u32> = const { Cell::new(0) };
    /// Grows whenever anything passes a point.
    static PASSED: Cell<u64> = const { Cell::new(0) };
    static LAST: Cell<&'static str> = const { Cell::new("") };
    static OFF: Cell<bool> = const { Cell::new(false) };
    /// The schedule is moving an actor: what else runs on this thread (a transaction's own task) has no points.
    static MOVING: Cell<bool> = const { Cell::new(false) };
}

/// A place where somebody else may go on, or this one may die.
pub async fn point(name: &'static str) {
    if OFF.get() || !MOVING.get() || WITH_DATABASE.get() > 0 {
        return;
    }
    PASSED.set(PASSED.get() + 1);
    LAST.set(name);
    let mut stopped = false;
    std::future::poll_fn(move |_| if std::mem::replace(&mut stopped, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// A call of the database, which its own thread answers.
pub async fn real<F: Future>(call: F) -> F::Output {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            WITH_DATABASE.set(WITH_DATABASE.get() - 1);
        }
    }
    WITH_DATABASE.set(WITH_DATABASE.get() + 1);
    let guard = Guard;
    let output = call.await;
    drop(guard);
    output
}

/// Marks what the schedule moves; also a panic ends it.
fn moving<T>(poll: impl FnOnce() -> T) -> T {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            MOVING.set(false);
        }
    }
    MOVING.set(true);
    let _guard = Guard;
    poll()
}

/// Runs something from beginning to end: no points, no faults.
pub async fn undisturbed<F: Future>(future: F) -> F::Output {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            OFF.set(false);
        }
    }
    OFF.set(true);
    let guard = Guard;
    let output = future.await;
    drop(guard);
    output
}

/// Whether faults may happen now.
pub fn is_disturbed() -> bool {
    !OFF.get()
}

/// One loop, or one command.
pub struct Actor {
    pub name: &'static str,
    pub replica: usize,
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// It is not given a move before: a call that hangs, a thread that is not scheduled.
    pub stalled_until: Moment,
    /// It waits for something that will wake it.
    waits: bool,
    bell: Arc<Bell>,
}

/// Rings when a timer or a nudge wakes its actor, and wakes the schedule, which may be waiting for the database.
#[derive(Default)]
struct Bell {
    rang: AtomicBool,
    schedule: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        if let Some(schedule) = &*self.schedule.lock().unwrap_or_else(PoisonError::into_inner) {
            schedule.wake_by_ref();
        }
    }
}

/// What a move came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It passed a point, and stands at the one of this name.
    To(&'static str),
    /// It waits for time, a message, or a nudge.
    Waits,
    Ended,
}

impl Actor {
    pub fn new(name: &'static str, replica: usize, future: impl Future<Output = ()> + 'static) -> Self {
        Self { name, replica, future: Box::pin(future), stalled_until: Moment(0), waits: false, bell: Arc::default() }
    }

    /// Whether a move of it may come to something.
    pub fn may_move(&self, now: Moment) -> bool {
        self.stalled_until <= now && (!self.waits || self.bell.rang.load(Ordering::Acquire))
    }

    /// What it waits for may be there, and would not have woken it.
    pub fn look_again(&mut self) {
        self.waits = false;
    }

    /// Lets it move on to its next point.
    pub async fn step(&mut self) -> Moved {
        let before = PASSED.get();
        let waker = Waker::from(Arc::clone(&self.bell));
        let ended = std::future::poll_fn(|context| {
            *self.bell.schedule.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            self.bell.rang.store(false, Ordering::Release);
            let moved = moving(|| self.future.as_mut().poll(&mut Context::from_waker(&waker)));
            match moved {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending if WITH_DATABASE.get() > 0 => Poll::Pending,
                Poll::Pending => Poll::Ready(false),
            }
        })
        .await;
        self.waits = false;
        match (ended, PASSED.get() > before) {
            (true, _) => Moved::Ended,
            (false, true) => Moved::To(LAST.get()),
            (false, false) => {
                self.waits = true;
                Moved::Waits
            }
        }
    }
}
