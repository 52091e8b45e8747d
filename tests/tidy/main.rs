//! Reads the repository itself and holds it against the rules of the house. Needs nothing, takes less than a second.
//!
//! ```text
//!   layers.rs   who may use whom, and which crate is whose
//!   rules.rs    what holds for one file, or for a set of names
//!   steps.rs    every wait of the loops has a name
//!   source.rs   Rust text without its comments and strings
//!   words.rs    what the documents and dashboards promise, against the program
//! ```
//!
//! Every rule is a function from text to complaints, and has a test of its own with a text that breaks it. Folders that do
//! not exist are no complaint: a rule speaks about what is there.

mod layers;
mod rules;
mod source;
mod steps;
mod words;

use std::fs;
use std::path::Path;

use source::Source;

/// Folders that are not part of the sources.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// All files under `folder` with one of the extensions, by path from the repository's root, sorted.
fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if extensions.iter().any(|extension| path.extension().is_some_and(|it| it == *extension)) {
                found.push((relative(root, &path), fs::read_to_string(&path).expect("the file is text")));
            }
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("found under the root").to_string_lossy().replace('\\', "/")
}

fn rust(folder: &str) -> Vec<Source> {
    files(folder, &["rs"]).into_iter().map(|(path, text)| Source::read(&path, &text)).collect()
}

/// Fails with all complaints at once.
fn hold(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn each(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    hold(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn there_is_something_to_read() {
    assert!(rust("src").len() > 10, "the sources were not found");
}

#[test]
fn modules_use_only_what_lies_below_them() {
    each(&rust("src"), layers::uses);
}

#[test]
fn only_the_composition_names_concrete_stores_and_buses() {
    each(&rust("src"), layers::concrete);
}

#[test]
fn each_foreign_crate_has_one_home() {
    each(&rust("src"), layers::foreign);
}

#[test]
fn the_pure_core_does_nothing_but_think() {
    each(&rust("src"), layers::pure);
}

#[test]
fn only_the_clock_reads_a_clock() {
    each(&rust("src"), layers::clock_reads);
}

#[test]
fn every_wait_of_the_loops_is_a_step_with_a_name() {
    let sources = rust("src");
    hold(&steps::unnamed(&sources));
    hold(&steps::forgotten(&sources));
    hold(&steps::names(&sources));
}

#[test]
fn files_stay_readable() {
    let all: Vec<_> = ["src", "tests", "benches"].into_iter().flat_map(rust).collect();
    each(&all, rules::size);
    hold(&rules::stale_exceptions(&all));
}

#[test]
fn every_module_says_what_it_is_for() {
    each(&rust("src"), rules::essay);
}

#[test]
fn nothing_is_left_for_later() {
    let all: Vec<_> = ["src", "tests", "benches"].into_iter().flat_map(rust).collect();
    each(&all, rules::unfinished);
}

#[test]
fn statements_live_in_sql_files() {
    each(&rust("src"), rules::sql_literals);
}

#[test]
fn both_dialects_have_the_same_files() {
    let names = |folder| files(folder, &["sql"]).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    hold(&rules::dialects(&names("src")));
    hold(&rules::dialects(&names("migrations")));
    hold(&rules::both_directions(&names("migrations")));
}

#[test]
fn documents_have_one_title_and_no_dead_links() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let complaints = files("", &["md"]).into_iter().flat_map(|(path, text)| {
        let mut complaints = rules::title(&path, &text);
        complaints.extend(rules::document_size(&path, &text));
        complaints.extend(words::dead_links(&path, &text, |target| root.join(target).exists()));
        complaints
    });
    hold(&complaints.collect::<Vec<_>>());
}

#[test]
fn the_program_knows_every_command_the_documents_name() {
    // Until the commands are there, nothing can be asked.
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli").exists() {
        return;
    }
    let documents = files("", &["md"]).into_iter().filter(|(path, _)| words::names_commands(path));
    let complaints = documents.flat_map(|(path, text)| words::unknown_commands(&path, &text, words::help));
    hold(&complaints.collect::<Vec<_>>());
}

#[test]
fn dashboards_show_only_metrics_that_exist() {
    let telemetry: Vec<_> = rust("src").into_iter().filter(|it| it.module() == "telemetry").collect();
    if telemetry.is_empty() {
        return;
    }
    let complaints = files("dashboards", &["yml", "json", "md"])
        .into_iter()
        .flat_map(|(path, text)| words::unknown_metrics(&path, &text, &telemetry));
    hold(&complaints.collect::<Vec<_>>());
}
