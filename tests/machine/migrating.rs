//! An order moves to another version: what goes along, what opens, and what stands in the way.

use std::sync::atomic::{AtomicUsize, Ordering};

use escrow::saga::input::{Action, Command, Input};
use escrow::saga::migration::{Armed, Effects};
use escrow::saga::order::{Earlier, Order, version_at};
use escrow::saga::parse::parse;
use escrow::saga::time::Span;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::properties::{Op, Plan, ops, plans, play, refold, step, text};
use super::run::{Run, given, version};
use super::when::{at, command, confirm, due, event, reconsider};

const FIRST: &str = "
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: Paid, failed: Declined, within: 5m, on_timeout: compensate, compensation: { publish: Refund, done: Refunded, within: 5m } }
  gift: { after: payment, done: Wrapped, within: 1h }
";

/// A fraud check is new, between the two; `gift` is gone; and the file has another order.
const SECOND: &str = "
steps:
  fraud: { after: placed, done: Cleared, within: 2m, on_timeout: compensate }
  payment: { after: [placed, fraud], done: [Paid, PaymentDone], failed: Declined, within: 10m, on_timeout: compensate, compensation: { publish: GiveBack, done: Refunded, within: 5m } }
  placed: { done: OrderPlaced }
";

fn moved(mut run: Run, number: u32, text: &str) -> (Run, Effects) {
    let effects = run.migrate(version(number, text), false);
    let effects = effects.unwrap_or_else(|| panic!("refused: {:?}", run.answer));
    (run, effects)
}

/// Why a move to this text is refused, and that nothing changed.
fn refusal(run: &Run, text: &str) -> String {
    let mut run = run.clone();
    let before = run.order.clone();
    assert_eq!(run.migrate(version(2, text), false), None);
    assert_eq!(run.order, before, "a refused order is untouched");
    run.answer.unwrap_err().to_string()
}

#[test]
fn what_a_step_has_been_through_goes_along_and_a_new_one_opens() {
    let run = given(FIRST).when([at("10s").event("OrderPlaced")]).then("payment: waiting until 5m10s");
    let (run, effects) = moved(run.when([at("1m").then(reconsider())]), 2, SECOND);
    let run = run.then(
        "version: 2
         steps: fraud waiting, payment waiting, placed done
         fraud: waiting until 3m
         payment: waiting until 5m10s
         trail: command migrate (why)
         sent: -",
    );
    assert_eq!(effects.missed, ["Cleared", "PaymentDone"]);
    let steps: Vec<_> = effects.steps.iter().map(|it| (it.step.as_str(), it.from.is_some(), it.to.is_some())).collect();
    assert_eq!(steps, [("gift", true, false), ("fraud", false, true)]);
    let deadlines: Vec<_> =
        effects.deadlines.iter().map(|it| (&it.what, it.before == Some(it.at), it.is_due)).collect();
    let (fraud, payment) = (Armed::Step("fraud".to_owned()), Armed::Step("payment".to_owned()));
    assert_eq!(deadlines, [(&fraud, false, false), (&payment, true, false), (&Armed::Order, true, false)]);
    // The trail says where it was, and entries from before number the steps of the version it was on.
    assert_eq!(run.order.earlier, [Earlier { version: 1, until: 1 }]);
    assert_eq!((version_at(2, &run.order.earlier, 1), version_at(2, &run.order.earlier, 2)), (1, 2));
}

#[test]
fn what_may_have_been_missed_is_told_and_not_acted_on_until_it_comes() {
    let run = given(FIRST).when([at("10s").event("OrderPlaced")]);
    let (run, _) = moved(run, 2, SECOND);
    run.clone().then("unproven: gap").when([due("3m")]).then("order: stuck (unproven fraud)\n sent: -");
    run.when([event("Cleared"), event("Paid")]).then("order: completed\n unproven: -");
}

#[test]
fn an_identical_meaning_leaves_no_doubt() {
    let run = given(FIRST).when([event("OrderPlaced")]);
    let (run, effects) = moved(run, 7, FIRST);
    assert_eq!((effects.missed.len(), effects.steps.len(), effects.asks.len()), (0, 0, 0));
    run.then("version: 7\n unproven: -\n payment: waiting until 5m");
}

#[test]
fn deadlines_stay_armed_unless_new_ones_are_asked_for() {
    let slow = FIRST.replace("within: 5m, on_timeout", "within: 10m, on_timeout");
    let run = given(FIRST).when([event("OrderPlaced"), at("4m").then(reconsider())]);
    let mut anew = run.clone();
    moved(run, 2, &slow).0.then("payment: waiting until 5m");
    let effects = anew.migrate(version(2, &slow), true).unwrap();
    assert_eq!(effects.deadlines[0].before.map(|at| effects.deadlines[0].at.since(at)), Some(Span::from_secs(540)));
    anew.then("payment: waiting until 14m").when([due("14m")]).then("order: compensating");
}

#[test]
fn a_deadline_that_has_passed_is_said_to_be_due_and_fires_by_the_watermark_alone() {
    let mut run = given(FIRST).when([event("OrderPlaced")]);
    run.now = run.now + Span::from_secs(600);
    let (run, effects) = moved(run, 2, FIRST);
    assert!(effects.deadlines[0].is_due);
    run.then("payment: waiting until 5m\n told: -").when([due("10m")]).then("order: compensating");
}

#[test]
fn a_compensation_mended_in_the_new_version_is_the_one_that_is_asked_again() {
    let broken = FIRST.replace("within: 1h", "within: 1h, on_timeout: compensate");
    let mended = broken.replace("Refund,", "GiveBack,");
    let run = given(&broken).when([event("OrderPlaced"), event("Paid"), due("2h"), confirm("unroutable")]);
    let run = run.then("order: stuck (compensation_unroutable payment)\n sent: Refund");
    let (run, _) = moved(run, 2, &mended);
    run.when([command(Action::Retry)]).then("payment: compensating round 1 sending 2 awaiting\n sent: GiveBack");
}

/// Both sources change places: what came from the first in the file is still what came from it.
#[test]
fn an_attribute_keeps_its_source_and_a_need_its_step_wherever_the_step_went() {
    let first = "
attributes: { note: /note }
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: Paid, within: 5m }
  gift: { after: placed, done: Wrapped, within: 1m }
";
    let second = "
attributes: { note: /note }
steps:
  placed: { done: OrderPlaced }
  gift: { after: placed, done: Wrapped, within: 1m }
  payment: { after: placed, done: Paid, within: 5m }
";
    let noted = |name: &str| event(name).attribute("note", json!(name));
    let wrapped = || given(first).when([event("OrderPlaced"), noted("Wrapped")]);
    wrapped().when([noted("Paid")]).then("attributes: note=\"Paid\"");
    moved(wrapped(), 2, second).0.when([noted("Paid")]).then("attributes: note=\"Wrapped\"");

    let stuck = given(first).when([event("OrderPlaced"), due("1m")]).then("order: stuck (timed_out gift)");
    moved(stuck, 2, second).0.then("order: stuck (timed_out gift)").when([event("Wrapped")]).then("order: running");
}

#[test]
fn a_step_whose_past_matters_is_not_left_behind() {
    let without = |step: &str, text: &str| {
        let kept: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with(step)).collect();
        kept.join("\n").replace("after: payment", "after: placed") + "\n"
    };
    let unpaid = without("payment", FIRST);
    let open = given(FIRST).when([event("OrderPlaced")]);
    let paid = open.clone().when([event("Paid")]);
    let failed = open.clone().when([event("Declined")]);
    let wrapping = paid.clone();
    assert!(refusal(&open, &unpaid).contains("step payment is waiting"), "{}", refusal(&open, &unpaid));
    assert!(refusal(&paid, &unpaid).contains("step payment is done and has a compensation"));
    assert!(refusal(&failed, &unpaid).contains("step payment is why the order turns back"));
    assert!(refusal(&wrapping, &without("gift", FIRST)).contains("step gift is waiting"));
    let early = open.clone().when([event("Wrapped")]);
    moved(early, 2, &without("gift", FIRST)).0.then("steps: placed done, payment waiting");
    let ended = paid.when([event("Wrapped")]).then("order: completed");
    assert_eq!(refusal(&ended, FIRST), "it has ended (completed)");
    // What a person has seen to may go.
    let skipped = open.when([command(Action::Skip).on("payment")]);
    moved(skipped, 2, &unpaid).0.then("steps: placed done, gift waiting");
}

#[test]
fn a_step_that_could_not_go_on_keeps_its_order_where_it_is() {
    let counted = FIRST.replace("done: Wrapped", "done: Wrapped, count: 2, by: /part");
    let by_other = counted.replace("/part", "/piece");
    let wrapping = [event("OrderPlaced"), event("Paid"), event("Wrapped").part("a")];
    let plain = given(FIRST).when([event("OrderPlaced"), event("Paid")]);
    assert!(refusal(&plain, &counted).contains("step gift is waiting, and version 2 counts its events otherwise"));
    let half = given(&counted).when(wrapping);
    assert!(refusal(&half, FIRST).contains("counts its events otherwise"));
    assert!(refusal(&half, &by_other).contains("tells its events apart otherwise"));
    moved(half, 2, &counted.replace("count: 2", "count: 3")).0.when([event("Wrapped").part("b")]).then("gift: done");

    let retried = FIRST.replace("within: 1h", "within: 1h, retry: { times: 2, every: 1m, to: original }");
    let on_its_way = given(&retried).when([event("OrderPlaced"), event("Paid"), due("1h")]);
    assert!(refusal(&on_its_way, FIRST).contains("step gift has a retry on its way"));
    moved(on_its_way.when([confirm("routed")]), 2, FIRST).0.when([due("2h")]).then("order: stuck (timed_out gift)");

    let undoing = given(FIRST).when([event("OrderPlaced"), event("Paid"), command(Action::Compensate)]);
    let undone_by_itself = FIRST.replace(", compensation: { publish: Refund, done: Refunded, within: 5m }", "");
    let why = refusal(&undoing, &undone_by_itself);
    assert!(why.contains("is compensating, and version 2 has no compensation"), "{why}");
}

#[test]
fn versions_that_tell_messages_apart_otherwise_do_not_go_together() {
    let reading = |read: &str| {
        let text = format!("saga: order\nversion: 2\nwatch: [{{ exchange: shop }}]\nread: {{ {read} }}\n{FIRST}");
        parse("second.yaml", &text).unwrap().saga
    };
    let run = given(FIRST).when([event("OrderPlaced")]);
    for (read, why) in [
        ("event: /other, order_id: /order", Some("read.event")),
        ("event: /type, order_id: /order, id: /id", Some("read.id")),
        ("event: /type, order_id: arrival", Some("read.order_id")),
        ("event: [/type, /other], order_id: /other", None),
    ] {
        let mut run = run.clone();
        let is_moved = run.migrate(reading(read), false).is_some();
        assert_eq!(is_moved, why.is_none(), "{read}");
        assert!(why.is_none_or(|why| run.answer.unwrap_err().to_string().contains(why)), "{read}");
    }
}

/// What a person sees of an order, without the trail's own numbers.
fn standing(order: &Order) -> impl PartialEq + std::fmt::Debug + use<> {
    (order.life.clone(), order.steps.clone(), order.attributes.clone(), order.seen.clone())
}

fn note(run: &mut Run) {
    let (actor, reason) = ("ann".to_owned(), "why".to_owned());
    run.apply(&Input::Command(Command { action: Action::Note, step: None, actor, reason }));
}

/// The same steps with other waits, retries and consequences.
fn retimed(plans: &[Plan]) -> Vec<Plan> {
    let mut other = plans.to_vec();
    for plan in &mut other {
        plan.within_s += 17;
        plan.retries += 1;
        plan.on_timeout += 1;
        plan.on_timeout %= 3;
        plan.ignores_late = !plan.ignores_late;
    }
    other
}

fn going_on(run: &mut Run, ops: &[Op]) {
    for (ix, op) in ops.iter().enumerate() {
        step(run, 1_000 + ix, op);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_identical_definition_changes_what_a_note_changes(plans in plans(), ops in ops()) {
        let mut run = play(&plans, &ops);
        prop_assume!(run.order.sequence > 0 && !run.order.life.status.is_ended());
        // A doubt that has gone lets steps wait anew, as the version says that the order is on then.
        run.take(&reconsider());
        prop_assume!(!run.order.life.status.is_ended());
        let (mut noted, entries) = (run.clone(), run.journal.len());
        note(&mut noted);
        let effects = run.migrate(version(2, &text(&plans)), false);
        prop_assert!(effects.is_some(), "{:?}", run.answer);
        prop_assert_eq!(standing(&run.order), standing(&noted.order));
        prop_assert_eq!(run.journal.len() - entries, noted.journal.len() - entries);
        prop_assert_eq!(run.order.version, 2);
    }

    #[test]
    fn there_and_back_is_where_it_was(plans in plans(), ops in ops()) {
        let mut run = play(&plans, &ops);
        prop_assume!(run.order.sequence > 0 && !run.order.life.status.is_ended());
        run.take(&reconsider());
        prop_assume!(!run.order.life.status.is_ended());
        let mut noted = run.clone();
        note(&mut noted);
        let there = run.migrate(version(2, &text(&retimed(&plans))), false);
        prop_assert!(there.is_some(), "{:?}", run.answer);
        prop_assume!(!run.order.life.status.is_ended());
        let back = run.migrate(version(3, &text(&plans)), false);
        prop_assert!(back.is_some(), "{:?}", run.answer);
        prop_assert_eq!(standing(&run.order), standing(&noted.order));
    }
}

/// Any version to any other, and on from there: refused and untouched, or moved with a trail that folds to the order.
#[test]
fn after_a_move_in_the_middle_of_a_random_run_the_trail_folds_to_the_order() {
    let (moved, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let config = Config { cases: 160, failure_persistence: None, ..Config::default() };
    let runs = (plans(), plans(), ops(), ops(), any::<bool>());
    let ran = TestRunner::new(config).run(&runs, |(first, second, before, after, rearm)| {
        let mut run = play(&first, &before);
        prop_assume!(run.order.sequence > 0);
        let stood = run.order.clone();
        if run.migrate(version(2, &text(&second)), rearm).is_some() {
            moved.fetch_add(1, Ordering::Relaxed);
        } else {
            refused.fetch_add(1, Ordering::Relaxed);
            prop_assert_eq!(&run.order, &stood);
        }
        going_on(&mut run, &after);
        let order = run.order.clone();
        refold(&mut run);
        run.order.attributes.clone_from(&order.attributes);
        prop_assert_eq!(run.order, order);
        Ok(())
    });
    ran.unwrap();
    let (moved, refused) = (moved.into_inner(), refused.into_inner());
    assert!(moved >= 20 && refused >= 20, "one-sided: {moved} moved, {refused} refused");
}

#[test]
fn the_entry_of_a_move_says_who_moved_it() {
    let run = given(FIRST).when([event("OrderPlaced")]);
    let (run, _) = moved(run, 2, SECOND);
    assert_eq!(run.journal.last().unwrap().actor.as_deref(), Some("ann"));
}

#[test]
fn anew_only_what_waits_waits_anew_and_not_what_has_a_retry_on_its_way() {
    let retried = FIRST.replace("within: 1h", "within: 1h, retry: { times: 2, every: 1m, to: original }");
    let run = given(&retried)
        .when([event("OrderPlaced"), event("Paid"), due("1h")])
        .then("gift: waiting attempts 1 awaiting");
    let mut run = run;
    run.migrate(version(2, &retried), true).unwrap();
    let run = run.then("placed: done\n payment: done\n gift: waiting attempts 1 awaiting");
    run.when([at("1h10m").confirm("routed")]).then("gift: waiting attempts 1 until 1h11m");
}

#[test]
fn a_move_says_what_it_asks_of_services_before_it_is_made() {
    let second =
        FIRST.replace("done: OrderPlaced", "done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced }");
    let turned = given(FIRST).when([event("OrderPlaced"), due("5m")]).then("order: compensating\n sent: Refund");
    // Nothing waits for the undoing of what only may have happened.
    let (run, effects) = moved(turned, 2, &second);
    assert_eq!((effects.asks.as_slice(), effects.status), (["Unplace".to_owned()].as_slice(), None));
    run.then("sent: Unplace\n placed: compensating round 1 awaiting");
    let waiting = given(FIRST).when([event("OrderPlaced")]);
    assert!(moved(waiting, 2, &second).1.asks.is_empty());
}

#[test]
fn a_counted_step_counts_in_the_same_way_or_its_order_stays() {
    let counted = FIRST.replace("done: Wrapped", "done: Wrapped, count: 2, by: /part");
    // Parts that came before it opened count when it does.
    let early = given(&counted).when([event("OrderPlaced"), event("Wrapped").part("a")]).then("gift: pending");
    assert!(refusal(&early, FIRST).contains("step gift is pending, and version 2 counts its events otherwise"));
    let none = given(&counted).when([event("OrderPlaced")]);
    moved(none, 2, FIRST).0.then("gift: pending");
}

#[test]
fn a_compensation_under_way_needs_a_done_in_the_new_version_unless_the_broker_closes_it() {
    let undone = FIRST.replace(", done: Refunded, within: 5m", "");
    let asked = given(FIRST).when([event("OrderPlaced"), event("Paid"), command(Action::Compensate)]);
    moved(asked.clone(), 2, &undone).0.when([confirm("routed")]).then("payment: compensated round 1");
    let confirmed = asked.when([confirm("routed")]);
    let why = refusal(&confirmed, &undone);
    assert!(why.contains("names no `done` of its compensation"), "{why}");
}

#[test]
fn what_reads_one_exchange_otherwise_says_nothing_of_another() {
    let two = |number: u32, other: &str| {
        let text = format!(
            "saga: order\nversion: {number}\nwatch: [{{ exchange: shop }}, {{ exchange: stock, read: {{ {other} }} }}, {{ http: {{ read: {{ event: /t }} }} }}]\n\
             read: {{ event: /type, order_id: /order }}\n{FIRST}"
        );
        parse("two.yaml", &text).unwrap_or_else(|found| panic!("{text} {found:?}")).saga
    };
    let run = Run::of(two(1, "id: /id")).when([event("OrderPlaced")]);
    assert!(run.clone().migrate(two(2, "id: /id"), false).is_some());
    let mut refused = run;
    assert!(refused.migrate(two(2, "id: /other"), false).is_none());
    assert!(refused.answer.unwrap_err().to_string().contains("the messages of exchange stock apart"));
}
