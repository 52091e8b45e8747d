//! Every wait of the loops and of the store's transaction has a name, so that a test can kill or stop the program there.
//!
//! ```text
//!   store.now().at("relay.now").await     named: the loop, a dot, the step
//!   self.read(&batch).await               a function of these files: its own waits are named
//!   sleep_or(&shutdown, pause).await      on the list of what only waits
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// The files whose waits are steps, each with the words their names begin with.
const STEPPED: [(&str, &[&str]); 18] = [
    ("src/store/apply.rs", &["store"]),
    ("src/store/load.rs", &["store"]),
    ("src/store/run.rs", &["store"]),
    ("src/store/save.rs", &["store"]),
    ("src/worker/alerting.rs", &["alerting"]),
    ("src/worker/applying.rs", &["applying"]),
    ("src/worker/bulk.rs", &["bulk"]),
    ("src/worker/commands.rs", &["commands"]),
    ("src/worker/deadlines.rs", &["deadlines"]),
    ("src/worker/definitions.rs", &["definitions"]),
    ("src/worker/doubts.rs", &["doubts"]),
    ("src/worker/escrow.rs", &["escrow"]),
    ("src/worker/fetching.rs", &["ingest"]),
    ("src/worker/incidents.rs", &["incidents"]),
    ("src/worker/ingest.rs", &["ingest"]),
    ("src/worker/looks.rs", &["looks"]),
    ("src/worker/relay.rs", &["relay"]),
    ("src/worker/watermark.rs", &["watermark", "pulse", "accepting"]),
];

/// The other files of the loops, and why their waits are no steps.
const OTHERS: [(&str, &str); 7] = [
    ("src/worker/mod.rs", "the driver: runs the loops, and waits between their runs"),
    ("src/worker/gauges.rs", "reads numbers for metrics, and writes nothing"),
    ("src/worker/queues.rs", "looks at queues of services and remembers what it saw; writes nothing"),
    ("src/worker/letting_go.rs", "tidies bindings up; every look begins it anew from rows"),
    ("src/worker/migrating.rs", "a person's command; its transactions are those of the store, and it can be repeated"),
    ("src/worker/traces.rs", "tells tracing tools what is committed; nothing an order depends on"),
    ("src/worker/housekeeping.rs", "by the calendar; nothing an order depends on"),
];

/// Waits without a name in stepped files: the end of the code before `.await` or of a branch of `select!`, and why.
const UNNAMED: [(&str, &str); 32] = [
    ("shutdown.cancelled()", "waits for the end"),
    ("future", "the same, or what is named where it was made"),
    ("written = &mut writing", "the writing of a batch, whose waits are named"),
    ("batch = &mut fetching, if is_full && fetched.is_none()", "the fetching of a batch, the same"),
    ("self.escrow.commit_beside(lanes)", "two transactions, whose waits are named"),
    ("AssertUnwindSafe(beside).catch_unwind()", "the same"),
    ("batch.turn.begin()", "waits for the other of two transactions"),
    ("batch.turn.loaded()", "lets the other go first"),
    ("batch.turn.come()", "the same"),
    ("sleep_or(shutdown, backoff(failures))", "passes time"),
    ("tokio::time::sleep(wait_after(attempt))", "passes time"),
    ("task", "the transaction's own task, whose waits are named"),
    ("attempt", "a transaction, whose waits are named"),
    ("tokio::time::sleep(QUIET)", "passes time, beside a transaction"),
    ("backend.is_heard()", "asks whether the database is there, beside a transaction"),
    ("tokio::time::timeout(limit, silence)", "the two above"),
    ("work(&mut *session, input)", "one statement that reads"),
    ("self.escrow.store.find_order(task.key.clone())", "reads"),
    ("self.escrow.store.list_orders(alone, Page { limit: 1, cursor: None })", "reads"),
    ("self.escrow.store.last_episodes(new)", "reads, when an incident opens"),
    ("self.escrow.store.find_order(act.key.clone())", "reads, when an event comes late"),
    ("self.escrow.store.journal(filter, page)", "reads, when many orders time out"),
    ("self.escrow.store.events_met(saga.name.clone())", "reads, every half minute"),
    ("self.escrow.store.stats(saga.clone(), None)", "reads, when a step goes unanswered"),
    ("self.escrow.nudges.stuck.notified()", "waits for a nudge"),
    ("tokio::time::sleep_until(until)", "passes time"),
    ("escrow.store.lease(INCIDENTS_LEASE.to_owned(), owner, Span(0))", "at the end; the lease ends by itself"),
    ("receipt.ack(false)", "a planted mistake"),
    ("self.tap.look(Vec::new())", "the kill switch: done again by every look"),
    ("self.tap.unbind(wanted.exchange.clone(), wanted.binding_keys())", "the same"),
    ("save_binding(self.tap.name().to_owned(), row.clone())", "the same"),
    (
        "AssertUnwindSafe(work(&mut *session, input)).catch_unwind()",
        "the statements, each of which is named where a batch is applied",
    ),
];

/// Complaints about waits without a name, over all files at once: a call is known by the name of its function.
pub fn unnamed(sources: &[Source]) -> Vec<String> {
    let stepped: Vec<&Source> = sources.iter().filter(|it| words_of(&it.path).is_some()).collect();
    let own: BTreeSet<&str> = stepped.iter().flat_map(|it| functions(&it.shipped)).collect();
    let mut complaints = Vec::new();
    for source in &stepped {
        for (at, before) in waits(&source.shipped) {
            let is_listed = UNNAMED.iter().any(|(end, _)| ends_with_word(before, end));
            if !before.ends_with(".at(\"\")") && !is_listed && !callee(before).is_some_and(|name| own.contains(name)) {
                let line = source.shipped[..at].matches('\n').count() + 1;
                complaints.push(format!("{}:{line}: this wait has no name: `.at(\"loop.step\")`", source.path));
            }
        }
    }
    complaints
}

/// Complaints about files of the loops that are on neither list.
pub fn forgotten(sources: &[Source]) -> Vec<String> {
    let waits = sources.iter().filter(|it| it.path.starts_with("src/worker/") && it.shipped.contains(".await"));
    let known = |path: &str| words_of(path).is_some() || OTHERS.iter().any(|(other, _)| *other == path);
    let new = waits.filter(|it| !known(&it.path));
    new.map(|it| format!("{}: name its waits (tests/tidy/steps.rs)", it.path)).collect()
}

/// Complaints about names: each is one place's alone, and begins with the word of its file.
pub fn names(sources: &[Source]) -> Vec<String> {
    let (mut places, mut complaints) = (BTreeMap::<&str, Vec<&str>>::new(), Vec::new());
    for source in sources.iter().filter(|it| it.module() != "faults") {
        for name in source.text.split(".at(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)) {
            places.entry(name).or_default().push(&source.path);
            let (word, step) = name.split_once('.').unwrap_or((name, ""));
            let known = words_of(&source.path).is_some_and(|words| words.contains(&word));
            if !known || step.is_empty() || !step.bytes().all(|it| it.is_ascii_lowercase() || it == b'_') {
                complaints.push(format!("{}: `{name}` is no name of a step here", source.path));
            }
        }
    }
    let shared = places.into_iter().filter(|(_, places)| places.len() > 1);
    complaints.extend(shared.map(|(name, places)| format!("{}: `{name}` is named twice", places.join(", "))));
    complaints
}

fn words_of(path: &str) -> Option<&'static [&'static str]> {
    STEPPED.iter().find(|(stepped, _)| *stepped == path).map(|(_, words)| *words)
}

/// The code before each `.await` and before the arrow of each branch of `select!` that waits, with its place.
fn waits(code: &str) -> Vec<(usize, &str)> {
    let mut found: Vec<_> = code.match_indices(".await").map(|(at, _)| (at, code[..at].trim_end())).collect();
    for (start, _) in code.match_indices("select! {") {
        let end = start + code[start..].find("};").unwrap_or(code.len() - start);
        for (at, _) in code[start..end].match_indices("=>") {
            let before = code[..start + at].trim_end();
            let line = before.rfind('\n').map_or(before, |line| &before[line..]);
            if line.contains(" = ") {
                found.push((start + at, before));
            }
        }
    }
    found
}

/// The names of the asynchronous functions a file defines.
fn functions(code: &str) -> Vec<&str> {
    let after = code.split("async fn ").skip(1);
    after.map(|rest| rest.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap_or(rest)).collect()
}

/// The function whose call ends `code`; of a boxed call, the function inside.
fn callee(code: &str) -> Option<&str> {
    let mut depth = 0_i32;
    let open = code.char_indices().rev().find_map(|(at, it)| {
        depth += i32::from(it == ')') - i32::from(it == '(');
        (depth == 0).then_some(at)
    })?;
    let name = code[..open].rsplit(|it: char| !it.is_alphanumeric() && it != '_').next()?;
    if name == "pin" { callee(code[open + 1..].strip_suffix(')')?.trim_end()) } else { Some(name) }
}

fn ends_with_word(code: &str, end: &str) -> bool {
    let before = code.strip_suffix(end);
    before.is_some_and(|before| !before.ends_with(|it: char| it.is_alphanumeric() || it == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(text: &str) -> [Source; 1] {
        [Source::read("src/worker/relay.rs", text)]
    }

    #[test]
    fn a_wait_without_a_name_is_found() {
        for text in [
            "async fn a() { store.now().await }",
            "async fn a() { store\n    .now()\n    .await }",
            "async fn a() { Box::pin(store.now()).await }",
            "async fn a() { tokio::select! { () = shutdown.cancelled() => {}\n it = source.next() => it,\n }; }",
            "async fn a() { my_task.await }",
        ] {
            assert_eq!(unnamed(&relay(text)).len(), 1, "{text}");
        }
        for text in [
            "async fn a() { store.now().at(\"relay.now\").await }",
            "async fn a() { store.claim(|| (1))\n    .at(\"relay.now\")\n    .await }",
            "async fn a() { Box::pin(self.b(c(1))).await }\nasync fn b() {}",
            "async fn a() { tokio::select! { () = shutdown.cancelled() => {}\n it = source.next().at(\"relay.n\") => it,\n }; }",
            "async fn a() { task.await }",
            "#[cfg(test)]\nmod tests { async fn a() { store.now().await } }",
        ] {
            assert!(unnamed(&relay(text)).is_empty(), "{text}");
        }
        assert_eq!(unnamed(&[Source::read("src/http/mod.rs", "async fn a() { store.now().await }")]).len(), 0);
    }

    #[test]
    fn a_new_loop_is_found() {
        assert_eq!(forgotten(&[Source::read("src/worker/new.rs", "a().await")]).len(), 1);
        assert_eq!(forgotten(&[Source::read("src/worker/new.rs", "a()")]).len(), 0);
        assert_eq!(forgotten(&[Source::read("src/worker/gauges.rs", "a().await")]).len(), 0);
    }

    #[test]
    fn a_name_that_misleads_is_found() {
        for text in
            ["a.at(\"ingest.a\")", "a.at(\"relay\")", "a.at(\"relay.A\")", "a.at(\"relay.a\"); b.at(\"relay.a\")"]
        {
            assert_eq!(names(&relay(text)).len(), 1, "{text}");
        }
        assert!(names(&relay("a.at(\"relay.a\"); b.at(\"relay.b\")")).is_empty());
    }
}
