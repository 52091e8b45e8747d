//! Holds a tree against the grammar: unknown and missing keys, wrong kinds of values, words, names, durations.
//!
//! Reports everything it finds. What passes here can be built without asking again; what does not is left out by
//! [`super::build`] in silence, so that one mistake is reported once.

use super::finding::Findings;
use super::grammar::{Key, Leaf, Object, Shape};
use super::hint;
use super::leaf;
use super::tree::{Data, Node};

/// Checks a whole file, which is one of `language`.
pub(crate) fn check(root: &Node, language: &'static Object, findings: &mut Findings) {
    Checker { findings, language }.object(root, root, language);
}

struct Checker<'f, 'a> {
    findings: &'f mut Findings<'a>,
    language: &'static Object,
}

impl Checker<'_, '_> {
    /// Checks `node`; `owner` is the key it stands under, where a missing part is reported.
    fn shape(&mut self, owner: &Node, node: &Node, shape: &Shape) {
        match (&node.data, shape) {
            (Data::Broken, _) | (_, Shape::Json) => {}
            (Data::Null, _) => {
                let hint = hint::about_missing_value(self.findings.source(), node.mark.end);
                let message = format!("`{}` has no value", self.findings.text(owner.mark));
                self.findings.error(owner.mark, message, hint);
            }
            (_, Shape::Leaf(kind)) => self.leaf(node, *kind),
            (_, Shape::Word(words)) => self.word(node, words),
            (_, Shape::Object(object)) => self.object(owner, node, object),
            (Data::List(items), Shape::List(item) | Shape::OneOrMany(item)) => self.list(node, items, item),
            (_, Shape::List(_)) => self.wrong_kind(node, "a list"),
            (_, Shape::OneOrMany(item)) => self.shape(owner, node, item),
            (Data::Map(entries), Shape::MapOf(name, value)) => self.map_of(owner, entries, *name, value),
            (_, Shape::MapOf(..)) => self.wrong_kind(node, "a map"),
            (Data::List(_) | Data::Map(_), Shape::Either(_, container)) => self.shape(owner, node, container),
            (_, Shape::Either(scalar, _)) => self.shape(owner, node, scalar),
        }
    }

    fn list(&mut self, node: &Node, items: &[Node], item: &Shape) {
        for each in items {
            if matches!(each.data, Data::Null) {
                let hint = hint::about_missing_value(self.findings.source(), each.mark.end);
                self.findings.error(each.mark, "an item of the list has no value", hint);
            } else if matches!((&each.data, item), (Data::List(_), Shape::Leaf(_) | Shape::Word(_))) {
                self.wrong_kind(each, "a plain value");
            } else {
                self.shape(each, each, item);
            }
        }
        if items.is_empty() && !matches!(item, Shape::Word(_) | Shape::Object(_)) {
            self.findings.error(node.mark, "the list is empty", "name at least one, or leave the key out".to_owned());
        }
    }

    fn map_of(&mut self, owner: &Node, entries: &[(Node, Node)], name: Leaf, value: &Shape) {
        for (key, each) in entries {
            if let Some(text) = key.text() {
                self.leaf_text(key, text, name);
            } else {
                let hint = format!("if it is meant as text, write {}", hint::quoted(&key.key_text()));
                self.findings.error(key.mark, format!("expected {}, found {}", leaf::what(name), kind(key)), hint);
            }
            self.shape(key, each, value);
        }
        if entries.is_empty() {
            let message = format!("`{}` is empty", self.findings.text(owner.mark));
            self.findings.error(owner.mark, message, None);
        }
    }

    fn object(&mut self, owner: &Node, node: &Node, object: &Object) {
        let Data::Map(entries) = &node.data else {
            if !matches!(node.data, Data::Broken) {
                let known = hint::any_of(object.keys.iter().map(|key| key.name));
                let space = hint::about_missing_space(hint::rest_of_line(self.findings.source(), node.mark.start));
                let hint = space.unwrap_or_else(|| format!("{} is a map with the keys {known}", object.what));
                self.findings.error(node.mark, format!("expected {}, found {}", object.what, kind(node)), hint);
            }
            return;
        };
        for (name, value) in entries {
            match name.text().and_then(|text| object.key(text)) {
                Some(key) => {
                    self.shape(name, value, key.shape);
                    self.companions(name, node, key, object);
                }
                None => self.unknown_key(name, object),
            }
        }
        for key in object.keys.iter().filter(|key| key.required && node.get(key.name).is_none()) {
            if !is_misspelt(key.name, node, object) {
                let message = format!("`{}` is missing in {}", key.name, object.what);
                self.findings.error(owner.mark, message, first_sentence(key));
            }
        }
        self.choice(owner, node, object);
    }

    /// A key that means nothing without another.
    fn companions(&mut self, name: &Node, node: &Node, key: &Key, object: &Object) {
        let missing = key.with.iter().filter(|(other, _)| node.get(other).is_none());
        for (other, reason) in missing.filter(|(other, _)| !is_misspelt(other, node, object)) {
            let message = format!("`{}` without `{other}`: {reason}", key.name);
            self.findings.error(name.mark, message, format!("add `{other}`, or leave `{}` out", key.name));
        }
    }

    fn choice(&mut self, owner: &Node, node: &Node, object: &Object) {
        let given = |keys: &[&'static str]| -> Vec<&'static str> {
            keys.iter().copied().filter(|key| node.get(key).is_some()).collect()
        };
        let one = given(object.one_of);
        if let [_, second, ..] = one.as_slice() {
            let mark = node.entry(second).map_or(node.mark, |(name, _)| name.mark);
            let message = format!("{} has either {}", object.what, hint::any_of(object.one_of.iter().copied()));
            self.findings.error(mark, message, "keep one of them".to_owned());
        }
        let expected = if object.one_of.is_empty() { object.any_of } else { object.one_of };
        let knows_all = node.entries().iter().all(|(name, _)| object.key(&name.key_text()).is_some());
        if !expected.is_empty() && given(expected).is_empty() && knows_all {
            let message = format!("{} needs {}", object.what, hint::any_of(expected.iter().copied()));
            self.findings.error(owner.mark, message, object.key(expected[0]).map(first_sentence));
        }
    }

    fn unknown_key(&mut self, name: &Node, object: &Object) {
        let text = name.key_text();
        let here = object.keys.iter().map(|key| key.name);
        let hint = hint::did_you_mean(&text, here.clone())
            .or_else(|| hint::about_missing_space(&text))
            .or_else(|| elsewhere(&text, object, self.language))
            .unwrap_or_else(|| format!("the keys of {} are {}", object.what, hint::any_of(here)));
        if matches!(name.data, Data::Map(_) | Data::List(_)) {
            let hint = hint::about_braces(self.findings.source(), name.mark.start.saturating_sub(1));
            self.findings.error(name.mark, "a key must be a word", hint);
        } else if !matches!(name.data, Data::Broken) {
            self.findings.error(name.mark, format!("unknown key `{text}` in {}", object.what), hint);
        }
    }

    fn word(&mut self, node: &Node, words: &[&'static str]) {
        match node.text() {
            Some(text) if words.contains(&text) => {}
            Some(text) => {
                let hint = match words {
                    [only] => Some(format!("did you mean `{only}`?")),
                    _ => hint::did_you_mean(text, words.iter().copied()),
                };
                let message = format!("`{text}` is not one of {}", hint::any_of(words.iter().copied()));
                self.findings.error(node.mark, message, hint);
            }
            None => self.wrong_kind(node, &hint::any_of(words.iter().copied())),
        }
    }

    fn leaf(&mut self, node: &Node, kind: Leaf) {
        match (&node.data, kind) {
            (Data::Bool(_), Leaf::Bool) | (Data::Broken, _) => {}
            (Data::Number(number), Leaf::Positive | Leaf::Count | Leaf::Factor) => {
                if let Err((message, hint)) = leaf::number(number, kind) {
                    self.findings.error(node.mark, message, hint);
                }
            }
            (Data::Text(text), _) => self.leaf_text(node, text, kind),
            _ => self.wrong_kind_of_leaf(node, kind),
        }
    }

    fn leaf_text(&mut self, node: &Node, text: &str, kind: Leaf) {
        if let Err((message, hint)) = leaf::text(text, kind) {
            self.findings.error(node.mark, message, hint);
        }
    }

    fn wrong_kind_of_leaf(&mut self, node: &Node, leaf: Leaf) {
        let text = self.findings.text(node.mark);
        let is_braces = text.starts_with("{{") || text.starts_with("{ {");
        let hint = match (&node.data, leaf) {
            (Data::Map(_), _) if is_braces => Some(hint::about_braces(self.findings.source(), node.mark.start)),
            (Data::Number(number), Leaf::Duration | Leaf::Deadline) => {
                Some(format!("name the unit, such as `{number}s`"))
            }
            (Data::Bool(_) | Data::Number(_), Leaf::Bool | Leaf::Positive | Leaf::Factor | Leaf::Count) => None,
            (Data::Bool(_) | Data::Number(_), _) => {
                Some(format!("if it is meant as text, write {}", hint::quoted(text)))
            }
            (Data::List(_), _) if text.starts_with('[') => {
                Some(format!("if `[` belongs to the text, write {}", hint::quoted(text)))
            }
            _ => None,
        };
        self.findings.error(node.mark, format!("expected {}, found {}", leaf::what(leaf), kind(node)), hint);
    }

    fn wrong_kind(&mut self, node: &Node, expected: &str) {
        let space = hint::about_missing_space(hint::rest_of_line(self.findings.source(), node.mark.start));
        self.findings.error(node.mark, format!("expected {expected}, found {}", kind(node)), space);
    }
}

/// Whether an unknown key of `node` is probably meant to be `name`; that is told already.
fn is_misspelt(name: &str, node: &Node, object: &Object) -> bool {
    let mut unknown = node.entries().iter().map(|(key, _)| key.key_text()).filter(|key| object.key(key).is_none());
    unknown.any(|key| hint::nearest(&key, [name]).is_some())
}

/// Where else in the language a key of this name stands: most misplaced keys are one level off.
fn elsewhere(name: &str, not: &Object, language: &'static Object) -> Option<String> {
    fn find(shape: &Shape, name: &str, not: &Object, found: &mut Vec<&'static str>) {
        match shape {
            Shape::Object(object) => {
                if object.what != not.what && object.key(name).is_some() && !found.contains(&object.what) {
                    found.push(object.what);
                }
                object.keys.iter().for_each(|key| find(key.shape, name, not, found));
            }
            Shape::List(inner) | Shape::OneOrMany(inner) | Shape::MapOf(_, inner) => find(inner, name, not, found),
            Shape::Either(scalar, container) => {
                find(scalar, name, not, found);
                find(container, name, not, found);
            }
            Shape::Leaf(_) | Shape::Word(_) | Shape::Json => {}
        }
    }
    let mut found = Vec::new();
    find(&Shape::Object(language), name, not, &mut found);
    let places: Vec<String> = found.iter().map(|what| format!("in {what}")).collect();
    (!places.is_empty()).then(|| format!("`{name}` stands {}", places.join(" or ")))
}

fn first_sentence(key: &Key) -> String {
    let first = key.about.split_once(". ").map_or(key.about, |(first, _)| first).trim_end_matches('.');
    format!("`{}`: {first}", key.name)
}

fn kind(node: &Node) -> &'static str {
    match &node.data {
        Data::Null | Data::Broken => "nothing",
        Data::Bool(_) => "true or false",
        Data::Number(_) => "a number",
        Data::Text(_) => "text",
        Data::List(_) => "a list",
        Data::Map(_) => "a map",
    }
}
