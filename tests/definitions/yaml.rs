//! Mistakes in the writing: keys, kinds of values, names, durations, and what YAML takes for its own.

use escrow::saga::parse::Severity::Error;

use super::support::{expect, findings, with_head, with_steps};

fn head(rest: &str) -> String {
    with_head(rest)
}

#[test]
fn keys_are_known_given_once_and_not_missing() {
    expect(
        Error,
        &[
            (head("saga: s\nversion: 1\n«wacth»: []"), "unknown key `wacth` in a saga", "did you mean `watch`?"),
            (
                with_steps("  a:\n    done: A\n    «withn»: 5s"),
                "unknown key `withn` in a step",
                "did you mean `within`?",
            ),
            (
                with_steps("  a:\n    done: A\n    «onTimeout»: skip"),
                "unknown key `onTimeout`",
                "did you mean `on_timeout`?",
            ),
            (with_steps("  a:\n    done: A\n    «every»: 5s"), "unknown key `every`", "stands in `retry`"),
            (
                with_steps("  a:\n    done: A\n    «colour»: red"),
                "unknown key `colour`",
                "the keys of a step are `after`",
            ),
            (with_steps("  a:\n    done: A\n    «done»: B"), "`done` is given twice", "keep one"),
            (with_steps("  a:\n    done: A\n  «a»:\n    done: B"), "`a` is given twice", ""),
            (with_steps("  a:\n    done: A\n«steps»: {}"), "`steps` is given twice", ""),
            (head("«version: 1»"), "`saga` is missing in a saga", "Name of the saga"),
            (head("«saga: s»"), "`version` is missing in a saga", ""),
            ("«saga: s»\nversion: 1\n".to_owned(), "`steps` is missing", ""),
            ("saga: s\nversion: 1\n«steps»: {}\n".to_owned(), "`steps` is empty", ""),
            ("saga: s\nversion: 1\n«steps»:\n".to_owned(), "`steps` has no value", ""),
        ],
    );
}

#[test]
fn values_are_of_the_right_kind() {
    expect(
        Error,
        &[
            (head("saga: s\nversion: «0»"), "`0` is too small", "the least is 1"),
            (head("saga: s\nversion: «1.5»"), "`1.5` is no whole number", ""),
            (head("saga: s\nversion: «-1»"), "`-1` is too small", ""),
            (head("saga: s\nversion: «\"1\"»"), "found text", "without quotes: `1`"),
            (head("saga: s\nversion: «one»"), "expected a whole number from 1, found text", ""),
            (head("saga: s\nversion: «99999999999»"), "too large", ""),
            (head("saga: s\nversion: «[1]»"), "found a list", ""),
            (head("saga: s\nversion: 1\nmode: «observer»"), "not one of `act` or `observe`", "did you mean `observe`?"),
            (head("saga: s\nversion: 1\nmode: «true»"), "found true or false", ""),
            (head("saga: s\nversion: 1\nwatch: «x»"), "expected a list, found text", ""),
            (head("saga: s\nversion: 1\nwatch: [«x»]"), "expected a watched place, found text", "`exchange`"),
            (head("saga: s\nversion: 1\nnotify: [«timedout»]"), "`timedout` is not one of", "`timed_out`"),
            (head("saga: s\nversion: 1\nbrake: «off»"), "not one of `none`", "`none`"),
            (head("saga: s\nversion: 1\nbrake: { orders: «0» }"), "too small", ""),
            (head("saga: s\nversion: 1\nattributes: { «a b»: /x }"), "no name of an attribute", "attributes.NAME"),
            (with_steps("  a: «A»"), "expected a step, found text", "a map with the keys `after`"),
            (with_steps("  a:\n    done: «12»"), "expected the name of an event, found a number", "write '12'"),
            (with_steps("  a:\n    done: «true»"), "found true or false", "write 'true'"),
            (with_steps("  a:\n    done: «[]»"), "the list is empty", ""),
            (with_steps("  a:\n    done: «\"\"»"), "cannot be empty", ""),
            (with_steps("  a:\n    done: [A, «[B]»]"), "found a list", ""),
            (with_steps("  a:\n    done: A\n    if: «true»"), "expected an expression", "write 'true'"),
            (
                head("saga: s\nversion: 1\nwatch: [{ exchange: x, declare: { type: topic, durable: «yes» } }]"),
                "expected true or false, found `yes`",
                "write `true`",
            ),
        ],
    );
}

#[test]
fn names_and_durations_are_well_formed() {
    expect(
        Error,
        &[
            (head("saga: «Order»\nversion: 1"), "`Order` is no name", "`order`"),
            (head("saga: «1st»\nversion: 1"), "`1st` is no name", "`st`"),
            (with_steps("  «Gift Note»:\n    done: A"), "`Gift Note` is no name", "`gift_note`"),
            (with_steps("  «1»:\n    done: A"), "expected a name, found a number", ""),
            (with_steps("  a:\n    done: A\n    within: «30»"), "found a number", "`30s`"),
            (with_steps("  a:\n    done: A\n    within: «30 sec»"), "is not a duration", "did you mean `30s`?"),
            (with_steps("  a:\n    done: A\n    within: «5min»"), "is not a duration", "did you mean `5m`?"),
            (with_steps("  a:\n    done: A\n    within: «1.5h»"), "is not a duration", "2h30m"),
            (with_steps("  a:\n    done: A\n    within: «0s»"), "the duration is zero", ""),
            (with_steps("  a:\n    done: A\n    within: «9999w»"), "longer than ten years", ""),
        ],
    );
}

#[test]
fn what_yaml_takes_for_its_own_is_explained() {
    expect(
        Error,
        &[
            (
                head("saga: s\nversion: 1\nwatch: [{ exchange: x, keys: [a, «*.created», «b] }]")
                    .replacen(", «b]", "]", 1),
                "`*.created` refers to an anchor that is not there",
                "write '*.created'",
            ),
            (head("saga: s\nversion: 1\nwatch:\n  - exchange: x\n    «keys»: #"), "`keys` has no value", "write '#'"),
            (
                head("saga: s\nversion: 1\nwatch:\n  - exchange: x\n    keys: [a, #]\n  «-» exchange: y"),
                "this is not YAML",
                "unquoted `#` as a comment; write '#'",
            ),
            (
                with_steps("  a:\n    done: A\n    if: «!has(attributes.x)»"),
                "unknown tag",
                "write '!has(attributes.x)'",
            ),
            (
                with_steps("  a:\n    done: A\n    within: «{{ steps.placed.event.t }}»"),
                "found a map",
                "write '{{ steps.placed.event.t }}'",
            ),
            (with_steps("  a:\n    done: [order] «p»laced"), "this is not YAML", "'[order] placed'"),
            (
                with_steps("  a:\n    «d»one:A\n    within: 5s")
                    .replace("«d»one:A\n    within:", "done:A\n    within«:»"),
                "this is not YAML",
                "`done: A`",
            ),
            (with_steps("  a: «done:A»"), "expected a step, found text", "`done: A`"),
            (with_steps("  a:\n    if: \"x\" «=»= y\n    done: A"), "this is not YAML", "quotes"),
            (with_steps("  a:\n\t«d»one: A"), "this is not YAML", "spaces"),
            (
                with_steps("  a:\n    done: A\n    if: body.x == \"a«:» b\""),
                "this is not YAML",
                "`: ` a meaning of its own",
            ),
        ],
    );
}

#[test]
fn one_file_holds_one_definition() {
    expect(Error, &[(with_steps("  a:\n    done: A\n«---»\nsaga: b"), "a second document", "a file of its own")]);
    for (text, message) in
        [("", "empty"), ("# nothing\n", "empty"), ("- a\n", "expected a saga"), ("a", "expected a saga")]
    {
        let found = findings(text);
        assert!(found.iter().any(|finding| finding.message.contains(message)), "{text:?}: {found:#?}");
    }
}

#[test]
fn values_can_be_shared_by_reference() {
    let text = with_steps(
        "  a:\n    done: A\n  b: &usual\n    after: a\n    done: B\n    within: 5s\n    on_timeout: compensate\n  c:\n    <<: *usual\n    done: \
         C\n    failed: &f F\n  d:\n    after: [c]\n    done: D\n    failed: *f",
    );
    let saga = super::support::valid(&text);
    assert_eq!(saga.steps[2].done[0].event, "C");
    assert_eq!(saga.steps[2].on_timeout, escrow::saga::definition::OnTimeout::Compensate);
    assert_eq!(saga.steps[3].failed[0].event, "F");
    expect(Error, &[(with_steps("  a: &a\n    done: A\n    failed: [«*a»]"), "inside of what it refers to", "")]);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/definitions");
    let text = super::support::read(&folder.join("everything-wrong.yaml"));
    let shown: Vec<String> =
        findings(&text).iter().map(|finding| finding.render(&text, escrow::saga::parse::Ink::Plain)).collect();
    let expected = super::support::read(&folder.join("everything-wrong.txt"));
    assert_eq!(shown.join("\n\n").trim_end(), expected.trim_end());
}
