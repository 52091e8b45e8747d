//! Topic matching: `*` is exactly one word, `#` any number of them, words are separated by dots.

/// Whether a routing key matches a binding key.
pub(super) fn matches(binding: &str, key: &str) -> bool {
    matches_words(&words(binding), &words(key))
}

/// The empty key has no words.
fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

fn matches_words(binding: &[&str], key: &[&str]) -> bool {
    match binding.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|skipped| matches_words(rest, &key[skipped..])),
        Some((&word, rest)) => key
            .split_first()
            .is_some_and(|(first, others)| (word == "*" || word == *first) && matches_words(rest, others)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn topics_match_by_words() {
        for (binding, key, expected) in [
            ("order.placed", "order.placed", true),
            ("order.placed", "order.paid", false),
            ("order.*", "order.placed", true),
            ("order.*", "order", false),
            ("order.*", "order.placed.eu", false),
            ("order.#", "order", true),
            ("order.#", "order.placed.eu", true),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("#.eu", "order.placed.eu", true),
            ("#.eu", "eu", true),
            ("#.eu.#", "a.eu.b", true),
            ("*.*", "a..", false),
            ("a.*.c", "a..c", true),
        ] {
            assert_eq!(matches(binding, key), expected, "`{binding}` and `{key}`");
        }
    }
}
