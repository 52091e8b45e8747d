//! The sentence, case by case.

use super::support::{INVENTORY, NOTIFICATION, NOW, PAYMENT, ago, ahead, order, saga, seen};
use crate::http::facts::Facts;
use crate::http::view;
use crate::saga::definition::Mode;
use crate::saga::order::{Cause, Doubt, DoubtKind, Need, Order, Status, StepStatus, StuckReason, Turn, TurnPhase};
use crate::saga::time::{Moment, Span};
use crate::store::StepStats;

/// What an order is shown with, and how one case differs from the plain one.
struct Case {
    order: Order,
    mode: Mode,
    doubts: Vec<Doubt>,
    stats: Vec<StepStats>,
    watermark: Option<Moment>,
}

fn case() -> Case {
    Case { order: order("101"), mode: Mode::Act, doubts: vec![], stats: vec![], watermark: Some(ago(1)) }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn why(&self) -> String {
        let saga = saga();
        let shown = view::order(&Facts {
            order: &self.order,
            saga: &saga,
            is_known: true,
            mode: self.mode,
            doubts: &self.doubts,
            stats: &self.stats,
            watermark: self.watermark,
            now: NOW,
        });
        assert!(!shown.why.contains('\n') && !shown.why.contains(". "), "one sentence: {}", shown.why);
        shown.why
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
