//! The tables of every state × every input in `docs/state-machine.md`, made by running the machine on a sample saga.
//!
//! The document's own text is written by hand; what stands between `<!-- table: NAME -->` and `<!-- end -->` is made here.
//! When the machine changes on purpose: `ESCROW_BLESS=1 cargo test --test machine`, and read the difference.

use std::collections::BTreeSet;

use escrow::saga::definition::Mode;
use escrow::saga::input::Action;
use escrow::saga::order::{Status, StepStatus, StuckReason};
use escrow::saga::time::Span;
use serde_json::json;

use super::run::{Run, given};
use super::when::{What, When, brake, command, confirm, due, event, gap, mode};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/state-machine.md");

/// The step the tables are about is `x`; `y` comes after it, `z` beside it turns the order back, and `w` keeps it from ending.
const SAGA: &str = r#"
steps:
  placed: { done: OrderPlaced }
  x:
    after: placed
    when: Trigger
    done: Done
    failed: Failed
    within: 1m
    retry: { times: 1, every: 10s, to: original, message: placed }
    compensation:
      publish: { event: Undo, exchange: shop, body: { type: Undo, ref: "{{ steps.placed.event.ref }}" } }
      done: Undone
      failed: UndoRefused
      within: 1m
  y: { after: x, done: YDone, failed: YFailed, within: 10h, compensation: { publish: UndoY, done: UndoneY } }
  z: { after: placed, done: ZDone, failed: ZFailed, within: 10h }
  w: { after: placed, done: WDone, within: 10h }
cancelled_by: Cancelled
within: 20h
"#;

const RETRY: &str = "    retry: { times: 1, every: 10s, to: original, message: placed }\n";

/// A state with the way into it.
struct State {
    name: &'static str,
    run: Run,
}

fn state(name: &'static str, saga: &str, way: &[When]) -> State {
    let placed = event("OrderPlaced").body(json!({ "ref": 7 }));
    State { name, run: given(saga).when([placed]).when(way.to_vec()) }
}

/// The sample without retries, and with this line in `x`.
fn plain(line: &str) -> String {
    SAGA.replace(RETRY, &if line.is_empty() { String::new() } else { format!("    {line}\n") })
}

fn before_turning() -> Vec<State> {
    let opened = event("Trigger");
    vec![
        state("pending", &plain(""), &[]),
        state("waiting", SAGA, std::slice::from_ref(&opened)),
        state("waiting, retry unsent", SAGA, &[opened.clone(), due("1m")]),
        state("done", &plain(""), &[opened.clone(), event("Done")]),
        state("failed, not decided", &plain(""), &[opened.clone(), event("Failed")]),
        state("failed, alerts", &plain("on_failure: alert"), &[opened.clone(), event("Failed")]),
        state("timed_out, alerts", &plain(""), &[opened.clone(), due("1m")]),
        state("timed_out, held", &plain("on_timeout: compensate"), &[opened.clone(), brake(true), due("1m")]),
        state("skipped by timeout", &plain("on_timeout: skip"), &[opened, due("1m")]),
    ]
}

fn after_turning() -> Vec<State> {
    let (opened, fails, turns) = (event("Trigger"), event("ZFailed"), due("1s"));
    let asked = [opened.clone(), event("Done"), fails.clone(), turns.clone()];
    let asked_then = |more: &[When]| [&asked, more].concat();
    let skipped = [opened.clone(), command(Action::Skip).on("x"), fails.clone(), turns.clone()];
    let done = [opened.clone(), event("Done"), event("YDone"), fails.clone(), turns.clone()];
    let ended = [confirm("routed"), event("Undone"), event("WDone"), event("YFailed")];
    vec![
        state("pending", &plain(""), &[fails.clone(), turns.clone()]),
        state("waiting", SAGA, &[opened.clone(), fails.clone(), turns.clone()]),
        state("done, not undone yet", &plain(""), &done),
        state("failed", &plain(""), &[opened.clone(), event("Failed"), turns.clone()]),
        state("timed_out, not undone yet", &plain(""), &[opened, fails, turns, event("YDone"), due("1m")]),
        state("skipped by a person", &plain(""), &skipped),
        state("compensating, unsent", &plain(""), &asked),
        state("compensating, confirmed", &plain(""), &asked_then(&[confirm("routed")])),
        state("compensation_failed", &plain(""), &asked_then(&[confirm("unroutable")])),
        state("compensated", &plain(""), &asked_then(&[confirm("routed"), event("Undone")])),
        state("compensated, order ended", &plain(""), &asked_then(&ended)),
    ]
}

fn orders() -> Vec<State> {
    let turns = |more: &[When]| [&[event("Trigger"), event("Done"), event("ZFailed"), due("1s")], more].concat();
    let turning = plain("on_timeout: compensate");
    let late = |first: When| [event("Trigger"), first, due("1m")];
    let all_done = [event("ZDone"), event("WDone"), event("YDone")];
    let nothing_to_undo = [event("WDone"), event("YFailed"), event("ZFailed"), due("1s")];
    let cancelled = [&[event("Cancelled")], &nothing_to_undo[..]].concat();
    let without_ref = given(&plain("")).when([event("OrderPlaced").body(json!({}))]).when(turns(&[]));
    vec![
        state("running", SAGA, &[event("Trigger")]),
        state("compensating", &plain(""), &turns(&[])),
        state("stuck: timed_out", SAGA, &[event("Trigger"), due("1m"), confirm("routed"), due("2m")]),
        state(
            "stuck: failed",
            &SAGA.replace(RETRY, &format!("{RETRY}    on_failure: alert\n")),
            &[event("Trigger"), event("Failed")],
        ),
        state("stuck: order_overdue", &SAGA.replace("within: 20h", "within: 30s"), &[event("Trigger"), due("30s")]),
        state("stuck: compensation_overdue", &plain(""), &turns(&[confirm("routed"), due("3m")])),
        state("stuck: compensation_unroutable", &plain(""), &turns(&[confirm("unroutable")])),
        state("stuck: compensation_refused", &plain(""), &turns(&[confirm("refused")])),
        state("stuck: compensation_failed", &plain(""), &turns(&[event("UndoRefused")])),
        State { name: "stuck: template_failed", run: without_ref },
        state("stuck: held", &turning, &late(brake(true))),
        state("stuck: unproven", &turning, &late(gap())),
        state("stuck: observe", &turning, &late(mode(Mode::Observe))),
        state(
            "stuck: observe, mode act again",
            &turning,
            &[&late(mode(Mode::Observe))[..], &[mode(Mode::Act)]].concat(),
        ),
        state("completed", &plain(""), &all_done),
        state("compensated", &plain(""), &turns(&[event("Undone"), event("WDone"), event("YFailed")])),
        state("cancelled", &plain(""), &cancelled),
        state("failed", &plain(""), &nothing_to_undo),
        state("closed", &plain(""), &[command(Action::Close)]),
    ]
}

fn inputs() -> Vec<(&'static str, When)> {
    vec![
        ("done", event("Done")),
        ("failed", event("Failed")),
        ("trigger", event("Trigger")),
        ("overdue", due("3m")),
        ("compensation done", event("Undone")),
        ("compensation failed", event("UndoRefused")),
        ("confirm: routed", confirm("routed")),
        ("confirm: unroutable", confirm("unroutable")),
        ("confirm: refused", confirm("refused")),
        ("confirm: withheld", confirm("withheld")),
        ("cancelled_by", event("Cancelled")),
    ]
}

fn actions() -> Vec<(&'static str, When)> {
    let half_hour = Action::Extend(Span::from_secs(1800));
    let all = [
        Action::Retry,
        Action::Skip,
        half_hour,
        Action::Compensate,
        Action::Release,
        Action::Drop,
        Action::Close,
        Action::Note,
    ];
    Action::WORDS.into_iter().zip(all.map(command)).collect()
}

/// What one input does to `x` and to the order.
fn follows(run: &Run, input: &When) -> String {
    let awaits = run.saga.step_ix("x").is_some_and(|x| run.order.steps[x].awaiting.is_some());
    if matches!(input.what, What::Confirm(_)) && !awaits {
        return "·".to_owned();
    }
    let run = run.clone().then("");
    let x = |run: &Run| run.statuses()["x"].word();
    let (step, order) = (x(&run), run.show("order"));
    let after = run.when([input.clone()]);
    if after.answer.is_err() {
        return "409".to_owned();
    }
    let kinds = after.show("kinds");
    let mut words = vec![if kinds == "-" { "nothing".to_owned() } else { kinds }];
    if x(&after) != step {
        words.push(format!("x **{}**", x(&after)));
    }
    if after.show("order") != order {
        words.push(format!("order **{}**", after.show("order")));
    }
    if after.show("sent") != "-" {
        words.push(format!("sends {}", after.show("sent")));
    }
    words.join("; ")
}

/// Inputs down, states across.
fn table(states: &[State], inputs: &[(&str, When)]) -> String {
    let head = states.iter().map(|state| state.name.to_owned());
    let rows = inputs.iter().map(|(name, input)| row(name, states.iter().map(|state| follows(&state.run, input))));
    markdown("", head, rows)
}

/// States down, actions across: what a person reads one line of. Where no step needs a person, the step `x` is named.
fn action_table(states: &[State]) -> String {
    let actions = actions();
    let rows = states.iter().map(|state| {
        let in_need = state.run.order.life.needs.iter().any(|need| need.step.is_some());
        let cells = actions.iter().map(|(name, action)| {
            let names_x = matches!(*name, "retry" | "skip" | "extend") && !in_need;
            let action = if names_x { action.clone().on("x") } else { action.clone() };
            follows(&state.run, &action)
        });
        row(state.name, cells)
    });
    markdown("order", actions.iter().map(|(name, _)| (*name).to_owned()), rows)
}

/// Makes the next version's text.
type Change = fn(&str) -> String;

/// States down, versions across: what becomes of an order that a person moves there.
fn moving_table(states: &[State]) -> String {
    let versions: [(&str, Change); 3] = [
        ("the same steps", str::to_owned),
        ("`x` without a compensation", |text| cut(text, "    compensation:\n", "  y:")),
        ("without `x`", |text| cut(text, "  x:\n", "  y:").replace("after: x", "after: placed")),
    ];
    let rows = states.iter().map(|state| {
        let cells = versions.iter().map(|(_, change)| {
            let mut run = state.run.clone();
            let text = change(&run.saga.text).replace("version: 1", "version: 2");
            let to = escrow::saga::parse::parse("second.yaml", &text).unwrap().saga;
            match (run.migrate(to, false), &run.answer) {
                (None, Err(why)) => why.to_string(),
                (_, _) => "moves".to_owned(),
            }
        });
        row(state.name, cells)
    });
    markdown("x", versions.iter().map(|(name, _)| (*name).to_owned()), rows)
}

fn cut(text: &str, from: &str, to: &str) -> String {
    let (begin, end) = (text.find(from).unwrap(), text.find(to).unwrap());
    format!("{}{}", &text[..begin], &text[end..])
}

fn markdown(corner: &str, head: impl Iterator<Item = String>, rows: impl Iterator<Item = String>) -> String {
    let head: Vec<String> = head.collect();
    let rule = row("---", head.iter().map(|_| "---".to_owned()));
    let lines: Vec<String> = [row(corner, head.into_iter()), rule].into_iter().chain(rows).collect();
    lines.join("\n") + "\n"
}

fn row(first: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The document with its tables made anew.
fn with_tables(document: &str) -> String {
    let tables = [
        ("before", table(&before_turning(), &inputs())),
        ("after", table(&after_turning(), &inputs())),
        ("actions", action_table(&orders())),
        ("moving before", moving_table(&before_turning())),
        ("moving after", moving_table(&after_turning())),
    ];
    let mut document = document.to_owned();
    for (name, table) in tables {
        let open = format!("<!-- table: {name} -->\n");
        let begin = document.find(&open).expect("the document has a place for each table") + open.len();
        let end = begin + document[begin..].find("<!-- end -->").expect("the place ends");
        document.replace_range(begin..end, &format!("\n{table}\n"));
    }
    document
}

#[test]
fn the_document_shows_what_the_machine_does() {
    let stored = std::fs::read_to_string(FILE).unwrap();
    let made = with_tables(&stored);
    if stored != made && std::env::var_os("ESCROW_BLESS").is_some() {
        std::fs::write(FILE, made).unwrap();
        return;
    }
    assert!(stored == made, "docs/state-machine.md is out of date: run `ESCROW_BLESS=1 cargo test --test machine`");
}

#[test]
fn the_tables_leave_no_state_out() {
    let steps: BTreeSet<StepStatus> =
        before_turning().iter().chain(&after_turning()).map(|state| state.run.statuses()["x"]).collect();
    assert_eq!(steps, StepStatus::ALL.into_iter().collect());
    let orders = orders();
    let statuses: BTreeSet<Status> = orders.iter().map(|state| state.run.order.life.status).collect();
    assert_eq!(statuses, Status::ALL.into_iter().collect());
    let reasons: BTreeSet<StuckReason> =
        orders.iter().flat_map(|state| &state.run.order.life.needs).map(|need| need.reason).collect();
    assert_eq!(reasons, StuckReason::ALL.into_iter().collect());
    for state in &orders {
        let first = state.run.order.first_need().map_or("", |need| need.reason.word());
        let status = state.run.order.life.status.word();
        assert!(state.name.starts_with(status) && state.name.contains(first), "{} is {status} {first}", state.name);
    }
}

#[test]
fn the_states_of_the_tables_are_what_they_are_called() {
    for state in before_turning().iter().chain(&after_turning()) {
        let word = state.run.statuses()["x"].word();
        assert!(state.name.starts_with(word), "{} is {word}", state.name);
    }
    assert!(before_turning().iter().all(|state| !state.run.order.has_turned()));
    assert!(after_turning().iter().all(|state| state.run.order.has_turned()));
}
