//! What holds for every saga: random definitions, random runs over them.
//!
//! The laws of `laws.rs` are checked after every input of every run, so most of the work of these tests is there.

use escrow::saga::definition::Mode;
use escrow::saga::input::{Action, Command, Confirmation, Input, Verdict};
use escrow::saga::journal::fold;
use escrow::saga::machine::ResultOf;
use escrow::saga::order::{Doubt, DoubtKind};
use escrow::saga::time::Span;
use proptest::prelude::*;

use super::run::{Run, saga};
use super::when::{event, reconsider};

/// A step of a random definition; every number is taken modulo what there is.
#[derive(Clone, Debug)]
pub struct Plan {
    after: Vec<usize>,
    triggered: bool,
    fails: Option<usize>,
    pub on_timeout: usize,
    pub ignores_late: bool,
    pub within_s: u32,
    pub retries: u32,
    pub undo: Option<(bool, bool, u32)>,
    counted: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let undo = proptest::option::of((any::<bool>(), any::<bool>(), 0..3_u32));
    let fails = proptest::option::of(0..3_usize);
    (
        (proptest::collection::vec(0..8_usize, 1..3), proptest::bool::weighted(0.25), fails, 0..3_usize),
        (any::<bool>(), 5..60_u32, 0..3_u32, undo, proptest::bool::weighted(0.2)),
    )
        .prop_map(|((after, triggered, fails, on_timeout), (ignores_late, within_s, retries, undo, counted))| {
            Plan { after, triggered, fails, on_timeout, ignores_late, within_s, retries, undo, counted }
        })
}

pub fn plans() -> impl Strategy<Value = Vec<Plan>> {
    proptest::collection::vec(plan(), 1..6)
}

/// `s0` is the root; the others come after some before them, or wait for a trigger.
pub fn text(plans: &[Plan]) -> String {
    let mut text = "cancelled_by: Cancel\nwithin: 10m\nsteps:\n  s0: { done: Done0, compensation: { publish: Undo0, done: Undone0 } }\n".to_owned();
    for (ix, plan) in plans.iter().enumerate() {
        let ix = ix + 1;
        let mut after: Vec<String> = plan.after.iter().map(|at| format!("s{}", at % ix)).collect();
        after.sort();
        after.dedup();
        let mut keys = vec![
            format!("after: [{}]", after.join(", ")),
            format!("done: Done{ix}"),
            format!("within: {}s", plan.within_s),
        ];
        if plan.triggered {
            keys.push(format!("when: Trigger{ix}"));
        }
        if let Some(fails) = plan.fails {
            keys.push(format!("failed: Failed{ix}, on_failure: {}", ["compensate", "alert", "wait"][fails]));
        }
        keys.push(format!("on_timeout: {}", ["compensate", "alert", "skip"][plan.on_timeout]));
        if plan.ignores_late {
            keys.push("late: ignore".to_owned());
        }
        if plan.retries > 0 {
            let message =
                if after.len() > 1 || plan.triggered { format!(", message: {}", after[0]) } else { String::new() };
            keys.push(format!("retry: {{ times: {}, every: 7s, backoff: 2, to: original{message} }}", plan.retries));
        }
        if let Some((answers, refuses, retries)) = plan.undo {
            let mut undo = vec![format!("publish: Undo{ix}")];
            if answers {
                undo.push(format!("done: Undone{ix}, within: 20s"));
                if retries > 0 {
                    undo.push(format!("retry: {{ times: {retries}, every: 5s }}"));
                }
            }
            if refuses && answers {
                undo.push(format!("failed: Refused{ix}"));
            }
            keys.push(format!("compensation: {{ {} }}", undo.join(", ")));
        }
        if plan.counted {
            keys.push("count: 2, by: /part".to_owned());
        }
        text.extend(["  s", &ix.to_string(), ": { ", &keys.join(", "), " }\n"]);
    }
    text
}

/// How many a counted step needs is said when it opens: a decision, after which a trigger changes nothing about what is done.
fn without_counts_after_conditional_steps(mut plans: Vec<Plan>) -> Vec<Plan> {
    for ix in 1..=plans.len() {
        let triggered = |at: &usize| (at % ix).checked_sub(1).is_some_and(|before| plans[before].triggered);
        let follows = plans[ix - 1].after.iter().any(triggered);
        plans[ix - 1].counted &= !follows;
    }
    plans
}

/// Something happening; `pick` is taken modulo what there is to pick from.
#[derive(Clone, Debug)]
pub enum Op {
    Event {
        pick: usize,
        part: usize,
    },
    Again {
        pick: usize,
    },
    /// Time passes, and the watermark to `lag` seconds before.
    Pass {
        seconds: u32,
        lag: u32,
    },
    Confirm {
        pick: usize,
        verdict: usize,
    },
    Command {
        action: usize,
        step: Option<usize>,
    },
    Reconsider,
    Mode(bool),
    Brake(bool),
    Gap(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<usize>(), 0..3_usize).prop_map(|(pick, part)| Op::Event { pick, part }),
        1 => any::<usize>().prop_map(|pick| Op::Again { pick }),
        5 => (0..45_u32, 0..20_u32).prop_map(|(seconds, lag)| Op::Pass { seconds, lag: lag.saturating_sub(10) }),
        4 => (any::<usize>(), 0..5_usize).prop_map(|(pick, verdict)| Op::Confirm { pick, verdict }),
        2 => (0..8_usize, proptest::option::of(any::<usize>())).prop_map(|(action, step)| Op::Command { action, step }),
        1 => Just(Op::Reconsider),
        1 => any::<bool>().prop_map(Op::Mode),
        1 => any::<bool>().prop_map(Op::Brake),
        1 => any::<bool>().prop_map(Op::Gap),
    ]
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..60)
}

fn action(pick: usize) -> Action {
    match pick {
        0 => Action::Retry,
        1 => Action::Skip,
        2 => Action::Extend(Span::from_secs(30)),
        3 => Action::Compensate,
        4 => Action::Release,
        5 => Action::Drop,
        6 => Action::Note,
        _ => Action::Close,
    }
}

fn names(run: &Run) -> Vec<String> {
    run.saga.roles.keys().cloned().collect()
}

pub fn step(run: &mut Run, ix: usize, op: &Op) {
    match op {
        Op::Event { pick, part } => {
            let names = names(run);
            run.take(&event(&names[pick % names.len()]).id(&format!("op{ix}")).part(&format!("p{part}")));
        }
        Op::Again { pick } => {
            let seen: Vec<(String, String)> = run
                .journal
                .iter()
                .filter_map(|entry| Some((entry.body.name.clone()?, entry.body.message.as_ref()?.id.clone())))
                .filter(|(name, _)| run.saga.roles.contains_key(name))
                .collect();
            if !seen.is_empty() {
                let (name, id) = &seen[pick % seen.len()];
                run.take(&event(name).id(id));
                assert_eq!(run.answer, Ok(ResultOf::Duplicate), "the same message again");
            }
        }
        Op::Pass { seconds, lag } => {
            run.now = run.now + Span::from_secs(i64::from(*seconds));
            run.apply(&Input::Due(run.now - Span::from_secs(i64::from(*lag))));
        }
        Op::Confirm { pick, verdict } if !run.unsettled.is_empty() => {
            let key = run.unsettled.remove(pick % run.unsettled.len()).key;
            let why = || "why".to_owned();
            let verdict = match verdict {
                0 => Verdict::Unroutable(why()),
                1 => Verdict::Refused(why()),
                2 => Verdict::Withheld(why()),
                _ => Verdict::Routed,
            };
            run.apply(&Input::Confirmation(Confirmation { key, verdict }));
        }
        Op::Confirm { .. } => {}
        Op::Command { action: pick, step } => {
            let step = step.map(|step| step % run.saga.steps.len());
            let command = Command { action: action(*pick), step, actor: "ann".to_owned(), reason: "why".to_owned() };
            run.apply(&Input::Command(command));
        }
        Op::Reconsider => run.take(&reconsider()),
        Op::Mode(acts) => run.mode = if *acts { Mode::Act } else { Mode::Observe },
        Op::Brake(holds) => run.braked = *holds,
        Op::Gap(there) => {
            run.doubts.clear();
            if *there {
                let (saga, from, to) = (None, run.now, run.now);
                run.doubts.push(Doubt { id: 1, kind: DoubtKind::Gap, saga, from, to, event: None, order_id: None });
            }
        }
    }
}

pub fn play(plans: &[Plan], ops: &[Op]) -> Run {
    let mut run = Run::of(saga(&text(plans)));
    // Most orders begin with their root, or nearly all runs would be about the doubt of the beginning.
    if plans.len() != 3 {
        run.take(&event("Done0").id("first"));
    }
    for (ix, op) in ops.iter().enumerate() {
        if run.order.sequence > 0 || matches!(op, Op::Event { .. }) {
            step(&mut run, ix, op);
        }
    }
    run
}

/// Rebuilds the order from its trail alone.
pub fn refold(run: &mut Run) {
    let mut folded = None;
    for entry in &run.journal {
        folded = Some(fold(folded, &run.order.key, entry).unwrap());
    }
    if let Some(mut folded) = folded {
        folded.head = run.order.head;
        folded.duplicates = run.order.duplicates;
        run.order = folded;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_law_holds_after_every_input_of_a_random_run(plans in plans(), ops in ops()) {
        let mut run = play(&plans, &ops);
        // Once more at the same moment: whatever was due has fired.
        let entries = run.journal.len();
        run.apply(&Input::Due(run.now));
        let again = run.journal.len();
        run.apply(&Input::Due(run.now));
        prop_assert!(again >= entries);
        prop_assert_eq!(run.journal.len(), again);
    }

    #[test]
    fn going_on_from_the_folded_trail_gives_the_same_order_and_entries(plans in plans(), ops in ops(), at in any::<prop::sample::Index>()) {
        let whole = play(&plans, &ops);
        let split = at.index(ops.len() + 1);
        let mut parts = play(&plans, &ops[..split]);
        refold(&mut parts);
        for (ix, op) in ops.iter().enumerate().skip(split) {
            if parts.order.sequence > 0 || matches!(op, Op::Event { .. }) {
                step(&mut parts, ix, op);
            }
        }
        prop_assert_eq!(parts.journal, whole.journal);
        prop_assert_eq!(parts.order, whole.order);
        prop_assert_eq!(parts.outbox, whole.outbox);
    }

    #[test]
    fn any_permutation_with_any_duplication_of_events_before_a_decision_ends_in_the_same_steps(
        plans in plans(),
        events in proptest::collection::vec((any::<usize>(), 0..3_usize), 1..14),
        order in any::<u64>(),
        copies in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
    ) {
        let plans = without_counts_after_conditional_steps(plans);
        let mut run = Run::of(saga(&text(&plans)));
        let names = names(&run);
        let events: Vec<_> = events.into_iter().enumerate()
            .map(|(ix, (pick, part))| event(&names[pick % names.len()]).id(&format!("e{ix}")).part(&format!("p{part}")))
            .collect();
        let mut shuffled = events.clone();
        let mut state = order | 1;
        for ix in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(ix, usize::try_from(state >> 33).unwrap() % (ix + 1));
        }
        for (from, to) in copies {
            let copy = shuffled[from.index(shuffled.len())].clone();
            shuffled.insert(to.index(shuffled.len() + 1), copy);
        }
        let mut other = run.clone();
        run = run.when(events.clone());
        other = other.when(shuffled.clone());
        prop_assert_eq!(run.statuses(), other.statuses(), "{}\n{:#?}\n{:#?}", text(&plans), events, shuffled);
    }

    #[test]
    fn an_unproven_order_asks_nothing_by_itself(plans in plans(), ops in ops()) {
        let mut run = Run::of(saga(&text(&plans)));
        for (ix, op) in ops.iter().enumerate().filter(|(_, op)| !matches!(op, Op::Command { .. })) {
            if run.order.sequence == 0 && !matches!(op, Op::Event { .. }) {
                continue;
            }
            // The root's event never comes.
            let opens = matches!(op, Op::Event { pick, .. } if names(&run)[pick % names(&run).len()] == "Done0");
            if !opens {
                step(&mut run, ix, op);
            }
        }
        prop_assert!(run.outbox.iter().all(|row| !row.content.asks()));
    }

    #[test]
    fn an_observed_order_asks_nothing_by_itself(plans in plans(), ops in ops()) {
        let ops: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Mode(_))).collect();
        let mut run = Run::of(saga(&text(&plans)));
        run.mode = Mode::Observe;
        for (ix, op) in ops.iter().enumerate() {
            if run.order.sequence > 0 || matches!(op, Op::Event { .. }) {
                step(&mut run, ix, op);
            }
        }
        prop_assert!(run.outbox.iter().all(|row| !row.content.asks()));
    }
}
