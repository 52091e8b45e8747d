//! Definitions that are followed together.

use escrow::saga::definition::Saga;
use escrow::saga::parse::{Severity, check_together};

use super::support::{definition_files, read, valid};

fn saga(name: &str, version: u32, publish: &str) -> Saga {
    valid(&format!(
        "saga: {name}\nversion: {version}\nsteps:\n  pay:\n    done: Paid\n    compensation:\n      publish: {publish}\n"
    ))
}

#[test]
fn two_sagas_cannot_publish_the_same_compensation_to_the_same_place() {
    let publish = "{ event: Refund, exchange: payments, routing_key: 'refund.{{ order_id }}' }";
    let (one, two) = (saga("one", 1, publish), saga("two", 1, publish));
    let found = check_together(&[("one.yaml", &one), ("two.yaml", &two)]);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        (finding.severity, finding.file.as_str(), finding.line, finding.column),
        (Severity::Error, "two.yaml", 7, 16)
    );
    assert!(finding.message.contains("step `pay` of `one` in one.yaml"), "{}", finding.message);
    assert!(finding.hint.as_ref().is_some_and(|hint| hint.contains("another exchange")));
}

#[test]
fn another_event_exchange_or_key_tells_two_compensations_apart() {
    let one = saga("one", 1, "{ event: Refund, exchange: payments, routing_key: refund }");
    for other in [
        "{ event: Refund, exchange: payments, routing_key: refunds }",
        "{ event: Refund, exchange: payments }",
        "{ event: Refund, exchange: other, routing_key: refund }",
        "{ event: Return, exchange: payments, routing_key: refund }",
        "Refund",
    ] {
        assert_eq!(check_together(&[("one.yaml", &one), ("two.yaml", &saga("two", 1, other))]), [], "{other}");
    }
    let short = (saga("one", 1, "Refund"), saga("two", 1, "Refund"));
    assert_eq!(check_together(&[("one.yaml", &short.0), ("two.yaml", &short.1)]), []);
}

#[test]
fn versions_of_one_saga_publish_the_same_and_a_version_is_there_once() {
    let publish = "{ event: Refund, exchange: payments }";
    let (first, second) = (saga("one", 1, publish), saga("one", 2, publish));
    assert_eq!(check_together(&[("1.yaml", &first), ("2.yaml", &second)]), []);
    let found = check_together(&[("1.yaml", &first), ("copy.yaml", &first)]);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((finding.file.as_str(), finding.line, finding.column), ("copy.yaml", 2, 10));
    assert!(finding.message.contains("version 1 of `one` is already in 1.yaml"));
}

#[test]
fn a_saga_may_ask_for_the_same_compensation_in_two_steps() {
    let one = valid(
        "saga: one\nversion: 1\nsteps:\n  a:\n    done: A\n    compensation: { publish: { event: P, exchange: x } }\n  b:\n    done: B\n    \
         compensation: { publish: { event: P, exchange: x } }\n",
    );
    assert_eq!(check_together(&[("one.yaml", &one)]), []);
}

#[test]
fn the_definitions_of_a_folder_can_be_checked_together() {
    let sagas: Vec<(String, Saga)> =
        definition_files().iter().map(|path| (path.display().to_string(), valid(&read(path)))).collect();
    let named: Vec<(&str, &Saga)> = sagas.iter().map(|(file, saga)| (file.as_str(), saga)).collect();
    assert!(check_together(&named).iter().all(|finding| finding.message.contains("is already in")));
}
