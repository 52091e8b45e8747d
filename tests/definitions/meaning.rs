//! What an accepted definition means.

use escrow::saga::definition::{
    BrakeLimit, Mode, OnFailure, OnTimeout, OrderIdFrom, Place, Preset, RetryTo, Role, Selector, Telling, Within,
};
use escrow::saga::time::Span;

use super::support::{definition_files, read, valid, with_head, with_steps};

fn pointer(path: &str) -> Selector {
    Selector::Pointer(path.to_owned())
}

#[test]
fn what_is_left_out_has_its_default() {
    let saga = valid(&with_steps("  a:\n    done: A\n    compensation: { publish: P, done: D }"));
    assert_eq!((saga.mode, saga.within), (Mode::Act, Span::from_secs(7 * 86_400)));
    assert_eq!(saga.brake, Some(BrakeLimit { orders: 50, per: Span::from_secs(60) }));
    assert_eq!(saga.notify.len(), Telling::ALL.len() - 1);
    assert!(!saga.notify.contains(&Telling::Completed));
    let step = &saga.steps[0];
    assert_eq!((step.on_failure, step.on_timeout), (OnFailure::Compensate, OnTimeout::Alert));
    assert!(step.within.is_none() && step.retry.is_none() && step.count.is_none());
    let compensation = step.compensation.as_ref().unwrap();
    assert_eq!(compensation.within, Some(Span::from_secs(3600)));
    assert!(compensation.publish.as_ref().unwrap().exchange.is_none());
}

#[test]
fn a_brake_can_be_switched_off_or_set_in_part() {
    let brake = |brake: &str| valid(&with_head(&format!("saga: s\nversion: 1\nbrake: {brake}"))).brake;
    assert_eq!(brake("none"), None);
    assert_eq!(brake("{ orders: 5 }"), Some(BrakeLimit { orders: 5, per: Span::from_secs(60) }));
}

#[test]
fn events_over_http_are_always_read() {
    let saga = valid(&with_steps("  a:\n    done: A"));
    let http = saga.watch.last().unwrap();
    assert_eq!((&http.place, http.read.preset), (&Place::Http, Some(Preset::CloudEvents)));
    assert!(http.read.event.is_empty() && http.read.order_id == OrderIdFrom::Message(vec![]));
    let said = valid(&with_head("saga: s\nversion: 1\nwatch: [{ http: { read: { order_id: /id } } }]"));
    assert_eq!(said.watch.len(), 1);
    assert_eq!(said.watch[0].read.order_id, OrderIdFrom::Message(vec![pointer("/id")]));
    assert_eq!(said.watch[0].read.preset, Some(Preset::CloudEvents));
}

#[test]
fn a_place_reads_as_it_says_itself_and_else_as_the_saga_says() {
    let saga = valid(&with_head(
        "saga: s\nversion: 1\nread: { event: [/e, routing_key:2], order_id: /o, id: header:i }\nwatch:\n  - exchange: x\n  - exchange: y\n    \
         read: { order_id: arrival, preset: nservicebus }",
    ));
    let [x, y, _] = saga.watch.as_slice() else { panic!("{:?}", saga.watch) };
    assert_eq!(x.read.event, [pointer("/e"), Selector::RoutingKeyWord(2)]);
    assert_eq!(x.read.id, [Selector::Header("i".to_owned())]);
    assert_eq!(y.read.order_id, OrderIdFrom::Arrival);
    assert_eq!((y.read.preset, y.read.event.len()), (Some(Preset::NServiceBus), 2));
}

#[test]
fn one_exchange_can_be_read_in_two_ways_by_its_keys() {
    let saga = valid(&with_head(
        "saga: s\nversion: 1\nread: { event: /e, order_id: /o }\nwatch:\n  - { exchange: x, keys: a.* }\n  - { exchange: x, keys: [b.*], \
         read: { order_id: /ref } }",
    ));
    assert_eq!(saga.watch.len(), 3);
}

#[test]
fn roles_are_in_the_order_of_the_file() {
    let saga = valid(&with_steps(
        "  a:\n    done: X\n    failed: F\n  b:\n    after: a\n    when: X\n    done: { event: Y, where: 'body.n == 1' }\n    compensation: { done: F, \
         failed: X }\ncancelled_by: [F, C]",
    ));
    let roles = |event: &str| saga.roles[event].iter().map(|role| role.role).collect::<Vec<_>>();
    assert_eq!(roles("X"), [Role::Done(0), Role::When(1), Role::CompensationFailed(1)]);
    assert_eq!(roles("F"), [Role::Failed(0), Role::CompensationDone(1), Role::Cancel]);
    assert_eq!(roles("Y"), [Role::Done(1)]);
    assert!(saga.roles["Y"][0].condition.is_some());
    assert_eq!(saga.roles.len(), 4);
}

#[test]
fn steps_are_built_as_they_are_written() {
    let saga = valid(&with_steps(
        "  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: \"{{ duration('5s') }}\"\n  c:\n    after: [a, b]\n    done: C\n    within: \
         2h30m\n    count: 2\n    by: [/x, exchange]\n    retry: { times: 3, every: 20s, backoff: 2, to: { exchange: e, routing_key: k }, \
         message: b }",
    ));
    assert!(matches!(saga.steps[1].within, Some(Within::Computed(_))));
    let step = &saga.steps[2];
    assert_eq!(step.after, [0, 1]);
    assert!(matches!(step.within, Some(Within::Fixed(span)) if span == Span::from_secs(9000)));
    assert_eq!(step.by, [pointer("/x"), Selector::Exchange]);
    assert_eq!(step.count.as_ref().unwrap().source(), "2");
    let retry = step.retry.as_ref().unwrap();
    assert_eq!((retry.cadence.times, retry.cadence.every, retry.message), (3, Span::from_secs(20), Some(1)));
    assert_eq!(retry.to, RetryTo::Exchange { exchange: "e".to_owned(), routing_key: Some("k".to_owned()) });
}

#[test]
fn writing_differently_is_not_meaning_something_else() {
    let plain =
        valid(&with_steps("  a:\n    done: A\n    within: 60s\n  b:\n    after: [a]\n    done: [B]")).fingerprint;
    let same = [
        "saga: order\nversion: 2\nmode: observe\nnotify: []\nbrake: none\nattributes: { c: /c }\nread:\n  order_id: [/o]\n  event: /e\nwatch:\n  - \
         exchange: x\nsteps:\n  a: { within: 1m, done: [\"A\"], on_timeout: alert }\n  # a comment\n  b: { done: B, after: a }\nwithin: 7d\n",
        &with_steps("  a:\n    done: A\n    within: 1m\n  b:\n    after: a\n    done: B\n    late: compensate"),
    ];
    for text in same {
        assert_eq!(valid(text).fingerprint, plain, "{text}");
    }
    let different = [
        "  a:\n    done: A\n    within: 61s\n  b:\n    after: [a]\n    done: [B]",
        "  a:\n    done: A\n    within: 60s\n  b:\n    done: [B]",
        "  a:\n    done: A\n    within: 60s\n    on_timeout: skip\n  b:\n    after: [a]\n    done: [B]",
        "  a:\n    done: A\n    within: 60s\n  c:\n    after: [a]\n    done: [B]",
        "  a:\n    done: A\n    within: 60s\n    compensation: { publish: P }\n  b:\n    after: [a]\n    done: [B]",
        "  b:\n    done: [B]\n    after: a\n  a:\n    done: A\n    within: 60s",
    ];
    for steps in different {
        assert_ne!(valid(&with_steps(steps)).fingerprint, plain, "{steps}");
    }
}

#[test]
fn every_setting_that_decides_something_is_part_of_the_meaning() {
    let text = read(&definition_files().into_iter().find(|path| path.ends_with("full-language/saga.yaml")).unwrap());
    let fingerprint = valid(&text).fingerprint;
    for (from, to) in [
        ("durable: false", "durable: true"),
        ("order_id: /ref", "order_id: /reference"),
        ("\"payment.#\"", "\"payments.#\""),
        ("property:message_id", "header:message_id"),
        ("\"REJECTED\"", "\"REFUSED\""),
        ("on_failure: compensate", "on_failure: wait"),
        ("failed: RefundRefused", "failed: RefundImpossible"),
        ("within: 5m", "within: 6m"),
        ("backoff: 2,", "backoff: 3,"),
        ("queue: inventory", "queue: inventory2"),
        ("late: ignore", "late: compensate"),
        ("inventory.release.", "inventory.released."),
        ("x-kind: release", "x-kind: released"),
        ("correlation_id: \"{{ order_id }}\"", "correlation_id: \"{{ saga }}\""),
        ("at: \"{{ now }}\"", "at: \"{{ attempt }}\""),
        ("times: 5", "times: 6"),
        ("when: StockLow", "when: StockGone"),
        ("attributes.gift == true", "attributes.gift == false"),
        (".parcels)", ".boxes)"),
        ("by: /data/parcel_id", "by: /data/parcel"),
        ("duration('24h')", "duration('25h')"),
        ("routing_key: ship", "routing_key: shipping"),
        ("message: payment", "message: inventory"),
        ("cancelled_by: OrderCancelled", "cancelled_by: OrderWithdrawn"),
        ("within: 24h", "within: 25h"),
    ] {
        assert!(text.contains(from), "{from}");
        assert_ne!(valid(&text.replacen(from, to, 1)).fingerprint, fingerprint, "{from}");
    }
    for (from, to) in [
        ("mode: observe", "mode: act"),
        ("orders: 50", "orders: 5"),
        ("notify: [timed_out, stuck]", "notify: []"),
        ("queue: payments", "queue: payments2"),
        ("queue: refunds", "queue: refunds2"),
    ] {
        assert!(text.contains(from), "{from}");
        assert_eq!(valid(&text.replacen(from, to, 1)).fingerprint, fingerprint, "{from}");
    }
}

#[test]
fn the_queue_of_a_step_is_the_one_given_and_else_the_one_its_retries_go_to() {
    let after = |rest: &str| {
        let saga = valid(&with_steps(&format!(
            "  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 5s\n    {rest}"
        )));
        let step = &saga.steps[1];
        (step.queue().map(str::to_owned), step.undo_queue().map(str::to_owned))
    };
    let queue = |name: &str| Some(name.to_owned());
    assert_eq!(after("late: ignore"), (None, None));
    assert_eq!(after("handled_by: { queue: billing }"), (queue("billing"), None));
    assert_eq!(after("retry: { times: 1, every: 1s, to: { queue: q } }"), (queue("q"), None));
    assert_eq!(after("retry: { times: 1, every: 1s, to: original }"), (None, None));
    assert_eq!(
        after("handled_by: { queue: q }\n    retry: { times: 1, every: 1s, to: { exchange: x } }"),
        (queue("q"), None)
    );
    assert_eq!(
        after("compensation: { publish: P, done: D, handled_by: { queue: r } }"),
        (None, queue("r")),
        "the queue of the undoing is not that of the step"
    );
}

#[test]
fn attributes_have_their_names_and_where_they_are_found() {
    let saga = valid(&with_head("saga: s\nversion: 1\nattributes: { customer: /data/customer, size: [/a, /b] }"));
    let expected = [
        ("customer".to_owned(), vec![pointer("/data/customer")]),
        ("size".to_owned(), vec![pointer("/a"), pointer("/b")]),
    ];
    assert_eq!(saga.attributes, expected);
}

#[test]
fn the_queues_of_a_step_are_those_of_its_service_and_of_the_one_that_undoes_it() {
    let queues = |step: &str| -> Vec<String> {
        let text = format!("  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 1m\n{step}");
        valid(&with_steps(&text)).steps[1].queues().map(str::to_owned).collect()
    };
    assert_eq!(queues(""), Vec::<String>::new());
    assert_eq!(queues("    handled_by: { queue: stock }\n"), ["stock"]);
    let undone = "    compensation: { publish: P, done: D, handled_by: { queue: undo } }\n";
    assert_eq!(queues(undone), ["undo"]);
    assert_eq!(
        queues(&format!("    retry: {{ times: 1, every: 5s, to: {{ queue: retried }} }}\n{undone}")),
        ["retried", "undo"]
    );
}

#[test]
fn stored_events_are_read_only_where_an_expression_or_a_template_does() {
    let reads = |step: &str| {
        valid(&with_steps(&format!("  a:\n    done: A\n  b:\n    after: a\n    done: B\n{step}"))).reads_stored_events()
    };
    let undo = |body: &str| {
        format!(
            "    compensation:\n      publish: {{ event: P, exchange: y, body: {{ n: \"{body}\" }} }}\n      done: D\n"
        )
    };
    assert!(!reads("") && !reads(&undo("{{ order_id }}")));
    assert!(reads(&undo("{{ steps.a.event.n }}")));
    assert!(reads("    if: steps.a.event.n == 1\n") && !reads("    if: order_id == 'x'\n"));
    assert!(reads("    within: \"{{ steps.a.event.by }}\"\n") && !reads("    within: 5s\n"));
}
