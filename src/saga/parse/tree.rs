//! YAML text as a tree of values, each with the place it stands at.
//!
//! Reads the parser's events rather than going through serde: only so are *all* duplicate keys, dangling aliases and
//! stray tags found at once, each with its own place, and a quoted `"5"` told from a bare `5`. What cannot be a value is
//! reported here and stands in the tree as [`Data::Broken`], which every later check passes over in silence.
//!
//! Bounded in size, depth and number of nodes, aliases included, so that no file can hold up a start.

use std::collections::HashMap;

use serde_json::{Number, Value};
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::finding::{Findings, Mark};
use super::hint;

/// Largest definition that is read. The longest in the field have a few hundred lines.
pub(crate) const SOURCE_BYTES_MAX: usize = 256 << 10;

/// Most values in one definition, with every alias counted in full.
const NODES_MAX: usize = 20_000;

/// Deepest nesting; the language itself needs seven, message bodies a few more.
const DEPTH_MAX: usize = 64;

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub mark: Mark,
    pub data: Data,
}

/// What a value is, by YAML's core schema.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; keys are unique by their text.
    Map(Vec<(Node, Node)>),
    /// Already reported.
    Broken,
}

impl Node {
    /// The value under `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key and value of the entry called `key`.
    pub fn entry(&self, key: &str) -> Option<(&Self, &Self)> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(name, value)| (name, value))
    }

    /// The entries, if this is a map.
    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, or the value itself: for what may be one or many.
    pub fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The text, if it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As JSON; what is broken is null.
    pub fn json(&self) -> Value {
        match &self.data {
            Data::Null | Data::Broken => Value::Null,
            Data::Bool(flag) => Value::Bool(*flag),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.key_text(), value.json())).collect())
            }
        }
    }

    /// The text of a key; numbers and words as JSON writes them.
    pub fn key_text(&self) -> String {
        match &self.data {
            Data::Text(text) => text.clone(),
            _ => self.json().to_string(),
        }
    }

    fn size_and_depth(&self) -> (usize, usize) {
        let add = |(size, depth): (usize, usize), node: &Self| {
            let (more, deep) = node.size_and_depth();
            (size + more, depth.max(deep + 1))
        };
        match &self.data {
            Data::List(items) => items.iter().fold((1, 1), add),
            Data::Map(entries) => entries.iter().fold((1, 1), |sum, (key, value)| add(add(sum, key), value)),
            _ => (1, 1),
        }
    }
}

/// Reads one document. `None` when there is no tree to go on with; the reason is among the findings then.
pub(crate) fn read(findings: &mut Findings) -> Option<Node> {
    let source = findings.source();
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the file is larger than {SOURCE_BYTES_MAX} bytes; a definition never is");
        findings.error(Mark::default(), message, None);
        return None;
    }
    let mut options = Options::default();
    options.emit_unresolved_aliases = true;
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let mut loader = Loader { findings, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, documents: 0 };
    for next in Parser::new_from_str_with_options(source, options) {
        match next {
            Ok((event, span)) => loader.take(event, &span)?,
            Err(error) => {
                loader.syntax(&error);
                return None;
            }
        }
    }
    let root = loader.root.take();
    if root.is_none() {
        findings.error(Mark::default(), "the file is empty", "begin with `saga: NAME`".to_owned());
    }
    root
}

/// A list or map whose end was not seen yet.
struct Open {
    mark: Mark,
    anchor: usize,
    /// For a map, keys and values in turn.
    children: Vec<Node>,
    is_map: bool,
}

struct Loader<'f, 'a> {
    findings: &'f mut Findings<'a>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
}

impl Loader<'_, '_> {
    /// Takes one event; `None` when reading on makes no sense.
    fn take(&mut self, event: Event<'_>, span: &Span) -> Option<()> {
        let mark = mark(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let hint = "put each saga into a file of its own".to_owned();
                    self.findings.error(mark, "a second document begins here; a file holds one saga", hint);
                    return None;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let data = match self.tagged(tag.as_deref(), span) {
                    Tagged::None if style == ScalarStyle::Plain => self.plain(&text, mark),
                    Tagged::None | Tagged::Text => Data::Text(text.into_owned()),
                    Tagged::Unknown => Data::Broken,
                };
                self.place(Node { mark, data }, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(mark, anchor, tag.as_deref(), span, false),
            Event::MappingStart(_, anchor, tag) => self.begin(mark, anchor, tag.as_deref(), span, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop()?;
                let mark = Mark { start: open.mark.start, end: mark.end.max(open.mark.start) };
                let data = if open.is_map { self.map(open.children) } else { Data::List(open.children) };
                self.place(Node { mark, data }, open.anchor)?;
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, mark);
                self.place(node, 0)?;
            }
            Event::UnresolvedAlias(name) => {
                let hint =
                    format!("YAML reads an unquoted `*` as a reference; write {}", hint::quoted(&format!("*{name}")));
                self.findings.error(mark, format!("`*{name}` refers to an anchor that is not there"), hint);
                self.place(Node { mark, data: Data::Broken }, 0)?;
            }
            _ => {}
        }
        Some(())
    }

    fn begin(&mut self, mark: Mark, anchor: usize, tag: Option<&Tag>, span: &Span, is_map: bool) {
        let _ = self.tagged(tag, span);
        self.open.push(Open { mark, anchor, children: Vec::new(), is_map });
    }

    fn place(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            self.findings.error(node.mark, format!("the file holds more than {NODES_MAX} values"), None);
            return None;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Some(())
    }

    /// Pairs keys with values, refuses repeated keys, and fills in what `<<` brings along.
    fn map(&mut self, children: Vec<Node>) -> Data {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut merged = Vec::new();
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            if key.text() == Some("<<") && self.findings.text(key.mark) == "<<" {
                merged.extend(value.items().iter().flat_map(Node::entries).cloned());
            } else if entries.iter().any(|(known, _)| known.key_text() == key.key_text()) {
                let message = format!("`{}` is given twice", key.key_text());
                self.findings.error(
                    key.mark,
                    message,
                    "keep one of them; YAML would silently drop the other".to_owned(),
                );
            } else {
                entries.push((key, value));
            }
        }
        for (key, value) in merged {
            if !entries.iter().any(|(known, _)| known.key_text() == key.key_text()) {
                entries.push((key, value));
            }
        }
        Data::Map(entries)
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Node {
        let Some(node) = self.anchors.get(&anchor) else {
            self.findings.error(mark, "the reference stands inside of what it refers to", None);
            return Node { mark, data: Data::Broken };
        };
        let (size, depth) = node.size_and_depth();
        if self.nodes + size > NODES_MAX || self.open.len() + depth > DEPTH_MAX {
            self.findings.error(mark, "references make the file too large", None);
            return Node { mark, data: Data::Broken };
        }
        self.nodes += size;
        node.clone()
    }

    fn tagged(&mut self, tag: Option<&Tag>, span: &Span) -> Tagged {
        let Some(tag) = tag else { return Tagged::None };
        match tag.core_suffix() {
            Some("str") => Tagged::Text,
            Some(_) => Tagged::None,
            None if tag.handle().is_empty() && tag.suffix() == "!" => Tagged::Text,
            None => {
                let place = span.tag_span().map_or_else(|| mark(span), |span| mark(&span));
                let value = hint::rest_of_line(self.findings.source(), place.start);
                let hint = format!("YAML reads an unquoted `!` as a tag; write {}", hint::quoted(value));
                self.findings.error(place, format!("unknown tag `{}`", tag.original()), hint);
                Tagged::Unknown
            }
        }
    }

    /// The value of a bare word by YAML 1.2's core schema: only `true` and `false` are booleans.
    fn plain(&mut self, text: &str, mark: Mark) -> Data {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Data::Null,
            "true" | "True" | "TRUE" => Data::Bool(true),
            "false" | "False" | "FALSE" => Data::Bool(false),
            _ if is_number(text) => number(text).map_or_else(
                || {
                    let hint = format!("if it is meant as text, write {}", hint::quoted(text));
                    self.findings.error(mark, "a number too large to be kept exactly", hint);
                    Data::Broken
                },
                Data::Number,
            ),
            _ => Data::Text(text.to_owned()),
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        let source = self.findings.source();
        let marker = error.marker();
        let start = marker
            .byte_offset()
            .unwrap_or_else(|| source.char_indices().nth(marker.index()).map_or(source.len(), |(at, _)| at));
        let start = start.min(source.trim_end().len());
        let end = source.get(start..).and_then(|rest| rest.chars().next()).map_or(start, |c| start + c.len_utf8());
        let hint = hint::about_syntax(source, start, error.kind());
        self.findings.error(Mark { start, end }, format!("this is not YAML: {}", error.kind()), hint);
    }
}

enum Tagged {
    None,
    Text,
    Unknown,
}

fn mark(span: &Span) -> Mark {
    let start = span.start.byte_offset().unwrap_or_default();
    Mark { start, end: span.end.byte_offset().unwrap_or_default().max(start) }
}

fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = body.split_once(['e', 'E']).map_or((body, None), |(m, e)| (m, Some(e)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_decimal = !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction);
    let has_exponent =
        exponent.is_none_or(|e| !e.is_empty() && digits(e.strip_prefix(['-', '+']).unwrap_or(e)) && e.len() < 6);
    (is_decimal && has_exponent) || radix(text).is_some()
}

fn radix(text: &str) -> Option<u64> {
    let (digits, radix) = match text.split_at_checked(2)? {
        ("0x", digits) => (digits, 16),
        ("0o", digits) => (digits, 8),
        _ => return None,
    };
    if digits.starts_with(['-', '+']) { None } else { u64::from_str_radix(digits, radix).ok() }
}

fn number(text: &str) -> Option<Number> {
    if let Some(value) = radix(text) {
        return Some(value.into());
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return text.parse::<i64>().map(Number::from).ok().or_else(|| text.parse::<u64>().map(Number::from).ok());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}
