//! What documents and dashboards promise, held against the program: commands, flags, links, metrics.

use std::collections::BTreeSet;
use std::process::Command;

use super::source::Source;

/// Whether a document tells its reader to run commands. A changelog speaks about what was.
pub fn names_commands(path: &str) -> bool {
    path == "README.md" || (path.starts_with("docs/") && !path.starts_with("docs/decisions/"))
}

/// Commands of a document, as the words after `escrow`: from lines in fences, and from code in the text.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            found.extend(command(line));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(command));
        }
    }
    found
}

fn command(line: &str) -> Option<Vec<String>> {
    let line = line.split(" #").next().unwrap_or(line).trim();
    let line = line.strip_prefix("cargo run --release -- ").or_else(|| line.strip_prefix("escrow "))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

/// Complaints about commands and flags the program does not know. `help` gives the help text of a command, if there is one.
pub fn unknown_commands(path: &str, text: &str, help: impl Fn(&[&str]) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for words in commands(text) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some(mut known) = help(&words[..1]) else {
            complaints.push(format!("{path}: there is no `escrow {}`", words[0]));
            continue;
        };
        if known.contains("Commands:") && words.len() > 1 && !words[1].starts_with('-') {
            match help(&words[..2]) {
                Some(text) => known = text,
                None => complaints.push(format!("{path}: there is no `escrow {} {}`", words[0], words[1])),
            }
        }
        let flags =
            words.iter().filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap_or(word));
        let unknown =
            flags.filter(|flag| !known.split(|it: char| !it.is_alphanumeric() && it != '-').any(|it| it == *flag));
        complaints.extend(unknown.map(|flag| format!("{path}: `escrow {}` has no {flag}", words[0])));
    }
    complaints
}

/// Asks the program itself.
pub fn help(words: &[&str]) -> Option<String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_escrow")).args(words).arg("--help").output().expect("the program runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Complaints about links to files that are not there. A link into a folder that does not exist yet is none.
pub fn dead_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    for (at, _) in text.match_indices("](") {
        let target = text[at + 2..].split([')', '#', '\n']).next().unwrap_or("");
        if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let target = resolve(folder, target);
        let parent = target.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !exists(&target) && exists(parent) {
            complaints.push(format!("{path}: links to {target}, which is not there"));
        }
    }
    complaints
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Complaints about metrics that telemetry does not register; it may write them with or without the prefix.
pub fn unknown_metrics(path: &str, text: &str, telemetry: &[Source]) -> Vec<String> {
    let strings: BTreeSet<&str> = telemetry.iter().flat_map(|it| &it.strings).map(|(_, text)| text.as_str()).collect();
    let is_part = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("escrow_").filter(|(at, _)| !text[..*at].ends_with(is_part)) {
        names.insert(text[at..].split(|it| !is_part(it)).next().unwrap_or(""));
    }
    let registered = |name: &str| {
        let base = ["_total", "_bucket", "_count", "_sum", "_info"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let bare = |name: &str| name.strip_prefix("escrow_").is_some_and(|bare| strings.contains(bare));
        strings.contains(name) || strings.contains(base) || bare(name) || bare(base)
    };
    let unknown = names.into_iter().filter(|name| !registered(name));
    unknown.map(|name| format!("{path}: `{name}` is no metric of src/telemetry")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(words: &[&str]) -> Option<String> {
        match words {
            ["order"] => Some("Commands:\n  why\n".to_owned()),
            ["serve"] => Some("Options:\n  --listen <ADDRESS>\n".to_owned()),
            ["order", "why"] => Some("Usage: escrow order why [--watch]".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_command_nobody_wrote_is_found() {
        let good = "```sh\nescrow order why 4711 --watch   # with a comment\ncargo run --release -- serve --listen 0.0.0.0:80\n```\nand `escrow serve`";
        assert_eq!(unknown_commands("README.md", good, known), Vec::<String>::new());
        for bad in ["`escrow peek`", "`escrow order how 1`", "```\nescrow serve --loud\n```", "`escrow serve --list`"] {
            assert_eq!(unknown_commands("README.md", bad, known).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_dead_link_is_found() {
        let exists = |path: &str| ["", "docs", "docs/a.md"].contains(&path);
        assert!(
            dead_links(
                "docs/b.md",
                "[a](a.md#top) [a](../docs/a.md) [far](https://x.y/z) [new](../later/x.md)",
                exists
            )
            .is_empty()
        );
        assert_eq!(dead_links("docs/b.md", "[c](c.md)", exists), ["docs/b.md: links to docs/c.md, which is not there"]);
    }

    #[test]
    fn a_metric_nobody_counts_is_found() {
        let telemetry =
            [Source::read("src/telemetry.rs", "r.register(\"events\", \"…\"); r.register(\"escrow_orders\", \"…\")")];
        assert!(unknown_metrics("a.json", "rate(escrow_events_total[5m]) / escrow_orders", &telemetry).is_empty());
        assert_eq!(unknown_metrics("a.json", "escrow_guesses_total", &telemetry).len(), 1);
    }
}
