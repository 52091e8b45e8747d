//! Who may use whom. The arrows go one way:
//!
//! ```text
//!   main ─▶ { cli, demo } ─▶ app ─▶ { http, worker } ─▶ { store, bus, alert, wire } ─▶ saga
//! ```
//!
//! A new module needs a row here, and so a thought about where it stands.

use super::source::{Source, has_word};

/// A module and the paths inside the crate it may use, itself aside.
const LAYERS: [(&str, &[&str]); 17] = [
    ("faults", &[]),
    // What is told about everything, so that anybody can tell it.
    ("doctor", &["saga::time"]),
    ("saga", &[]),
    ("clock", &["saga::time"]),
    (
        "telemetry",
        &[
            "saga",
            "clock",
            "config",
            "store::Backlog",
            "store::Connections",
            "store::OpenCounts",
            "store::StatusCount",
            "store::StuckGroup",
        ],
    ),
    ("config", &["saga::time"]),
    // The messages and rows that bytes become, not the traits that carry them.
    (
        "wire",
        &[
            "saga",
            "bus::Delivery",
            "bus::Envelope",
            "bus::Publication",
            "bus::Target",
            "bus::topic",
            "store::StoredPayload",
            "store::Claimed",
        ],
    ),
    ("store", &["saga", "clock"]),
    // Moves bytes and knows nothing of orders; of what is sent, it knows the name of Escrow's own exchange.
    ("bus", &["saga::time", "saga::definition", "saga::outgoing", "saga::queue", "doctor"]),
    // Tells people of incidents; knows nothing of where they are kept, nor when to tell.
    ("alert", &["saga"]),
    ("worker", &["saga", "wire", "store", "bus", "alert", "clock", "telemetry"]),
    ("http", &["saga", "wire", "store", "bus", "clock", "telemetry", "doctor"]),
    ("cli", &["saga", "wire", "store", "bus", "alert", "worker", "http", "clock", "telemetry", "config", "doctor"]),
    // A program of its own around a whole Escrow.
    ("demo", &["saga", "store", "bus", "telemetry", "config", "worker::definitions", "app"]),
    ("app", &["saga", "wire", "store", "bus", "alert", "clock", "telemetry", "config", "doctor", "worker", "http"]),
    ("main", &["app", "cli", "config", "telemetry", "demo", "store"]),
    ("lib", &[]),
];

/// Where tests break the program; nothing of it is left in a build for use.
const EVERYBODYS: &str = "faults";

/// Modules that stand behind a seam; everybody else knows the seam alone.
const CONCRETE: [&str; 4] = ["store::postgres", "store::sqlite", "bus::rabbitmq", "bus::memory"];

/// Crates that only these modules may name, so that replacing one is the work of one folder.
const FOREIGN: [(&str, &[&str]); 8] = [
    ("sqlx", &["store"]),
    ("lapin", &["bus"]),
    ("lettre", &["alert"]),
    ("axum", &["http", "app"]),
    ("tokio_cron_scheduler", &["worker", "app"]),
    ("comfy_table", &["cli", "demo"]),
    ("prometheus_client", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
];

/// Modules without I/O, tasks, clocks, logs and chance.
const PURE: [&str; 2] = ["saga", "wire"];

/// What a pure module never says.
const IMPURE: [&str; 20] = [
    "tokio",
    "sqlx",
    "lapin",
    "axum",
    "tracing",
    "reqwest",
    "futures_util",
    "rand",
    "async",
    "await",
    "now()",
    "new_v4",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "SystemTime",
    "Instant",
    "println!",
    "eprintln!",
];

/// Ways to ask the machine what time it is.
const CLOCK_READS: [&str; 6] =
    ["SystemTime::now", "Instant::now", "Utc::now", "Local::now", "Timestamp::now", "Zoned::now"];

/// Modules that may measure how long something takes, by tokio's clock, which tests can stop.
const MEASURING: [&str; 5] = ["worker", "bus", "http", "demo", "app"];

/// Complaints about paths a module may not use.
pub fn uses(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{}: module `{module}` has no row in the layer table of tests/tidy/layers.rs",
            source.path
        )];
    };
    let may = |path: &str| allowed.iter().chain([&module, &EVERYBODYS]).any(|prefix| is_under(path, prefix));
    paths(source)
        .into_iter()
        .filter(|(_, path)| module != "lib" && !may(path))
        .map(|(line, path)| format!("{}:{line}: `{module}` may not use `{path}`", source.path))
        .collect()
}

/// Complaints about names of concrete stores and buses outside the composition.
pub fn concrete(source: &Source) -> Vec<String> {
    let home = |path: &str| source.module() == path.split("::").next().unwrap_or(path);
    paths(source)
        .into_iter()
        .filter(|(_, path)| source.module() != "app" && !home(path))
        .filter(|(_, path)| CONCRETE.iter().any(|concrete| is_under(path, concrete)))
        .map(|(line, path)| format!("{}:{line}: only app names `{path}`; use the seam", source.path))
        .collect()
}

/// Complaints about crates used away from their home.
pub fn foreign(source: &Source) -> Vec<String> {
    let strangers = FOREIGN.iter().filter(|(_, homes)| !homes.contains(&source.module()));
    strangers.flat_map(|(name, homes)| mentions(source, name, &format!("belongs to {}", homes.join(", ")))).collect()
}

/// Complaints about anything impure in a pure module.
pub fn pure(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.module()) {
        return Vec::new();
    }
    IMPURE.iter().flat_map(|word| mentions(source, word, "has no place in a pure module")).collect()
}

/// Complaints about clocks read anywhere but in clock.rs.
pub fn clock_reads(source: &Source) -> Vec<String> {
    if source.module() == "clock" {
        return Vec::new();
    }
    let measures = MEASURING.contains(&source.module())
        && has_word(&source.shipped, "tokio::time")
        && !has_word(&source.shipped, "std::time::Instant");
    let reads = CLOCK_READS.iter().filter(|read| !(measures && **read == "Instant::now"));
    reads.flat_map(|read| mentions(source, read, "is read in src/clock.rs alone; take `now` as an argument")).collect()
}

fn mentions(source: &Source, word: &str, why: &str) -> Vec<String> {
    let lines = source.shipped_lines().filter(|(_, line)| has_word(line, word));
    lines.map(|(line, _)| format!("{}:{line}: `{word}` {why}", source.path)).collect()
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path inside the crate that shipped code names, with its line, braces expanded and `super` resolved.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let code = &source.shipped;
    let mut found = Vec::new();
    let mut starts: Vec<(usize, Vec<&str>)> = Vec::new();
    for root in if source.module() == "main" { vec!["crate::", "escrow::"] } else { vec!["crate::"] } {
        starts.extend(whole(code, root).map(|at| (at + root.len(), Vec::new())));
    }
    for at in whole(code, "super::").filter(|at| !code[..*at].ends_with("::")) {
        let mut prefix = source.module_path();
        let mut rest = at;
        while code[rest..].starts_with("super::") {
            prefix.pop();
            rest += "super::".len();
        }
        starts.push((rest, prefix));
    }
    for (at, prefix) in starts {
        let line = code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        expand(&code[at..], &prefix.join("::"), &mut paths);
        found.extend(paths.into_iter().filter(|path| !path.is_empty()).map(|path| (line, path)));
    }
    found.sort();
    found
}

fn whole<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| !code[..*at].ends_with(is_part))
}

/// Adds every path of the use tree at the start of `tree` to `paths`; returns how many bytes it took.
fn expand(tree: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    let join = |word: &str| if prefix.is_empty() { word.to_owned() } else { format!("{prefix}::{word}") };
    if tree.starts_with('{') {
        let mut at = 1;
        while at < tree.len() && !tree[at..].starts_with('}') {
            let blank = tree[at..].len() - tree[at..].trim_start_matches([' ', '\n', ',', '\t']).len();
            at += blank;
            let taken = expand(&tree[at..], prefix, paths);
            // An `as` name, or something this does not know: on to the next.
            at += if taken == 0 { tree[at..].find([',', '}']).unwrap_or(tree.len() - at) } else { taken };
        }
        return at + 1;
    }
    let length = tree.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(tree.len());
    let word = &tree[..length];
    if word == "self" {
        paths.push(prefix.to_owned());
        return length;
    }
    if let Some(rest) = tree[length..].strip_prefix("::").filter(|_| length > 0) {
        return length + 2 + expand(rest, &join(word), paths);
    }
    if length == 0 {
        // A glob, or a path that ends in `::<…>`: what came before is used.
        paths.push(prefix.to_owned());
        return usize::from(tree.starts_with('*'));
    }
    paths.push(join(word));
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Source::read(path, text)).len()
    }

    #[test]
    fn paths_are_found_however_they_are_written() {
        let text = "use crate::{bus, saga::{self, time::Moment, order::*}};\nfn f() { crate::wire::read::<u8>() }\nuse super::super::http::Page;";
        let found: Vec<_> = paths(&Source::read("src/worker/ingest.rs", text)).into_iter().map(|it| it.1).collect();
        assert_eq!(found, ["bus", "saga", "saga::order", "saga::time::Moment", "wire::read", "http::Page"]);
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        assert_eq!(complaints(uses, "src/saga/machine.rs", "use crate::store::Store;"), 1);
        assert_eq!(complaints(uses, "src/saga/machine.rs", "use super::super::bus::Sink;"), 1);
        assert_eq!(complaints(uses, "src/saga/machine.rs", "use super::order::Order; // crate::store::Store"), 0);
        assert_eq!(complaints(uses, "src/bus/mod.rs", "use crate::saga::time::Moment;"), 0);
        assert_eq!(complaints(uses, "src/bus/mod.rs", "use crate::saga::{order::Order, time::Span};"), 1);
        assert_eq!(complaints(uses, "src/wire/mod.rs", "use crate::bus::{Delivery, Sink};"), 1);
        assert_eq!(complaints(uses, "src/worker/relay.rs", "use crate::http::router;"), 1);
        assert_eq!(complaints(uses, "src/helpers.rs", ""), 1);
        assert_eq!(complaints(uses, "src/main.rs", "use escrow::worker::relay;"), 1);
    }

    #[test]
    fn a_concrete_store_outside_the_composition_is_found() {
        assert_eq!(complaints(concrete, "src/http/mod.rs", "use crate::store::postgres::Postgres;"), 1);
        assert_eq!(complaints(concrete, "src/app.rs", "use crate::store::postgres::Postgres;"), 0);
        assert_eq!(complaints(concrete, "src/store/postgres/load.rs", "use crate::store::postgres::Row;"), 0);
        assert_eq!(complaints(concrete, "src/worker/mod.rs", "use crate::bus::{Sink, memory};"), 1);
    }

    #[test]
    fn a_crate_away_from_home_is_found() {
        assert_eq!(complaints(foreign, "src/http/orders.rs", "fn f(pool: sqlx::PgPool) {}"), 1);
        assert_eq!(complaints(foreign, "src/store/mod.rs", "fn f(pool: sqlx::PgPool) {}"), 0);
        assert_eq!(complaints(foreign, "src/worker/relay.rs", "use lapin::Channel;"), 1);
    }

    #[test]
    fn an_impure_thought_is_found() {
        for text in [
            "async fn f() {}",
            "use tokio::time;",
            "let at = clock.now();",
            "use std::{fmt, fs}; fn f() { std::fs::read(\"x\") }",
            "let id = Uuid::new_v4();",
        ] {
            assert!(complaints(pure, "src/saga/machine.rs", text) > 0, "{text}");
            assert!(complaints(pure, "src/wire/decode.rs", text) > 0, "{text}");
            assert_eq!(complaints(pure, "src/worker/ingest.rs", text), 0, "{text}");
        }
        assert_eq!(complaints(pure, "src/saga/machine.rs", "// async\nlet text = \"await\"; circumstances.now"), 0);
        assert_eq!(complaints(pure, "src/saga/machine.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), 0);
    }

    #[test]
    fn a_clock_read_is_found() {
        assert_eq!(complaints(clock_reads, "src/store/mod.rs", "let at = std::time::Instant::now();"), 1);
        assert_eq!(complaints(clock_reads, "src/http/mod.rs", "let at = jiff::Timestamp::now();"), 1);
        assert_eq!(complaints(clock_reads, "src/clock.rs", "let at = jiff::Timestamp::now();"), 0);
        assert_eq!(
            complaints(clock_reads, "src/worker/mod.rs", "use tokio::time::Instant;\nlet at = Instant::now();"),
            0
        );
        assert_eq!(
            complaints(clock_reads, "src/worker/mod.rs", "use std::time::Instant;\nlet at = Instant::now();"),
            1
        );
        assert_eq!(complaints(clock_reads, "src/worker/mod.rs", "use tokio::time::Instant;\nSystemTime::now()"), 1);
    }
}
