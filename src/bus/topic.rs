//! How topic exchanges match: the bus in memory routes by it, and readers of a shared tap tell by it whose message one is.

/// Matches words between dots: `*` is any one word, `#` any number of them.
pub fn matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern);
    let key: Vec<&str> = words(key);
    // `at` walks the key; on a dead end, the last `#` takes one word more.
    let (mut of_pattern, mut at, mut retry) = (0, 0, None);
    while at < key.len() {
        match pattern.get(of_pattern) {
            Some(&"#") => {
                retry = Some((of_pattern, at));
                of_pattern += 1;
            }
            Some(&word) if word == "*" || word == key[at] => {
                of_pattern += 1;
                at += 1;
            }
            Some(_) | None => {
                let Some((hash, taken)) = retry else { return false };
                retry = Some((hash, taken + 1));
                of_pattern = hash + 1;
                at = taken + 1;
            }
        }
    }
    pattern[of_pattern..].iter().all(|word| *word == "#")
}

/// An empty key has no words; between two dots is an empty one.
fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            ("*.*", "a.", true),
            ("a..b", "a..b", true),
            ("#.b.#.d", "a.b.b.c.d", true),
            ("#.b.#.d", "a.c.d", false),
            ("Order Placed", "Order Placed", true),
            ("a.*.c", "a..c", true),
        ] {
            assert_eq!(matches(binding, key), expected, "`{binding}` and `{key}`");
        }
    }

    /// The definition of matching, without any cleverness.
    fn plainly(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => plainly(rest, key) || (!key.is_empty() && plainly(pattern, &key[1..])),
            ([word, rest @ ..], [first, others @ ..]) => (word == &"*" || word == first) && plainly(rest, others),
            ([_, ..] | [], _) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_its_definition(
            pattern in prop::collection::vec(prop::sample::select(vec!["#", "*", "a", "b", ""]), 0..6),
            key in prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 0..7),
        ) {
            let (pattern, key) = (pattern.join("."), key.join("."));
            prop_assert_eq!(matches(&pattern, &key), plainly(&words(&pattern), &words(&key)), "{} {}", pattern, key);
        }
    }
}
