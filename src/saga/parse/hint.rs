//! What the author probably meant: the nearest known word, and the characters YAML takes for its own.
//!
//! A hint is a guess and says so by its wording; it never changes what is accepted.

use serde_saphyr::granit_parser::ErrorKind;

/// How far above an error a comment is looked for that caused it.
const LINES_LOOKED_BACK: usize = 20;

/// The word of `known` that `wrong` is most likely a misspelling of.
pub(crate) fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = fold(wrong);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&folded, &fold(word)), word))
        .filter(|(distance, word)| *distance <= word.chars().count().max(folded.chars().count()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// ``did you mean `word`?`` for the nearest known word.
pub(crate) fn did_you_mean<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    nearest(wrong, known).map(|word| format!("did you mean `{word}`?"))
}

/// Upper and lower case, dashes and underscores are the usual slips.
fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).take(64).collect()
}

/// `text` as YAML takes it literally.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains('\'') && !text.contains(['"', '\\']) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A list of words as prose: `a`, `b` or `c`.
pub(crate) fn any_of<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// From `at` to the end of its line, without a trailing comment or space.
pub(crate) fn rest_of_line(source: &str, at: usize) -> &str {
    let line = source.get(at..).unwrap_or_default().lines().next().unwrap_or_default();
    line.split(" #").next().unwrap_or_default().trim()
}

/// What to do about a value that is missing, when a comment may have swallowed it.
pub(crate) fn about_missing_value(source: &str, at: usize) -> Option<String> {
    let rest = source.get(at..).unwrap_or_default().lines().next().unwrap_or_default();
    let before = source.get(..at).unwrap_or_default().lines().next_back().unwrap_or_default();
    let comment = rest.trim_start_matches([':', ' ', '\t']).strip_prefix('#').or_else(|| {
        before.rsplit_once('#').filter(|(head, _)| head.ends_with([':', '-', ' ', '\t'])).map(|(_, comment)| comment)
    })?;
    Some(format!("YAML reads an unquoted `#` as a comment; write {}", quoted(&format!("#{comment}"))))
}

/// What to do about `{{ … }}` that begins at byte `at` without quotes.
pub(crate) fn about_braces(source: &str, at: usize) -> String {
    let rest = rest_of_line(source, at);
    let value = rest.find("}}").map_or(rest, |close| &rest[..close + 2]);
    format!("YAML reads an unquoted `{{` as a map; write {}", quoted(value))
}

/// A comment that swallowed the end of a list or map in brackets, on the line of byte `at` or above.
fn about_swallowed_bracket(source: &str, at: usize) -> Option<String> {
    let end = source[at..].find('\n').map_or(source.len(), |end| at + end);
    source[..end].lines().rev().take(LINES_LOOKED_BACK).find_map(|line| {
        let (before, comment) = line.char_indices().find_map(|(at, c)| {
            let is_comment = c == '#' && line[..at].ends_with([' ', '\t']);
            is_comment.then(|| (&line[..at], &line[at..]))
        })?;
        let open = |opening: char, closing: char| before.matches(opening).count() > before.matches(closing).count();
        let swallowed = (open('[', ']') && comment.contains(']')) || (open('{', '}') && comment.contains('}'));
        let word = comment.split([',', ']', '}', ' ']).next().unwrap_or_default();
        swallowed.then(|| format!("YAML reads an unquoted `#` as a comment; write {}", quoted(word)))
    })
}

/// What to do about text the parser refuses at byte `at`.
pub(crate) fn about_syntax(source: &str, at: usize, kind: &ErrorKind) -> Option<String> {
    let start = source.get(..at)?.rfind('\n').map_or(0, |before| before + 1);
    let line = source[start..].lines().next().unwrap_or_default();
    let above = source[..start].lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if matches!(kind, ErrorKind::TabInIndentation | ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed) {
        return Some("indent with spaces; YAML refuses tabs there".to_owned());
    }
    if let Some(hint) = about_swallowed_bracket(source, at) {
        return Some(hint);
    }
    [line, above].into_iter().find_map(|line| about_value(line).or_else(|| about_missing_space(line)))
}

/// `key:value` is one word to YAML.
pub(crate) fn about_missing_space(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches("- ");
    let (key, value) = line.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (is_key && !value.is_empty() && !value.starts_with([' ', '/']))
        .then(|| format!("put a space after the colon: `{key}: {}`", value.trim()))
}

/// A value that begins with, or contains, what YAML takes for syntax.
fn about_value(line: &str) -> Option<String> {
    let item = line.trim().strip_prefix("- ").unwrap_or(line.trim());
    let value = match item.split_once(": ") {
        Some((key, value)) if !key.contains(['"', '\'', '{', '[']) => value.trim(),
        _ => item,
    };
    let first = value.chars().next()?;
    let why = match first {
        '{' if value.starts_with("{{") => "`{{`",
        '[' if !value.ends_with(']') => "`[`",
        '{' if !value.ends_with('}') => "`{`",
        '*' => "`*`",
        '&' => "`&`",
        '!' => "`!`",
        '%' => "`%`",
        '@' => "`@`",
        '`' => "a backtick",
        '"' | '\'' if value.len() > 1 && !value.ends_with(first) => "a quote",
        '{' if value.contains("==") || value.contains('"') => {
            return Some("put each text with quotes, `: ` or `, ` inside into single quotes of its own".to_owned());
        }
        '"' | '\'' | '{' | '[' => return None,
        _ if value != item && value.contains(": ") => "`: `",
        _ => return None,
    };
    Some(format!("YAML gives {why} a meaning of its own; put the whole value into quotes: {}", quoted(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_yaml_takes_it() {
        for (text, quotes) in
            [("a", "'a'"), ("it's", "\"it's\""), ("it's \"so\"", "'it''s \"so\"'"), ("a\\'b", "'a\\''b'")]
        {
            assert_eq!(quoted(text), quotes);
        }
    }

    #[test]
    fn what_yaml_takes_for_syntax_is_put_into_quotes() {
        for (line, begins, value) in [
            ("when: {{ order_id }}", "YAML gives `{{`", "'{{ order_id }}'"),
            ("keys: [a, b", "YAML gives `[`", "'[a, b'"),
            ("read: { a: b", "YAML gives `{`", "'{ a: b'"),
            ("- *any", "YAML gives `*`", "'*any'"),
            ("event: &any", "YAML gives `&`", "'&any'"),
            ("event: !any", "YAML gives `!`", "'!any'"),
            ("event: %any", "YAML gives `%`", "'%any'"),
            ("event: @any", "YAML gives `@`", "'@any'"),
            ("event: `any`", "YAML gives a backtick", "'`any`'"),
            ("event: \"any", "YAML gives a quote", "'\"any'"),
            ("where: body.a: b", "YAML gives `: `", "'body.a: b'"),
        ] {
            let hint = about_value(line).unwrap_or_default();
            assert!(hint.starts_with(begins) && hint.ends_with(value), "{line}: {hint}");
        }
        let quotes = "single quotes of its own";
        for line in ["failed: { where: a == 'b' }", "failed: { where: \"a\" }"] {
            assert!(about_value(line).is_some_and(|hint| hint.ends_with(quotes)), "{line}");
        }
        for line in ["a: b", "a: [b]", "a: { b: c }", "a: \"b\"", "a: 'b'", "a: '", "just words", ""] {
            assert_eq!(about_value(line), None, "{line}");
        }
    }

    #[test]
    fn a_colon_without_a_space_is_one_word() {
        assert_eq!(about_missing_space("- a-b_1:c ").as_deref(), Some("put a space after the colon: `a-b_1: c`"));
        for line in ["a: b", "a:", ":b", "a b:c", "http://x", "no colon"] {
            assert_eq!(about_missing_space(line), None, "{line}");
        }
    }

    #[test]
    fn a_comment_that_ate_a_bracket_is_found_on_its_line_or_above() {
        let at_end = |source: &str| about_swallowed_bracket(source, source.len());
        for source in ["keys: [a, #b]", "read: { a: #b }", "keys: [a, #b]\nmore: x\n", "keys: [[a], #b, c]"] {
            assert!(at_end(source).is_some_and(|hint| hint.ends_with("'#b'")), "{source}");
        }
        for source in
            ["keys: [a] #b]", "keys: [a, b#c]", "keys: [a, #b", "read: { a } #}", "keys: [a, #b }", "plain #b"]
        {
            assert_eq!(at_end(source), None, "{source}");
        }
    }
}
