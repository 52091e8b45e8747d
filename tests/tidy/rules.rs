//! What holds for one file by itself, and for the names in a folder.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, has_word};

/// Longest Rust file, in lines: what a person can hold in mind while reading one.
const LINES_MAX: usize = 500;

/// Longest README and ARCHITECTURE, in lines: longer ones are not read.
const DOCUMENT_LINES_MAX: usize = 200;

/// Files longer than [`LINES_MAX`], each with the length it may not grow beyond. The list may shrink, never grow.
const LONGER: [(&str, usize); 1] = [("src/saga/order.rs", 507)];

pub fn size(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let cap = LONGER.iter().find(|(path, _)| *path == source.path).map_or(LINES_MAX, |(_, cap)| *cap);
    if lines <= cap { Vec::new() } else { vec![format!("{}: {lines} lines, at most {cap}", source.path)] }
}

/// Exceptions nobody needs any more.
pub fn stale_exceptions(sources: &[Source]) -> Vec<String> {
    stale(&LONGER, sources)
}

fn stale(longer: &[(&str, usize)], sources: &[Source]) -> Vec<String> {
    let needed = |path: &str| sources.iter().any(|it| it.path == path && it.text.lines().count() > LINES_MAX);
    let stale = longer.iter().filter(|(path, _)| !needed(path));
    stale.map(|(path, _)| format!("{path} needs no exception any more: take it out of tests/tidy/rules.rs")).collect()
}

/// A module begins by saying what it is for; the tests of a module, kept in a file of their own, need not.
pub fn essay(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    if source.text.starts_with("//! ") {
        Vec::new()
    } else {
        vec![format!("{}: does not begin with `//! `", source.path)]
    }
}

pub fn unfinished(source: &Source) -> Vec<String> {
    let words = ["todo!", "unimplemented!", "#[ignore", "dbg!"];
    let lines = source.code.lines().enumerate();
    let found =
        lines.flat_map(|(at, line)| words.into_iter().filter(|word| says(line, word)).map(move |it| (at + 1, it)));
    found.map(|(line, word)| format!("{}:{line}: `{word}`", source.path)).collect()
}

fn says(line: &str, word: &str) -> bool {
    if word.starts_with('#') { line.contains(word) } else { has_word(line, word) }
}

/// Statements written in Rust; they belong into .sql files, where both dialects lie side by side.
pub fn sql_literals(source: &Source) -> Vec<String> {
    let statements = source.strings.iter().filter(|(line, text)| source.ships_line(*line) && is_statement(text));
    statements.map(|(line, _)| format!("{}:{line}: a statement belongs into a .sql file", source.path)).collect()
}

fn is_statement(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().take(4).map(str::to_uppercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let statement = match words[..] {
        ["INSERT", "INTO" | "OR", ..]
        | ["DELETE", "FROM", ..]
        | ["UPDATE", _, "SET", ..]
        | ["WITH", _, "AS", ..]
        | ["CREATE" | "ALTER" | "DROP", "TABLE" | "INDEX" | "UNIQUE" | "TRIGGER" | "FUNCTION" | "VIEW", ..] => true,
        ["SELECT", ..] => text.to_uppercase().contains(" FROM "),
        _ => false,
    };
    // A sentence for people may begin like one, but has neither an upper-case keyword nor a parameter.
    statement && (text.trim_start().starts_with(|it: char| it.is_ascii_uppercase()) || text.contains('$'))
}

/// Complaints about folders `…/postgres` and `…/sqlite` that do not hold the same names.
pub fn dialects(paths: &[String]) -> Vec<String> {
    let mut names: BTreeMap<String, [BTreeSet<String>; 2]> = BTreeMap::new();
    for path in paths {
        let parts: Vec<&str> = path.split('/').collect();
        for (dialect, word) in ["postgres", "sqlite"].into_iter().enumerate() {
            if let Some(at) = parts.iter().position(|part| *part == word) {
                names.entry(parts[..at].join("/")).or_default()[dialect].insert(parts[at + 1..].join("/"));
            }
        }
    }
    let mut complaints = Vec::new();
    for (folder, [postgres, sqlite]) in names {
        complaints.extend(postgres.difference(&sqlite).map(|name| format!("{folder}/sqlite/{name} is missing")));
        complaints.extend(sqlite.difference(&postgres).map(|name| format!("{folder}/postgres/{name} is missing")));
    }
    complaints
}

/// Complaints about migrations that go one way only, or share a number.
pub fn both_directions(paths: &[String]) -> Vec<String> {
    let all: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let mut complaints = Vec::new();
    let mut stems: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for path in &all {
        let other = match path.strip_suffix(".up.sql") {
            Some(stem) => format!("{stem}.down.sql"),
            None => path.replace(".down.sql", ".up.sql"),
        };
        if !all.contains(other.as_str()) || other == *path {
            complaints.push(format!("{path}: needs an .up.sql and a .down.sql"));
        }
        let stem = path.trim_end_matches(".up.sql").trim_end_matches(".down.sql");
        let number = stem.rsplit('/').next().and_then(|name| name.split('_').next()).unwrap_or(stem);
        let folder = stem.rsplit_once('/').map_or("", |(folder, _)| folder);
        stems.entry(format!("{folder}/{number}")).or_default().insert(stem);
    }
    complaints
        .extend(stems.iter().filter(|(_, stems)| stems.len() > 1).map(|(number, _)| format!("{number} is used twice")));
    complaints
}

/// A document has one title, and begins with it.
pub fn title(path: &str, text: &str) -> Vec<String> {
    let titles = outside_fences(text).filter(|line| line.starts_with("# ")).count();
    if titles == 1 && text.starts_with("# ") {
        Vec::new()
    } else {
        vec![format!("{path}: needs exactly one `# ` title, on its first line, and has {titles}")]
    }
}

pub fn document_size(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let capped = matches!(path, "README.md" | "docs/ARCHITECTURE.md");
    let too_long = capped && lines > DOCUMENT_LINES_MAX;
    too_long.then(|| format!("{path}: {lines} lines, at most {DOCUMENT_LINES_MAX}")).into_iter().collect()
}

fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(rule: fn(&Source) -> Vec<String>, text: &str) -> usize {
        rule(&Source::read("src/store/x.rs", text)).len()
    }

    fn names(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(complaints(size, &"//\n".repeat(LINES_MAX)), 0);
        assert_eq!(complaints(size, &"//\n".repeat(LINES_MAX + 1)), 1);
    }

    #[test]
    fn an_exception_nobody_needs_is_found() {
        let long = Source::read("src/a.rs", &"//\n".repeat(LINES_MAX + 1));
        assert_eq!(stale(&[("src/a.rs", 600)], &[long]).len(), 0);
        assert_eq!(stale(&[("src/a.rs", 600)], &[Source::read("src/a.rs", "//\n")]).len(), 1);
    }

    #[test]
    fn a_module_without_an_essay_is_found() {
        assert_eq!(complaints(essay, "//! What it is for.\n"), 0);
        assert_eq!(complaints(essay, "use std::fmt;\n//! Too late.\n"), 1);
        assert_eq!(essay(&Source::read("src/store/tests.rs", "use std::fmt;\n")).len(), 0);
    }

    #[test]
    fn work_left_for_later_is_found() {
        assert_eq!(complaints(unfinished, "fn f() { todo!() }\n#[ignore]\nfn g() { unimplemented!(\"x\") }"), 3);
        assert_eq!(complaints(unfinished, "// todo!()\nlet text = \"#[ignore]\"; my_todo!()"), 0);
    }

    #[test]
    fn a_statement_in_rust_is_found() {
        for text in [
            "query(\"SELECT id FROM orders WHERE saga = $1\")",
            "query(r#\"\n  INSERT INTO journal VALUES ($1)\"#)",
            "query(\"update orders set status = $1\")",
            "query(\"DELETE FROM outbox\")",
            "query(\"WITH due AS (SELECT 1) SELECT * FROM due\")",
            "query(\"CREATE TABLE x (y int)\")",
        ] {
            assert_eq!(complaints(sql_literals, text), 1, "{text}");
        }
        for text in [
            "query(\"PRAGMA journal_mode = WAL\")",
            "query(\"SELECT 1\")",
            "query(\"BEGIN IMMEDIATE\")",
            "\"select an order from the list\"",
            "include_str!(\"sql/postgres/load.sql\")",
            "#[cfg(test)]\nmod tests { fn f() { query(\"DELETE FROM outbox\") } }",
        ] {
            assert_eq!(complaints(sql_literals, text), 0, "{text}");
        }
    }

    #[test]
    fn a_statement_in_one_dialect_alone_is_found() {
        let both = names(&["sql/postgres/a.sql", "sql/sqlite/a.sql"]);
        assert!(dialects(&both).is_empty());
        assert_eq!(dialects(&names(&["sql/postgres/a.sql", "sql/sqlite/b.sql"])).len(), 2);
        assert_eq!(dialects(&names(&["sql/postgres/a.sql"])), ["sql/sqlite/a.sql is missing"]);
    }

    #[test]
    fn a_migration_without_a_way_back_is_found() {
        assert!(both_directions(&names(&["m/1_a.down.sql", "m/1_a.up.sql"])).is_empty());
        assert_eq!(both_directions(&names(&["m/1_a.up.sql"])).len(), 1);
        assert_eq!(both_directions(&names(&["m/1_a.sql"])).len(), 1);
        let twice = ["m/1_a.down.sql", "m/1_a.up.sql", "m/1_b.down.sql", "m/1_b.up.sql"];
        assert_eq!(both_directions(&names(&twice)), ["m/1 is used twice"]);
    }

    #[test]
    fn a_document_without_one_title_is_found() {
        assert!(title("a.md", "# One\n\n```sh\n# a comment\n```\n").is_empty());
        assert_eq!(title("a.md", "# One\n# Two\n").len(), 1);
        assert_eq!(title("a.md", "text\n\n# One\n").len(), 1);
        assert_eq!(title("a.md", "## Two\n").len(), 1);
        assert_eq!(document_size("README.md", &"x\n".repeat(DOCUMENT_LINES_MAX + 1)).len(), 1);
    }
}
