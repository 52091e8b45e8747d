//! The sentence, case by case.

use super::support::{INVENTORY, NOTIFICATION, NOW, PAYMENT, ago, ahead, order, saga, seen};
use crate::http::facts::Facts;
use crate::http::view::{self, OrderView, QueueView};
use crate::saga::definition::{Mode, RetryTo, Saga};
use crate::saga::order::{Cause, Doubt, DoubtKind, Need, Order, Status, StepStatus, StuckReason, Turn, TurnPhase};
use crate::saga::queue::{Found, QueueFinding};
use crate::saga::time::{Moment, Span};
use crate::store::StepStats;

/// What an order is shown with, and how one case differs from the plain one.
struct Case {
    order: Order,
    mode: Mode,
    doubts: Vec<Doubt>,
    stats: Vec<StepStats>,
    watermark: Option<Moment>,
    queues: Vec<QueueFinding>,
    /// What the definition says besides.
    define: fn(&mut Saga),
}

fn case() -> Case {
    Case {
        order: order("101"),
        mode: Mode::Act,
        doubts: vec![],
        stats: vec![],
        watermark: Some(ago(1)),
        queues: vec![],
        define: |_| {},
    }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn why(&self) -> String {
        self.shown().why
    }

    fn shown(&self) -> OrderView {
        let mut saga = saga();
        (self.define)(&mut saga);
        let shown = view::order(&Facts {
            order: &self.order,
            saga: &saga,
            is_known: true,
            mode: self.mode,
            doubts: &self.doubts,
            stats: &self.stats,
            watermark: self.watermark,
            queues: &self.queues,
            now: NOW,
        });
        assert!(!shown.why.contains('\n') && !shown.why.contains(". "), "one sentence: {}", shown.why);
        shown
    }
}

fn turn(order: &mut Order, cause: Cause, phase: TurnPhase) {
    order.life.turn = Some(Turn { cause, phase, vouched: false, reason: String::new() });
}

fn stuck(reason: StuckReason, step: Option<usize>) -> Case {
    case().with(|it| {
        it.order.life.status = Status::Stuck;
        it.order.life.needs = vec![Need { reason, step, since: ago(180), detail: None }];
        for state in &mut it.order.steps {
            state.deadline = None;
        }
    })
}

fn ended(status: Status) -> Case {
    case().with(|it| {
        it.order.life.status = status;
        it.order.life.ended_at = Some(NOW);
        it.order.steps[INVENTORY].status = StepStatus::Done;
    })
}

#[test]
fn a_running_order_says_what_it_waits_for_how_long_that_takes_and_what_follows() {
    assert_eq!(
        case().why(),
        "waiting 42s for InventoryReserved (step `inventory`); if it does not come within 18s, its message is sent again \
         to queue `inventory` (retry 1 of 3)"
    );
    let usual = case().with(|it| {
        it.stats.push(StepStats {
            saga: "order".to_owned(),
            version: 1,
            step: "inventory".to_owned(),
            closed: 30,
            timed_out: 0,
            samples: 30,
            p50: Span::from_millis(1200),
            p95: Span::from_secs(3),
            p99: Span::from_secs(4),
        });
    });
    assert!(usual.why().contains("(step `inventory`, usually 1.2s, 99 of 100 within 4s)"), "{}", usual.why());
    let used_up = case().with(|it| it.order.steps[INVENTORY].attempts = 3);
    assert!(
        used_up
            .why()
            .ends_with("retried 3 times; if it does not come within 18s, the order turns back and undoes `payment`"),
        "{}",
        used_up.why()
    );
}

#[test]
fn a_deadline_the_watermark_has_not_passed_is_not_called_overdue() {
    let due = case().with(|it| {
        it.order.steps[INVENTORY].deadline = Some(ago(5));
        it.watermark = Some(ago(600));
    });
    assert!(due.why().contains("its deadline passed 5s ago, but it may still be among what is not read yet"));
    assert!(due.why().contains("10m behind"), "{}", due.why());
    let blind = due.with(|it| it.watermark = None);
    assert!(blind.why().contains("nothing is known to be read yet"));
    let passed = case().with(|it| it.order.steps[INVENTORY].deadline = Some(ago(5)));
    assert!(passed.why().contains("it is overdue since 2026-11-21T09:29:55Z"), "{}", passed.why());
}

#[test]
fn doubt_and_mode_say_that_nothing_will_be_sent() {
    let observed = case().with(|it| it.mode = Mode::Observe);
    assert!(observed.why().contains("the order becomes stuck: in mode `observe` nothing is sent, else its message"));
    let gap =
        Doubt { id: 1, kind: DoubtKind::Gap, saga: None, from: ago(60), to: ago(10), event: None, order_id: None };
    let unproven = case().with(|it| it.doubts.push(gap.clone()));
    assert!(unproven.why().contains("it is unproven (gap: messages may have been missed), else"), "{}", unproven.why());
    let before = case().with(|it| it.doubts.push(Doubt { to: ago(50), ..gap }));
    assert!(!before.why().contains("unproven"), "a gap before the order began does not concern it");
}

#[test]
fn skipping_alerting_and_no_deadline_are_said_plainly() {
    let wait = |step: usize| {
        case().with(move |it| {
            let waiting = std::mem::take(&mut it.order.steps[INVENTORY]);
            it.order.steps[INVENTORY].status = StepStatus::Done;
            it.order.steps[step] = waiting;
        })
    };
    assert!(wait(NOTIFICATION).why().ends_with("the step is skipped and the order goes on"));
    assert!(wait(PAYMENT).why().ends_with("the order becomes stuck and people are told"));
    let open = case().with(|it| {
        it.order.steps[INVENTORY].opened_at = None;
        it.order.steps[INVENTORY].deadline = None;
    });
    assert!(open.why().contains("no deadline; the order as a whole is overdue at"), "{}", open.why());
    let two = case().with(|it| it.order.steps[PAYMENT].status = StepStatus::Waiting);
    assert!(two.why().ends_with("also waiting in `inventory`"), "{}", two.why());
}

#[test]
fn a_turning_back_says_why_and_what_is_being_undone() {
    let due = case().with(|it| turn(&mut it.order, Cause::TimedOut(INVENTORY), TurnPhase::Due(NOW)));
    assert!(due.why().starts_with("about to turn back because step `inventory` timed out: decided once"));
    let turned = case().with(|it| {
        it.order.life.status = Status::Compensating;
        turn(&mut it.order, Cause::TimedOut(INVENTORY), TurnPhase::Turned(ago(20)));
        it.order.steps[INVENTORY].status = StepStatus::TimedOut;
        it.order.steps[INVENTORY].deadline = None;
        it.order.steps[PAYMENT].status = StepStatus::Compensating;
        it.order.steps[PAYMENT].undo.round = 1;
    });
    assert!(
        turned.why().contains(
            "turning back for 20s because step `inventory` timed out: waiting for the broker's word that RefundPayment"
        ),
        "{}",
        turned.why()
    );
    let asked = turned.with(|it| {
        it.order.steps[PAYMENT].undo.confirmed_at = Some(ago(10));
        it.order.steps[PAYMENT].deadline = Some(ahead(290));
    });
    assert!(
        asked.why().ends_with("waiting 10s for PaymentRefunded (undoing step `payment`); if it does not come within 4m50s, the order becomes stuck"),
        "{}",
        asked.why()
    );
}

#[test]
fn every_reason_to_be_stuck_says_what_is_wrong_and_which_action_mends_it() {
    for (reason, step, wrong, action) in [
        (StuckReason::TimedOut, Some(INVENTORY), "InventoryReserved did not come", "`retry`"),
        (StuckReason::Failed, Some(PAYMENT), "was seen for step `payment`", "`compensate`"),
        (StuckReason::OrderOverdue, None, "did not end within 1d", "`extend`"),
        (StuckReason::CompensationOverdue, Some(PAYMENT), "PaymentRefunded has not come", "`retry`"),
        (
            StuckReason::CompensationUnroutable,
            Some(PAYMENT),
            "no queue is bound to receive RefundPayment",
            "bind a queue",
        ),
        (StuckReason::CompensationRefused, Some(PAYMENT), "the broker refused RefundPayment", "`retry`"),
        (StuckReason::CompensationFailed, Some(PAYMENT), "answered with a failure", "`skip`"),
        (StuckReason::TemplateFailed, Some(PAYMENT), "an expression of the definition failed", "`close`"),
        (StuckReason::Held, None, "the brake holds it", "`release`"),
        (StuckReason::Unproven, Some(INVENTORY), "nothing was done about step `inventory`", "`release`"),
        (StuckReason::Observe, Some(INVENTORY), "mode `observe`", "mode `act`"),
    ] {
        let why = stuck(reason, step).why();
        assert!(why.starts_with("stuck for 3m: "), "{why}");
        assert!(why.contains(wrong) && why.contains(action), "{reason:?}: {why}");
    }
}

#[test]
fn what_comes_from_outside_stays_on_one_line() {
    let wild = stuck(StuckReason::TemplateFailed, Some(PAYMENT)).with(|it| {
        it.order.life.needs[0].detail = Some(format!("\u{1b}[31mred\r\n{}", "x".repeat(500)));
        it.order.life.needs.push(Need { reason: StuckReason::Held, step: None, since: NOW, detail: None });
    });
    let why = wild.why();
    assert!(!why.contains('\u{1b}') && why.len() < 500, "{why}");
    assert!(why.ends_with("1 more thing needs a person"), "{why}");
}

#[test]
fn an_order_that_ended_says_how() {
    assert_eq!(ended(Status::Completed).why(), "completed at 2026-11-21T09:30:00Z, 42s after it began");
    let compensated = ended(Status::Compensated).with(|it| {
        turn(&mut it.order, Cause::Cancelled, TurnPhase::Turned(ago(9)));
        it.order.life.cancelled = Some(seen("OrderCancelled", ago(9)));
        it.order.steps[PAYMENT].status = StepStatus::Compensated;
    });
    assert!(compensated.why().ends_with("undone `payment` because it was cancelled by OrderCancelled"));
    let failed = ended(Status::Failed).with(|it| {
        turn(&mut it.order, Cause::Failed(PAYMENT), TurnPhase::Turned(ago(9)));
        it.order.steps[PAYMENT].failure = Some(seen("PaymentDeclined", ago(9)));
    });
    assert!(failed.why().ends_with("step `payment` failed with PaymentDeclined, and nothing had to be undone"));
    assert!(ended(Status::Closed).why().contains("by a person"));
    let never = ended(Status::Closed).with(|it| it.order.life.closed_because = Some("never_opened".to_owned()));
    assert!(never.why().ends_with("its beginning was never seen"));
    let reopened = ended(Status::Completed).with(|it| it.order.life.reopened = true);
    assert!(reopened.why().ends_with("it is unproven (completed: it was completed once before)"));
}

/// The plain case, with what a look at the queue `inventory` found a second ago.
fn looked(what: Found) -> Case {
    case().with(|it| it.queues.push(QueueFinding { queue: "inventory".to_owned(), at: ago(1), what }))
}

#[test]
fn the_queue_of_the_silent_service_is_told_with_what_is_wrong_with_it() {
    let usual = looked(Found::counted(312, 0)).with(|it| {
        it.stats.push(StepStats {
            saga: "order".to_owned(),
            version: 1,
            step: "inventory".to_owned(),
            samples: 30,
            closed: 30,
            timed_out: 0,
            p50: Span::from_millis(1200),
            p95: Span::from_secs(3),
            p99: Span::from_secs(4),
        });
    });
    assert_eq!(
        usual.why(),
        "waiting 42s for InventoryReserved (step `inventory`, usually 1.2s, 99 of 100 within 4s); queue inventory has no consumer \
         and 312 messages; if it does not come within 18s, its message is sent again to queue `inventory` (retry 1 of 3), or \
         withheld if the queue is still so"
    );
    let refused = "ACCESS_REFUSED - access to queue 'inventory' in vhost '/' refused for user 'escrow'";
    for (what, said, found, messages, consumers) in [
        (Found::Missing, "; queue inventory does not exist; if", "missing", None, None),
        (
            Found::Forbidden { why: refused.to_owned() },
            "; queue inventory cannot be seen (ACCESS_REFUSED",
            "forbidden",
            None,
            None,
        ),
        (Found::counted(0, 0), "has no consumer and no messages; if", "no_consumer", Some(0), Some(0)),
        (Found::counted(1, 2), "has a backlog of 1 message for 2 consumers; if", "backlog", Some(1), Some(2)),
        (
            Found::counted(0, 1),
            "is consumed without an answer (1 consumer, no messages ready); if",
            "consumed",
            Some(0),
            Some(1),
        ),
    ] {
        let takes = what.can_take();
        let shown = looked(what).shown();
        assert!(shown.why.contains(said), "{}", shown.why);
        assert_eq!(!shown.why.contains("withheld"), takes, "{}", shown.why);
        let queue = shown.waiting_on[0].queue.clone();
        let at = "2026-11-21T09:29:59Z".to_owned();
        assert_eq!(
            queue,
            Some(QueueView { queue: "inventory".to_owned(), found: found.to_owned(), messages, consumers, at })
        );
    }
}

#[test]
fn handled_by_names_the_queue_where_retries_go_elsewhere_or_nowhere() {
    let elsewhere = looked(Found::Missing).with(|it| {
        it.define = |saga| {
            saga.steps[INVENTORY].retry.as_mut().unwrap().to = RetryTo::Original;
            saga.steps[INVENTORY].handled_by = Some("stock".to_owned());
        };
    });
    assert_eq!(elsewhere.shown().waiting_on[0].queue, None, "the queue of that name is not this step's");
    let looked = elsewhere.with(|it| {
        it.queues.push(QueueFinding { queue: "stock".to_owned(), at: ago(3), what: Found::counted(2, 0) });
    });
    let why = looked.why();
    assert!(why.contains("; queue stock has no consumer and 2 messages; if it does not come"), "{why}");
    assert!(!why.contains("withheld"), "nothing is withheld from an exchange: {why}");
}

#[test]
fn what_was_seen_before_the_wait_or_long_ago_is_not_told() {
    for (opened, seen) in [(2, 3), (42, 31)] {
        let untold = looked(Found::Missing).with(|it| {
            it.order.steps[INVENTORY].opened_at = Some(ago(opened));
            it.queues[0].at = ago(seen);
        });
        assert_eq!(untold.shown().waiting_on[0].queue, None);
        assert!(!untold.why().contains("does not exist"), "{}", untold.why());
    }
}

#[test]
fn a_stuck_order_says_what_is_wrong_with_the_queue_where_a_silence_holds_it() {
    let with_queue = |reason: StuckReason, step: usize, status: StepStatus| {
        stuck(reason, (reason != StuckReason::OrderOverdue).then_some(step)).with(|it| {
            it.order.steps[INVENTORY].status = StepStatus::Done;
            it.order.steps[step].status = status;
            it.order.steps[step].opened_at = Some(ago(60));
            it.define = |saga| {
                saga.steps[PAYMENT].compensation.as_mut().unwrap().handled_by = Some("refunds".to_owned());
            };
            for queue in ["inventory", "refunds"] {
                let what = Found::counted(5, 0);
                it.queues.push(QueueFinding { queue: queue.to_owned(), at: ago(1), what });
            }
        })
    };
    for (reason, step, status, queue) in [
        (StuckReason::TimedOut, INVENTORY, StepStatus::TimedOut, Some("inventory")),
        (StuckReason::Unproven, INVENTORY, StepStatus::Waiting, Some("inventory")),
        (StuckReason::Observe, INVENTORY, StepStatus::TimedOut, Some("inventory")),
        (StuckReason::OrderOverdue, INVENTORY, StepStatus::Waiting, Some("inventory")),
        (StuckReason::CompensationOverdue, PAYMENT, StepStatus::CompensationFailed, Some("refunds")),
        (StuckReason::CompensationUnroutable, PAYMENT, StepStatus::CompensationFailed, None),
        (StuckReason::CompensationFailed, PAYMENT, StepStatus::CompensationFailed, None),
        (StuckReason::Failed, INVENTORY, StepStatus::Failed, None),
    ] {
        let why = with_queue(reason, step, status).why();
        let said = queue.map(|queue| format!("; queue {queue} has no consumer and 5 messages; "));
        assert!(why.contains(said.as_deref().unwrap_or("")), "{reason:?}: {why}");
        assert_eq!(why.contains("no consumer"), queue.is_some(), "{reason:?}: {why}");
    }
}

#[test]
fn an_undoing_under_way_says_what_is_wrong_with_its_queue() {
    let undoing = case().with(|it| {
        it.order.life.status = Status::Compensating;
        turn(&mut it.order, Cause::TimedOut(INVENTORY), TurnPhase::Turned(ago(20)));
        it.order.steps[INVENTORY].status = StepStatus::TimedOut;
        it.order.steps[PAYMENT].status = StepStatus::Compensating;
        it.order.steps[PAYMENT].undo.round = 1;
        it.order.steps[PAYMENT].undo.confirmed_at = Some(ago(10));
        it.order.steps[PAYMENT].deadline = Some(ahead(290));
        it.define = |saga| saga.steps[PAYMENT].compensation.as_mut().unwrap().handled_by = Some("refunds".to_owned());
        it.queues.push(QueueFinding { queue: "refunds".to_owned(), at: ago(1), what: Found::Missing });
    });
    let said = "(undoing step `payment`); queue refunds does not exist; if it does not come within 4m50s";
    assert!(undoing.why().contains(said), "{}", undoing.why());
}
