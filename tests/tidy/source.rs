//! Rust text split into what is code and what is said in strings; comments are neither.
//!
//! A lexer of the few things that matter: it knows comments (nested too), strings (raw too), and tells a character from a
//! lifetime. What it takes out of the code it replaces by spaces, so that lines stay where they are.

/// One file.
#[derive(Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
    /// The text without comments and without the inside of strings.
    pub code: String,
    /// The code without its test modules.
    pub shipped: String,
    /// Every string literal with the line it begins on, from 1, test modules included.
    pub strings: Vec<(usize, String)>,
}

impl Source {
    pub fn read(path: &str, text: &str) -> Self {
        let (code, strings) = split(text);
        let shipped = if is_test_file(path) { String::new() } else { without_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped, strings }
    }

    /// The top module it belongs to: `saga` for src/saga/order.rs, `clock` for src/clock.rs.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or(inside);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The path of its module inside the crate: `saga::order`; empty for lib.rs and main.rs.
    pub fn module_path(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let mut parts: Vec<_> = inside.strip_suffix(".rs").unwrap_or(inside).split('/').collect();
        if parts.last() == Some(&"mod") || matches!(parts[..], ["lib" | "main"]) {
            parts.pop();
        }
        parts
    }

    /// Whether the whole file is tests.
    pub fn is_test(&self) -> bool {
        is_test_file(&self.path)
    }

    /// Whether a string that begins on `line` belongs to shipped code.
    pub fn ships_line(&self, line: usize) -> bool {
        self.shipped.lines().nth(line - 1).is_some_and(|text| !text.trim().is_empty())
    }

    /// Lines of shipped code, from 1.
    pub fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.shipped.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// Whether `word` stands in `code` as a whole word; `word` may be a path or end in `!` or `(`.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_part);
        let after = word.ends_with(is_part) && code[at + word.len()..].starts_with(is_part);
        !before && !after
    })
}

fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (taken, said) = match token(rest, code.chars().next_back()) {
            Token::Comment(bytes) => (bytes, None),
            Token::Text { bytes, inside } => (bytes, Some(inside)),
            Token::Code => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        if let Some((from, to)) = said {
            strings.push((code.matches('\n').count() + 1, rest[from..to].to_owned()));
            code.push('"');
        }
        code.extend(rest[..taken].chars().filter(|it| *it == '\n'));
        code.push(if said.is_some() { '"' } else { ' ' });
        rest = &rest[taken..];
    }
    (code, strings)
}

enum Token {
    Comment(usize),
    Text { bytes: usize, inside: (usize, usize) },
    Code,
}

/// What begins at the start of `rest`, where `before` is the last character of code.
fn token(rest: &str, before: Option<char>) -> Token {
    let in_word = before.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if rest.starts_with("//") {
        return Token::Comment(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Token::Comment(block_comment(rest));
    }
    if let Some(tail) = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br")).filter(|_| !in_word) {
        let hashes = tail.len() - tail.trim_start_matches('#').len();
        if tail[hashes..].starts_with('"') {
            let from = rest.len() - tail.len() + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            let to = rest[from..].find(&end).map_or(rest.len(), |at| from + at);
            return Token::Text { bytes: (to + end.len()).min(rest.len()), inside: (from, to) };
        }
    }
    if rest.starts_with('"') {
        let to = end_of_string(rest);
        return Token::Text { bytes: (to + 1).min(rest.len()), inside: (1, to) };
    }
    match character(rest) {
        Some(bytes) => Token::Comment(bytes),
        None => Token::Code,
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn end_of_string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, it) in rest.char_indices().skip(1) {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal at the start of `rest`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        let past_escaped = 1 + inside[1..].chars().next()?.len_utf8();
        return Some(1 + past_escaped + inside[past_escaped..].find('\'')? + 1);
    }
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// `code` with every `#[cfg(test)] mod … { … }` blanked.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    for (at, mark) in code.match_indices("#[cfg(test)]") {
        let tail = &code[at + mark.len()..];
        let head = tail.split(['{', ';']).next().unwrap_or(tail);
        if !head.trim_start().starts_with("mod ") || !tail[head.len()..].starts_with('{') {
            continue;
        }
        let mut depth = 0_i32;
        let end = tail[head.len()..].char_indices().find_map(|(offset, it)| {
            depth += i32::from(it == '{') - i32::from(it == '}');
            (depth == 0).then_some(at + mark.len() + head.len() + offset + 1)
        });
        let end = end.unwrap_or(code.len());
        let blank = |it: char| if it == '\n' { "\n".to_owned() } else { " ".repeat(it.len_utf8()) };
        kept.replace_range(at..end, &code[at..end].chars().map(blank).collect::<String>());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let source =
            Source::read("src/x.rs", "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i \" j\"# k\n'l' '\\'' m<'n>");
        for word in ["a", "f", "k", "m", "n"] {
            assert!(has_word(&source.code, word), "{word} is code in {}", source.code);
        }
        for word in ["b", "c", "d", "e", "g", "h", "i", "j", "l"] {
            assert!(!has_word(&source.code, word), "{word} is no code in {}", source.code);
        }
        assert_eq!(source.strings, [(2, "g \\\" h".to_owned()), (2, "i \" j".to_owned())]);
    }

    #[test]
    fn test_modules_are_not_shipped() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { }\n}\nfn c() {}\n#[cfg(test)]\nmod far;\nfn d() {}";
        let source = Source::read("src/x.rs", text);
        assert!(["a", "c", "d"].iter().all(|word| has_word(&source.shipped, word)), "{}", source.shipped);
        assert!(!has_word(&source.shipped, "b"), "{}", source.shipped);
        assert_eq!(source.shipped.lines().count(), source.text.lines().count());
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use tokio::time;", "tokio"));
        assert!(!has_word("use my_tokio;", "tokio"));
        assert!(!has_word("tokios", "tokio"));
    }
}
