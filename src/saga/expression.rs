//! CEL expressions and the `{{ }}` templates made of them.
//!
//! Compiled once, when a definition is loaded; evaluated against a [`Scope`] of plain JSON. A failure is an outcome of
//! its own, never "false": the caller decides whether an event goes to quarantine or the order becomes stuck.
//! Rendering is deterministic: maps come out with sorted keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Program};
use serde_json::Value;

use super::time::{Moment, Span};
use reads::Reads;

mod reads;

/// Longest source of one expression. The parser's work grows faster than its input, and nobody reads longer ones.
pub const EXPRESSION_BYTES_MAX: usize = 1024;

/// The parser recurses, up to 97 levels of 160 KiB each in a build without optimisation; its own thread has room for that.
const PARSER_STACK_BYTES: usize = 32 << 20;

/// Deepest nesting of an expression. Evaluating recurses too, on whatever thread the batch runs, at up to 21 KiB a level.
const DEPTH_MAX: usize = 48;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// One compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    program: Arc<Program>,
    variables: BTreeSet<String>,
    steps_read: BTreeMap<String, Guard>,
    attributes_read: BTreeMap<String, Guard>,
}

/// Whether a step or attribute is read only where its presence was asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Somewhere in the expression stands `has(steps.NAME…)` or `has(attributes.NAME…)`.
    Has,
    Bare,
}

/// What an expression gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Computed {
    Json(Value),
    Span(Span),
    Moment(Moment),
}

/// The names an expression sees.
pub type Scope = BTreeMap<&'static str, Value>;

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The parser's words, on one line.
    pub fn compile(source: &str) -> Result<Self, String> {
        let source = source.trim().to_owned();
        if source.is_empty() {
            return Err("the expression is empty".to_owned());
        }
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        let text = source.clone();
        let (program, reads) = std::thread::Builder::new()
            .stack_size(PARSER_STACK_BYTES)
            .spawn(move || parse(&text))
            .map_err(|error| format!("no thread to compile the expression: {error}"))?
            .join()
            .map_err(|_| "the expression cannot be parsed".to_owned())??;
        Ok(Self {
            source,
            variables: reads.variables,
            steps_read: reads.steps,
            attributes_read: reads.attributes,
            program: Arc::new(program),
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The top-level names it reads.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// The steps it reads by `steps.NAME`.
    pub fn steps_read(&self) -> &BTreeMap<String, Guard> {
        &self.steps_read
    }

    /// The attributes it reads by `attributes.NAME`.
    pub fn attributes_read(&self) -> &BTreeMap<String, Guard> {
        &self.attributes_read
    }

    /// Whether it reads anything of finished steps.
    pub fn reads_steps(&self) -> bool {
        self.variables.contains("steps")
    }

    /// Evaluates against `scope`.
    ///
    /// # Errors
    /// What failed, in words, with the expression.
    pub fn eval(&self, scope: &Scope) -> Result<Computed, String> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for (name, value) in scope.iter().filter(|(name, _)| self.variables.contains(**name)) {
            context.add_variable_from_value(*name, to_cel(value));
        }
        let value = self
            .program
            .execute(&context)
            .map_err(|error| format!("`{}`: {}", self.source, one_line(&error.to_string())))?;
        from_cel(&value).ok_or_else(|| format!("`{}` gives a value that is no data", self.source))
    }

    /// Evaluates to true or false; anything else is a failure.
    ///
    /// # Errors
    /// As [`eval`](Self::eval), and when the result is not a boolean.
    pub fn holds(&self, scope: &Scope) -> Result<bool, String> {
        match self.eval(scope)? {
            Computed::Json(Value::Bool(answer)) => Ok(answer),
            other => Err(format!("`{}` gives {other:?}, not true or false", self.source)),
        }
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

/// A JSON tree whose strings may hold `{{ expressions }}`.
#[derive(Clone, Debug)]
pub enum Template {
    Literal(Value),
    /// A string that is exactly one expression keeps the JSON type of its result.
    Exact(Expression),
    Text(Vec<Part>),
    List(Vec<Template>),
    Map(Vec<(String, Template)>),
}

/// A piece of a text template.
#[derive(Clone, Debug)]
pub enum Part {
    Literal(String),
    Expression(Expression),
}

impl Template {
    /// Compiles every string of `tree`.
    ///
    /// # Errors
    /// The parser's words about the first expression that does not compile, or that a brace is left open.
    pub fn compile(tree: &Value) -> Result<Self, String> {
        Ok(match tree {
            Value::String(text) => Self::compile_text(text)?,
            Value::Array(items) => Self::List(items.iter().map(Self::compile).collect::<Result<_, _>>()?),
            Value::Object(entries) => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Self::compile(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Literal(tree.clone()),
        })
    }

    fn compile_text(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let inside = &rest[open + 2..];
            let (expression, after) = compile_until_close(inside)?;
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            parts.push(Part::Expression(expression));
            rest = &inside[after..];
        }
        if parts.is_empty() {
            return Ok(Self::Literal(Value::String(text.to_owned())));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        match parts.as_slice() {
            [Part::Expression(only)] => Ok(Self::Exact(only.clone())),
            _ => Ok(Self::Text(parts)),
        }
    }

    /// Fills the template in.
    ///
    /// # Errors
    /// The first expression that failed, in words.
    pub fn render(&self, scope: &Scope) -> Result<Value, String> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Exact(expression) => plain(expression.eval(scope)?),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Expression(expression) => text.push_str(&as_text(&plain(expression.eval(scope)?))),
                    }
                }
                Value::String(text)
            }
            Self::List(items) => Value::Array(items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>()?),
            Self::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.render(scope)?)))
                    .collect::<Result<_, String>>()?,
            ),
        })
    }

    /// Fills the template in and writes the result as text; a string stands without quotes.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_text(&self, scope: &Scope) -> Result<String, String> {
        self.render(scope).map(|value| as_text(&value))
    }

    /// Every expression in the tree.
    pub fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Exact(expression) => vec![expression],
            Self::Text(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Expression(expression) => Some(expression),
                    Part::Literal(_) => None,
                })
                .collect(),
            Self::List(items) => items.iter().flat_map(Self::expressions).collect(),
            Self::Map(entries) => entries.iter().flat_map(|(_, value)| value.expressions()).collect(),
        }
    }

    /// Whether it reads anything of finished steps.
    pub fn reads_steps(&self) -> bool {
        self.expressions().into_iter().any(Expression::reads_steps)
    }
}

/// Compiles up to the first `}}` that ends a whole expression, since a CEL map may end in braces too.
fn compile_until_close(inside: &str) -> Result<(Expression, usize), String> {
    let mut failure = None;
    for (close, _) in inside.match_indices("}}") {
        match Expression::compile(&inside[..close]) {
            Ok(expression) => return Ok((expression, close + 2)),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    Err(failure.unwrap_or_else(|| "`{{` without `}}`".to_owned()))
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn plain(computed: Computed) -> Value {
    match computed {
        Computed::Json(value) => value,
        Computed::Span(span) => Value::String(span.to_string()),
        Computed::Moment(moment) => Value::String(moment.rfc3339()),
    }
}

/// Whole numbers become CEL ints where they fit, so that `body.n == 5` compares like with like.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, Some(uint)) => cel::Value::UInt(uint),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(entries) => cel::Value::Map(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value)))
                .collect::<HashMap<String, cel::Value>>()
                .into(),
        ),
    }
}

fn from_cel(value: &cel::Value) -> Option<Computed> {
    match value {
        cel::Value::Duration(duration) => Some(Computed::Span(Span(duration.num_microseconds()?))),
        cel::Value::Timestamp(at) => Some(Computed::Moment(Moment(at.timestamp_micros()))),
        other => other.json().ok().map(|json| Computed::Json(sorted(json))),
    }
}

/// CEL maps are hash maps; their iteration order must not reach a message body.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries: BTreeMap<String, Value> =
                entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn parse(text: &str) -> Result<(Program, Reads), String> {
    let program = Program::compile(text).map_err(|errors| one_line(&errors.to_string()))?;
    let mut reads = Reads::default();
    reads.walk(program.expression());
    if reads.deepest > DEPTH_MAX {
        return Err(format!("the expression is nested deeper than {DEPTH_MAX} levels"));
    }
    Ok((program, reads))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        BTreeMap::from([
            ("order_id", json!("4711")),
            ("body", json!({"data": {"status": "REJECTED", "n": 5, "list": [1, 2]}})),
            ("steps", json!({"payment": {"event": {"amount": 12.5, "z": 1, "a": 2}}})),
        ])
    }

    #[test]
    fn an_exact_expression_keeps_its_type_and_text_is_joined() {
        let template = Template::compile(&json!({
            "id": "{{ order_id }}", "n": "{{ body.data.n }}", "text": "order {{ order_id }}: {{ body.data.n + 1 }}",
            "all": "{{ steps.payment.event }}", "map": "{{ {'k': {'v': 1}} }}", "fixed": [true, "x"]
        }))
        .unwrap();
        assert_eq!(
            template.render(&scope()).unwrap().to_string(),
            r#"{"all":{"a":2,"amount":12.5,"z":1},"fixed":[true,"x"],"id":"4711","map":{"k":{"v":1}},"n":5,"text":"order 4711: 6"}"#
        );
    }

    #[test]
    fn a_template_as_text_has_no_quotes_and_knows_whether_it_reads_steps() {
        for (template, text, reads) in [
            (json!("{{ order_id }}"), "4711", false),
            (json!("{{ body.data.n }}"), "5", false),
            (json!("key.{{ steps.payment.event.z }}"), "key.1", true),
            (json!(["{{ steps.payment.event.z }}", true]), "[1,true]", true),
            (json!({"a": "{{ order_id }}", "b": ["{{ steps.payment.event.z }}"]}), r#"{"a":"4711","b":[1]}"#, true),
            (json!({"a": 1}), r#"{"a":1}"#, false),
        ] {
            let compiled = Template::compile(&template).unwrap();
            assert_eq!(
                (compiled.render_text(&scope()).as_deref(), compiled.reads_steps()),
                (Ok(text), reads),
                "{template}"
            );
        }
        let shown = format!("{:?}", Expression::compile("1 + 1").unwrap());
        assert_eq!(shown, "Expression(1 + 1)");
    }

    #[test]
    fn a_failure_is_said_and_never_false() {
        let missing = Expression::compile("body.data.nothing == 'x'").unwrap();
        assert!(missing.holds(&scope()).unwrap_err().contains("nothing"));
        assert!(
            Expression::compile("body.data.status").unwrap().holds(&scope()).unwrap_err().contains("not true or false")
        );
        assert!(Expression::compile("body.data.status == 'REJECTED'").unwrap().holds(&scope()).unwrap());
        assert!(Expression::compile("1 +").is_err());
        assert!(Template::compile(&json!("{{ 1")).is_err());
    }

    #[test]
    fn an_expression_too_deep_to_parse_or_evaluate_is_refused() {
        let nested = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
        for (deep, fine) in [
            (nested("[", "]", 60), nested("[", "]", 40)),
            (nested("[", "]", 500), nested("{1: ", "}", 40)),
            (nested("(", ")", 500), nested("(", ")", 40)),
            ("1+".repeat(250) + "1", "1+".repeat(40) + "1"),
        ] {
            assert!(Expression::compile(&deep).is_err(), "{deep}");
            assert!(Expression::compile(&fine).unwrap().eval(&scope()).is_ok(), "{fine}");
        }
    }

    #[test]
    fn spans_and_moments_come_out_as_such() {
        let eval = |source: &str| Expression::compile(source).unwrap().eval(&scope()).unwrap();
        assert_eq!(eval("duration('90s')"), Computed::Span(Span::from_secs(90)));
        assert_eq!(eval("timestamp('1970-01-01T00:00:01Z')"), Computed::Moment(Moment(1_000_000)));
        assert_eq!(eval("size(body.data.list)"), Computed::Json(json!(2)));
    }

    #[test]
    fn reads_of_steps_are_known_with_their_guard() {
        let reads = |source: &str| Expression::compile(source).unwrap().steps_read().clone();
        assert_eq!(reads("steps.payment.event.amount > 3"), BTreeMap::from([("payment".to_owned(), Guard::Bare)]));
        assert_eq!(
            reads("has(steps.payment.event) ? steps.payment.event.x : steps['gift'].at"),
            BTreeMap::from([("payment".to_owned(), Guard::Has), ("gift".to_owned(), Guard::Bare)])
        );
        let attributes = Expression::compile("attributes.gift == true && has(attributes.size)").unwrap();
        assert_eq!(
            *attributes.attributes_read(),
            BTreeMap::from([("gift".to_owned(), Guard::Bare), ("size".to_owned(), Guard::Has)])
        );
        let all = Expression::compile("body.items.all(i, i.n > 0)").unwrap();
        assert_eq!(all.variables().iter().map(String::as_str).collect::<Vec<_>>(), ["body"]);
    }

    #[test]
    fn an_expression_may_be_as_long_and_as_deep_as_is_said_and_no_more() {
        let long = |bytes: usize| format!("'{}'", "x".repeat(bytes - 2));
        assert!(Expression::compile(&long(EXPRESSION_BYTES_MAX)).is_ok());
        assert!(Expression::compile(&long(EXPRESSION_BYTES_MAX + 1)).unwrap_err().contains("longer than"));
        let list = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let deepest = (1..DEPTH_MAX + 2).take_while(|depth| Expression::compile(&list(*depth)).is_ok()).last();
        assert_eq!(deepest, Some(DEPTH_MAX - 1), "the number in the middle is a level too");
    }
}
