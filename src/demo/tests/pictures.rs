//! Snapshots as text, and what each of them shows.

use std::time::Duration;

use crate::demo::faults::Inventory;
use crate::demo::story::Story;
use crate::demo::summary::{Deeds, Snapshot, Stuck, Tone, closing, one_line, render};
use crate::saga::order::{Status, StuckReason};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn snapshot() -> Snapshot {
    Snapshot {
        elapsed: secs(16),
        run_for: Some(secs(30)),
        rate: 4.0,
        seed: 42,
        address: Some(([127, 0, 0, 1], 8080).into()),
        placed: 62,
        inventory: Inventory::Down { since: secs(9), back_in: Duration::from_millis(2_400) },
        statuses: vec![(Status::Running, 28), (Status::Stuck, 2), (Status::Completed, 32)],
        stuck: vec![Stuck {
            step: Some("inventory".into()),
            reason: StuckReason::CompensationOverdue,
            count: 2,
            samples: vec!["order-00022".into(), "order-00023".into()],
        }],
        deeds: Deeds {
            retries: 54,
            completed_after_retry: 3,
            timeouts: 19,
            compensations_asked: 34,
            ..Deeds::default()
        },
        latest: (0..20)
            .map(|n| Story {
                at: secs(n),
                order_id: format!("order-{n:05}"),
                text: "inventory is silent: message sent again (1 of 2)".into(),
                tone: Tone::Busy,
            })
            .collect(),
    }
}

fn picture(snapshot: &Snapshot, width: usize, height: usize) -> Vec<String> {
    render(snapshot, width, height).iter().map(super::super::summary::Line::text).collect()
}

#[test]
fn a_picture_tells_where_orders_stand_what_is_stuck_and_what_was_done() {
    let text = picture(&snapshot(), 100, 50).join("\n");
    for expected in [
        "ESCROW DEMO  0:16 of 0:30 · 4 orders a second · seed 42 · http://127.0.0.1:8080",
        "└─▶ inventory ✖ ──┘   down for 9 s, back in 3 s",
        "ORDERS   62 placed",
        "  running          28  █",
        "  compensated       0",
        "     2 × inventory: asked to undo it, and nobody answered   e.g. order-00022",
        "54 sent again (3 then completed) · 19 given up",
        "34 asked",
        "   0:19  order-00019  inventory is silent: message sent again (1 of 2)",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing from\n{text}");
    }
}

#[test]
fn a_calm_picture_says_that_nothing_is_stuck_and_inventory_is_there() {
    let calm = Snapshot { stuck: Vec::new(), inventory: Inventory::Up(None), latest: Vec::new(), ..snapshot() };
    let text = picture(&calm, 100, 50).join("\n");
    assert!(text.contains("nothing: no order needs a person"), "{text}");
    assert!(text.contains("inventory ● ──┘") && !text.contains('✖'), "{text}");
    assert!(!text.contains("LATEST"), "{text}");
}

#[test]
fn a_picture_fits_the_terminal_whatever_its_size() {
    for (width, height) in [(200, 60), (110, 40), (80, 24), (40, 10), (10, 3), (1, 1), (0, 0)] {
        let lines = picture(&snapshot(), width, height);
        assert!(lines.len() <= height.max(1), "{} lines of {height}", lines.len());
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= width.max(1), "{widest} columns of {width}");
    }
    assert!(picture(&snapshot(), 40, 30)[0].ends_with('…'));
}

#[test]
fn the_newest_news_stay_when_there_is_no_room_for_all() {
    let lines = picture(&snapshot(), 100, 24);
    assert!(lines.last().is_some_and(|line| line.contains("order-00019")), "{lines:#?}");
}

#[test]
fn the_bars_are_in_proportion_and_the_smallest_is_seen() {
    let one = Snapshot { statuses: vec![(Status::Running, 1_000), (Status::Completed, 1)], ..snapshot() };
    let bar = |status: &str| {
        let line = picture(&one, 100, 50).into_iter().find(|line| line.trim_start().starts_with(status)).unwrap();
        line.chars().filter(|it| *it == '█').count()
    };
    assert_eq!((bar("running"), bar("completed"), bar("stuck")), (74, 1, 0));
}

#[test]
fn one_line_says_the_same_in_short() {
    assert_eq!(
        one_line(&snapshot()),
        " 0:16  62 placed · 28 running · 2 stuck · 32 completed · 54 retries · 19 timeouts · compensations 34 asked, 0 closed \
         · inventory is down · stuck: 2 × inventory: asked to undo it, and nobody answered"
    );
}

#[test]
fn the_last_words_say_how_many_orders_were_left_on_the_way() {
    let last = |statuses| {
        let lines = closing(&Snapshot { statuses, ..snapshot() });
        lines.last().map(super::super::summary::Line::text).unwrap_or_default()
    };
    assert!(last(vec![(Status::Completed, 5)]).contains("Every order was followed to its end"));
    assert!(last(vec![(Status::Completed, 5), (Status::Running, 1)]).contains("One order was"));
    assert!(last(vec![(Status::Running, 2), (Status::Stuck, 1)]).contains("3 orders were"));
}
