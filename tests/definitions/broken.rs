//! Mistakes in the meaning of a definition, each with its place, its words and its hint.

use escrow::saga::parse::Severity::{Error, Warning};

use super::support::{expect, with_head, with_steps};

fn in_steps(steps: &str) -> String {
    with_steps(steps)
}

#[test]
fn steps_that_cannot_be_gone_through_are_refused() {
    expect(
        Error,
        &[
            (
                in_steps("  a:\n    done: A\n  b:\n    after: «aa»\n    done: B"),
                "there is no step `aa`",
                "did you mean `a`?",
            ),
            (
                in_steps("  a:\n    done: A\n  b:\n    after: [a, «shipping»]\n    done: B"),
                "there is no step `shipping`",
                "the steps are `a` or `b`",
            ),
            (
                in_steps(
                    "  r:\n    done: R\n  a:\n    «after»: [r, c]\n    done: A\n  b:\n    after: a\n    done: B\n  c:\n    after: b\n    done: C",
                ),
                "in a circle: `a` after `c` after `b` after `a`",
                "must not come after",
            ),
            (in_steps("  r:\n    done: R\n  a:\n    «after»: a\n    done: A"), "`a` comes after itself", ""),
            (
                in_steps("  r:\n    done: R\n  a:\n    after: a\n    done: A\n  b:\n    «after»: a\n    done: B"),
                "nothing can open `b`: it comes after `a`",
                "",
            ),
            (
                "saga: s\nversion: 1\n«steps»:\n  a:\n    when: T\n    done: A\n  b:\n    after: a\n    done: B\n"
                    .to_owned(),
                "nothing can open the steps",
                "neither `after` nor `when`",
            ),
            (
                in_steps("  r:\n    done: R\n  a:\n    «when»: X\n    done: X"),
                "nothing is ever awaited in `a`",
                "`where`",
            ),
            (in_steps("  a:\n    done: A\n  b:\n    after: [a, «a»]\n    done: B"), "named twice", ""),
        ],
    );
}

#[test]
fn a_deadline_needs_an_event_and_an_action_a_deadline() {
    expect(
        Error,
        &[
            (in_steps("  «a»:\n    within: 5s"), "`done` is missing in a step", "`done`: Events that close it"),
            (in_steps("  a:\n    done: A\n    «on_timeout»: skip"), "`on_timeout` without `within`", "add `within`"),
            (
                in_steps(
                    "  r:\n    done: R\n  a:\n    after: r\n    done: A\n    «retry»: { times: 1, every: 1s, to: original }",
                ),
                "`retry` without `within`",
                "add `within`",
            ),
            (in_steps("  a:\n    done: A\n    «on_failure»: wait"), "`on_failure` without `failed`", "add `failed`"),
            (
                in_steps("  a:\n    done: A\n    compensation: { publish: P, «within»: 5s }"),
                "`within` without `done`",
                "add `done`",
            ),
            (
                in_steps("  a:\n    done: A\n    compensation: { publish: P, «retry»: { times: 1, every: 1s } }"),
                "`retry` without `done`",
                "",
            ),
            (
                in_steps("  a:\n    done: A\n    compensation: { done: P, «retry»: { times: 1, every: 1s } }"),
                "`retry` without `publish`: nothing is sent",
                "",
            ),
            (in_steps("  a:\n    done: A\n    «compensation»: {}"), "needs `publish` or `done`", "`publish`"),
            (in_steps("  a:\n    done: A\n    «compensation»: { failed: F }"), "needs `publish` or `done`", ""),
            (in_steps("  a:\n    done: A\n    «count»: 3"), "`count` without `by`", "add `by`"),
            (in_steps("  a:\n    done: A\n    «by»: /id"), "`by` without `count`", "add `count`"),
        ],
    );
}

/// Two roots, a step after one of them, and a step `d` with this `after` and this retry.
fn with_retry(after: &str, retry: &str) -> String {
    with_steps(&format!(
        "  a:\n    done: A\n  b:\n    done: B\n  c:\n    after: a\n    done: C\n  d:\n{after}    done: D\n    within: 5s\n    {retry}"
    ))
}

#[test]
fn a_retry_needs_a_target_and_a_message_that_can_be_known() {
    expect(
        Error,
        &[
            (
                with_retry("    after: a\n", "«retry»: { times: 1, every: 1s }"),
                "`to` is missing in `retry`",
                "`to`: Who gets",
            ),
            (
                with_retry("", "«retry»: { times: 1, every: 1s, to: original }"),
                "`d` opens with the order",
                "say what the step comes after",
            ),
            (
                with_retry("    after: [a, b]\n", "«retry»: { times: 1, every: 1s, to: { queue: q } }"),
                "several messages open `d`",
                "add `message:` with `a` or `b`",
            ),
            (
                with_retry("    after: [a, b]\n", "retry: { times: 1, every: 1s, to: { queue: q }, message: «c» }"),
                "`c` does not come before `d`",
                "`a` or `b`",
            ),
        ],
    );
}

#[test]
fn the_target_of_a_retry_is_one_place_that_is_not_escrow_s_own() {
    expect(
        Error,
        &[
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, to: «{ queue: escrow.tap.default }» }"),
                "`escrow.tap.default` is Escrow's own",
                "",
            ),
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, to: «orignal» }"),
                "not one of `original`",
                "`original`",
            ),
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, «to»: {} }"),
                "needs `queue` or `exchange`",
                "`queue`",
            ),
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, to: { queue: q, «exchange»: x } }"),
                "has either `queue` or `exchange`",
                "keep one",
            ),
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, to: { queue: q, «routing_key»: x } }"),
                "`routing_key` without `exchange`",
                "",
            ),
            (
                with_retry("    after: a\n", "retry: { times: «0», every: 1s, to: original }"),
                "`0` is too small",
                "the least is 1",
            ),
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, backoff: «0.5», to: original }"),
                "`0.5` is too small",
                "the least is 1",
            ),
        ],
    );
}

/// A step with this `handled_by`.
fn handled_by(rest: &str) -> String {
    in_steps(&format!("  a:\n    done: A\n  b:\n    after: a\n    done: B\n    within: 5s\n    {rest}"))
}

#[test]
fn what_handles_a_step_is_a_queue_of_a_service() {
    expect(
        Error,
        &[
            (handled_by("handled_by: { queue: «''» }"), "the name of an exchange or queue cannot be empty", ""),
            (handled_by("«handled_by»: {}"), "`queue` is missing in `handled_by`", "`queue`: Name of the queue"),
            (handled_by("handled_by: «stock»"), "expected `handled_by`, found text", "a map with the keys `queue`"),
            (
                handled_by("handled_by: { queue: q, «exchange»: x }"),
                "unknown key `exchange` in `handled_by`",
                "`exchange` stands in",
            ),
            (handled_by("handled_by: { «que»: q }"), "unknown key `que` in `handled_by`", "did you mean `queue`?"),
            (
                handled_by("handled_by: { queue: «\"{{ order_id }}\"» }"),
                "the name of an exchange or queue holds no expressions",
                "",
            ),
            (handled_by("«handledby»: { queue: q }"), "unknown key `handledby`", "did you mean `handled_by`?"),
            (handled_by("«queue»: q"), "unknown key `queue` in a step", "or in `handled_by`"),
            (
                handled_by("handled_by: { queue: «escrow.tap.default» }"),
                "`escrow.tap.default` is Escrow's own",
                "name the queue of the service",
            ),
            (
                handled_by("compensation: { publish: P, done: D, handled_by: { queue: «escrow.tap.x» } }"),
                "`escrow.tap.x` is Escrow's own",
                "name the queue of the service",
            ),
            (
                handled_by("compensation: { publish: P, «handled_by»: { queue: q } }"),
                "`handled_by` without `done`: nothing is waited for",
                "add `done`",
            ),
        ],
    );
    expect(
        Warning,
        &[(
            handled_by("handled_by: { queue: «stock» }\n    retry: { times: 1, every: 1s, to: { queue: stocks } }"),
            "`stock` is looked at, and retries go to `stocks`",
            "name its queue in both",
        )],
    );
    let same = "handled_by: { queue: stock }\n    retry: { times: 1, every: 1s, to: { queue: stock } }";
    assert!(super::support::findings(&handled_by(same)).is_empty());
}

#[test]
fn a_retry_that_reaches_others_or_may_have_no_message_is_warned_of() {
    expect(
        Warning,
        &[
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, to: «original» }"),
                "every subscriber of the exchange it was first published to",
                "{ queue: NAME }",
            ),
            (
                with_retry("    after: a\n", "retry: { times: 1, every: 1s, to: «{ exchange: x }» }"),
                "every subscriber of `x`",
                "{ queue: NAME }",
            ),
            (
                in_steps(
                    "  a:\n    done: A\n  b:\n    after: a\n    if: 'true'\n    done: B\n  c:\n    after: b\n    done: C\n    \
                     within: 5s\n    «retry»: { times: 1, every: 1s, to: { queue: q } }",
                ),
                "`b` may be skipped; then the message that opened it",
                "understand that message",
            ),
        ],
    );
}

#[test]
fn events_that_must_be_told_apart_can_be() {
    expect(
        Error,
        &[
            (in_steps("  a:\n    done: A\n    «failed»: A"), "both that `a` is done and that it failed", "`where`"),
            (
                in_steps("  a:\n    done: A\n    compensation: { publish: P, «done»: A }"),
                "`A` closes `a` and its compensation",
                "`where`",
            ),
            (
                in_steps("  a:\n    done: A\n    compensation: { publish: P, done: D, «failed»: D }"),
                "the compensation is done and that it failed",
                "`where`",
            ),
        ],
    );
    expect(
        Warning,
        &[
            (
                in_steps("  a:\n    done: A\n    compensation: { publish: P, «done»: P }"),
                "`P` is what Escrow publishes itself",
                "the service answers with",
            ),
            (in_steps("  a:\n    «done»: [A, A]"), "`A` is named twice", ""),
            (in_steps("  a:\n    done: A\n«cancelled_by»: A"), "`A` cancels the order and closes a step", "`where`"),
        ],
    );
    assert!(
        super::support::findings(&in_steps("  a:\n    done: A\n    failed: { event: A, where: 'body.x == 1' }"))
            .is_empty()
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let head = |rest: &str| with_head(&format!("saga: s\nversion: 1\n{rest}"));
    expect(
        Error,
        &[
            (head("«watch»: [{ exchange: x }]"), "nothing says where a message has the name of its event", "`preset`"),
            (
                head("watch: [{ exchange: x }]\n«read»: { event: /e }"),
                "nothing says where a message has its order id",
                "arrival",
            ),
            (
                head("watch: [{ exchange: x }]\n«read»: { preset: masstransit }"),
                "nothing says where a message has its order id",
                "",
            ),
            (
                head("watch: [{ exchange: x }]\n«read»: { event: /e, order_id: 'envelope:/o' }"),
                "`envelope:` without a `preset`",
                "",
            ),
            (head("watch: [{ exchange: x }]\nread: { event: «$.type», order_id: /o }"), "is no selector", "`/type`"),
            (head("read: { preset: «cloudevent» }"), "not one of `cloudevents`", "did you mean `cloudevents`?"),
            (head("read: { event: «property:messageid» }"), "no property `messageid`", "`message_id`"),
            (head("read: { event: «routing_key:0» }"), "counted from 1", "`routing_key:2`"),
            (head("read: { order_id: [/a, «arrival»] }"), "no place in a message", "alone"),
            (head("watch: [{ exchange: «escrow» }]\nread: { preset: cloudevents }"), "`escrow` is Escrow's own", ""),
            (head("watch: [{ exchange: «escrow.lost.a» }]\nread: { preset: cloudevents }"), "is Escrow's own", ""),
            (
                head("watch: [{ exchange: x }, { exchange: «x» }]\nread: { preset: cloudevents }"),
                "the same messages are watched twice",
                "`keys`",
            ),
            (head("watch: [{ http: {} }, { «http»: {} }]"), "watched twice", ""),
            (head("watch: [{ http: { read: { event: «routing_key» } } }]"), "have no `routing_key`", "pointer"),
            (head("watch: [{ http: { read: { preset: «masstransit» } } }]"), "events over HTTP are CloudEvents", ""),
            (head("watch: [«{}»]"), "needs `exchange` or `http`", ""),
            (head("watch: [{ exchange: x, «http»: {} }]"), "either `exchange` or `http`", ""),
            (head("watch: [{ http: {}, «keys»: a }]"), "`keys` without `exchange`", ""),
            (head("watch: [{ exchange: x, declare: { type: «topics» } }]"), "no exchange type `topics`", "`topic`"),
            (
                head(
                    "watch: [{ exchange: x, keys: [OrderPlaced, «OrderShiped»] }]\nread: { event: routing_key, order_id: /o }",
                ),
                "no step reads the event `OrderShiped`",
                "",
            ),
            (
                head("watch: [{ exchange: x, keys: [«OrderPlacd»] }]\nread: { event: routing_key, order_id: /o }"),
                "no step reads the event",
                "did you mean `OrderPlaced`?",
            ),
        ],
    );
    expect(
        Warning,
        &[
            (
                "saga: s\nversion: 1\nwatch: [{ exchange: x, keys: [a.*] }]\nread: { event: routing_key, order_id: /o }\nsteps:\n  \
                 a:\n    done: [a.b, «b.c»]\n"
                    .to_owned(),
                "no binding lets `b.c` through",
                "`keys`",
            ),
            (
                head("watch: [{ exchange: x, declare: { type: fanout }, «keys»: a }]\nread: { preset: cloudevents }"),
                "pays no attention to keys",
                "",
            ),
        ],
    );
}

#[test]
fn an_order_placed_by_arrival_opens_by_one_step() {
    expect(
        Error,
        &[(
            "saga: s\nversion: 1\nread: { event: routing_key, order_id: arrival }\nwatch: [{ exchange: x }]\nsteps:\n  a:\n    done: \
             A\n  «b»:\n    done: B\n"
                .to_owned(),
            "one step alone can open an order",
            "say what `b` comes after",
        )],
    );
}

#[test]
fn expressions_see_only_what_is_there_by_then() {
    let steps = |rest: &str| {
        with_steps(&format!(
            "  root:\n    done: R\n  other:\n    done: O\n  maybe:\n    after: root\n    if: 'true'\n    done: M\n  late:\n    after: \
             root\n    done: L\n    within: 5s\n    on_timeout: skip\n  sure:\n    after: root\n    done: S\n{rest}"
        ))
    };
    let opening =
        |after: &str, expression: &str| steps(&format!("  x:\n    after: {after}\n    done: X\n    if: {expression}"));
    let undoing = |within: &str, expression: &str| {
        steps(&format!(
            "  x:\n    after: [sure, maybe]\n    done: X\n{within}    compensation:\n      publish: {{ event: P, body: {{ a: {expression} }} }}"
        ))
    };
    expect(Warning, &[(opening("sure", "«attributes.gift == 1»"), "no attribute `gift`", "under `attributes`")]);
    expect(
        Error,
        &[
            (opening("sure", "«steps.late.event.x == 1»"), "`late` is not seen here", "root events"),
            (opening("sure", "«has(steps.maybe)»"), "`maybe` is not seen here", ""),
            (opening("maybe", "«steps.maybe.event.x == 1»"), "`maybe` may be skipped", "has(steps.maybe)"),
            (opening("late", "«steps.late.event.x == 1»"), "`late` may be skipped", "has(steps.late)"),
            (opening("sure", "«steps.other.event.x == 1»"), "`other` need not be done by then", "has(steps.other)"),
            (opening("sure", "«steps.x.event.x == 1»"), "`x` is not done when it opens", ""),
            (opening("sure", "«steps.surre.event.x == 1»"), "no step `surre`", "did you mean `sure`?"),
            (opening("sure", "«sure.event.x == 1»"), "`sure` is not known here", "`steps.sure.event`"),
            (opening("sure", "«reason == 'x'»"), "`reason` is not known here", "`order_id`"),
            (opening("sure", "«body.x == 1»"), "`body` is not known here", "`steps`"),
            (undoing("", "«\"{{ steps.maybe.event }}\"»"), "`maybe` may be skipped", "has(steps.maybe)"),
            (undoing("", "«\"{{ steps.other.event }}\"»"), "`other` need not be done by then", ""),
            (
                undoing("    within: 5s\n", "«\"{{ steps.x.event }}\"»"),
                "`x` may be undone after a timeout",
                "has(steps.x)",
            ),
            (undoing("", "«\"{{ orderid }}\"»"), "`orderid` is not known here", "did you mean `order_id`?"),
            (
                with_steps("  a:\n    done: { event: A, where: «steps.a.x == 1» }"),
                "`steps` is not known here",
                "`body`, `headers` or `routing_key`",
            ),
            (
                with_steps("  a-b:\n    done: A\n  c:\n    after: a-b\n    done: C\n    if: «steps.a-b.event.x == 1»"),
                "no step `a`",
                "steps[\"a-b\"]",
            ),
        ],
    );
    for accepted in [
        opening("sure", "steps.root.event.x == 1 && steps.sure.event.x == 1"),
        opening("sure", "has(steps.other) && steps.other.event.x == 1"),
        opening("maybe", "has(steps.maybe) && steps.root.event.x == 1"),
        opening("late", "steps.root.at < now"),
        undoing("", "\"{{ steps.x.event.a }} {{ steps.sure.event.b }} {{ steps.root.at }}\""),
        undoing("    within: 5s\n", "\"{{ has(steps.x) ? steps.x.event : null }}\""),
    ] {
        super::support::valid(&accepted);
    }
}

#[test]
fn what_comes_before_a_conditional_step_need_not_be_done() {
    expect(
        Error,
        &[(
            with_steps(
                "  root:\n    done: R\n  a:\n    after: root\n    done: A\n  maybe:\n    after: a\n    when: T\n    done: M\n  x:\n    after: \
                 maybe\n    done: X\n    if: «steps.a.event.x == 1»",
            ),
            "`a` need not be done by then",
            "has(steps.a)",
        )],
    );
}

#[test]
fn expressions_that_do_not_compile_are_refused_where_they_stand() {
    expect(
        Error,
        &[
            (
                with_steps("  a:\n    done:\n      - { event: A, where: «body.x = 1» }"),
                "does not compile: token recognition error",
                "`==`",
            ),
            (with_steps("  a:\n    done: A\n    if: «a and b»"), "does not compile", "`&&`"),
            (with_steps("  a:\n    done: A\n    if: «'{{ a }}'»"), "without braces", "write 'a'"),
            (with_steps("  a:\n    done: A\n    within: «\"{{ 1 + }}\"»"), "does not compile", ""),
            (with_steps("  a:\n    done: A\n    within: «\"in {{ 1 }}\"»"), "mixed", "one expression"),
            (with_steps("  a:\n    done: A\n    by: /x\n    count: «size(x)»"), "found text", "{{ size(x) }}"),
            (
                with_steps(
                    "  a:\n    done: A\n    compensation:\n      publish: { event: P, body: { list: [ok, «\"{{ x\"»] } }",
                ),
                "does not compile",
                "`}}`",
            ),
            (
                with_steps(
                    "  a:\n    done: A\n    compensation:\n      publish: { event: P, exchange: «'x-{{ saga }}'» }",
                ),
                "holds no expressions",
                "routing key",
            ),
        ],
    );
}
