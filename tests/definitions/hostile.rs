//! Whatever the text, the checker answers: never a panic, never a place outside of the file, never silence.

use escrow::saga::parse::{Ink, Severity, parse};
use proptest::prelude::*;

use super::support::{definition_files, read};

/// Parses, shows everything found, and holds the answer against what it promises.
fn answers(text: &str) -> Result<(), TestCaseError> {
    let (found, is_valid) = match parse("saga.yaml", text) {
        Ok(parsed) => (parsed.warnings, true),
        Err(findings) => (findings, false),
    };
    let has_error = found.iter().any(|finding| finding.severity == Severity::Error);
    prop_assert_eq!(has_error, !is_valid, "{:#?}", found);
    for finding in &found {
        prop_assert!(finding.line >= 1 && finding.line <= text.matches('\n').count() + 1);
        let line = text.split('\n').nth(finding.line - 1).unwrap();
        prop_assert!(finding.column >= 1 && finding.column <= line.chars().count() + 1, "{:?} in {:?}", finding, line);
        prop_assert!(line.contains(&finding.text), "{:?} in {:?}", finding, line);
        for ink in [Ink::Plain, Ink::Coloured] {
            prop_assert!(!finding.render(text, ink).is_empty());
        }
    }
    Ok(())
}

fn valid_text() -> impl Strategy<Value = String> {
    let texts: Vec<String> = definition_files().iter().map(|path| read(path)).collect();
    prop::sample::select(texts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        answers(&text)?;
    }

    #[test]
    fn any_text_of_yaml_s_own_characters_is_answered(text in "[-a-d:,#*&!|>'\"%@`{}\\[\\]?~ \n\t<0-9.é€]{0,120}") {
        answers(&text)?;
        answers(&format!("saga: s\nversion: 1\nsteps:\n  a:\n    done: {text}"))?;
    }

    #[test]
    fn a_valid_file_with_a_piece_cut_out_is_answered(text in valid_text(), from in any::<prop::sample::Index>(), length in 1_usize..40) {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let start = places[from.index(places.len())];
        let end = text[start..].char_indices().nth(length).map_or(text.len(), |(at, _)| start + at);
        answers(&format!("{}{}", &text[..start], &text[end..]))?;
    }

    #[test]
    fn a_valid_file_with_a_piece_put_in_is_answered(text in valid_text(), at in any::<prop::sample::Index>(), piece in "[-a-z:,#*&!|>'\"{}\\[\\]? \n0-9]{1,6}") {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let at = places[at.index(places.len())];
        answers(&format!("{}{piece}{}", &text[..at], &text[at..]))?;
    }

    #[test]
    fn a_valid_file_with_lines_swapped_is_answered(text in valid_text(), one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
        let mut lines: Vec<&str> = text.lines().collect();
        let (one, other) = (one.index(lines.len()), other.index(lines.len()));
        lines.swap(one, other);
        answers(&lines.join("\n"))?;
    }

    #[test]
    fn a_finding_can_be_shown_in_any_text(text in "\\PC*", other in "\\PC*") {
        if let Err(findings) = parse("saga.yaml", &text) {
            for finding in findings {
                prop_assert!(!finding.render(&other, Ink::Plain).is_empty());
            }
        }
    }
}

fn lines(places: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    places.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn deep_large_and_self_similar_files_are_answered_quickly() {
    let bomb = lines(1..30, |ix| format!("a{ix}: &a{ix} [*a{0}, *a{0}, *a{0}]", ix - 1));
    let chain = lines(1..60, |ix| format!("b{ix}: &b{ix} {}*b{}{}", "[".repeat(40), ix - 1, "]".repeat(40)));
    for text in [
        format!("a0: &a0 x\n{bomb}"),
        format!("b0: &b0 x\n{chain}"),
        "[".repeat(100_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        format!("saga: {}", "a".repeat(1 << 20)),
        "saga: s\n".repeat(30_000),
        format!("saga: s\nversion: 1\nsteps:\n{}", lines(0..3000, |ix| format!("  s{ix}:\n    done: E"))),
        format!("saga: s\nversion: 1\nsteps:\n  a:\n    done: A\n    if: '{}1{}'\n", "(".repeat(400), ")".repeat(400)),
        format!("saga: s\nversion: 1\nsteps:\n  a:\n    done: A\n    if: '{}1{}'\n", "[".repeat(450), "]".repeat(450)),
        format!("saga: s\nversion: 1\nsteps:\n  a:\n    done: A\n    if: '{}true'\n", "!".repeat(900)),
    ] {
        answers(&text).unwrap();
    }
}

#[test]
fn colours_are_used_only_when_asked_for() {
    let text = "saga: S\n";
    let finding = &parse("saga.yaml", text).unwrap_err()[0];
    assert!(!finding.render(text, Ink::Plain).contains('\u{1b}'));
    assert!(finding.render(text, Ink::Coloured).contains('\u{1b}'));
    assert!(finding.render(text, Ink::Plain).contains("--> saga.yaml:1:"));
}
