//! The API described by its own code: the OpenAPI document, and a page that shows it without asking anyone else.
//!
//! The page is made once, from the document, with no script: what the document says is what is shown.

use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::Value;

use super::problem::Kind;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(super::described()).unwrap_or_else(|error| error.to_string().into()));

static PAGE: LazyLock<String> = LazyLock::new(|| render(&DOCUMENT));

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1f23;background:#fff}\
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f4f5f7;padding:.8rem;overflow:auto;border-radius:4px}\
h2{margin-top:2.5rem;border-bottom:1px solid #d5d9de}h3{margin:1.6rem 0 .2rem}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}summary{cursor:pointer}\
@media(prefers-color-scheme:dark){body{color:#dde1e6;background:#15181c}pre{background:#1f2329}a{color:#8ab4f8}}";

/// The OpenAPI document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The page.
pub fn page() -> &'static str {
    &PAGE
}

fn render(document: &Value) -> String {
    let mut html = String::new();
    let title = text(document, "/info/title");
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title} <small>{}</small></h1><p>{}</p>\
         <p>The same for programs: <a href=\"/openapi.json\">/openapi.json</a>.</p><h2>Calls</h2>",
        text(document, "/info/version"),
        text(document, "/info/description"),
    );
    for (path, item) in fields(document, "/paths") {
        for (method, operation) in item.as_object().into_iter().flatten() {
            operation_html(&mut html, path, method, operation);
        }
    }
    html.push_str("<h2>Problems</h2><table><tr><th>code</th><th>status</th><th>meaning</th></tr>");
    for kind in Kind::ALL {
        let (status, code, title) = kind.describe();
        let _ = write!(
            html,
            "<tr id=\"{code}\"><td><code>{code}</code></td><td>{}</td><td>{}</td></tr>",
            status.as_u16(),
            escape(title)
        );
    }
    html.push_str("</table><h2>Shapes</h2>");
    for (name, schema) in fields(document, "/components/schemas") {
        let shape = serde_json::to_string_pretty(schema).unwrap_or_default();
        let name = escape(name);
        let _ = write!(html, "<details id=\"{name}\"><summary>{name}</summary><pre>{}</pre></details>", escape(&shape));
    }
    html.push_str("</html>\n");
    html
}

fn operation_html(html: &mut String, path: &str, method: &str, operation: &Value) {
    let id = text(operation, "/operationId");
    let _ = write!(
        html,
        "<h3 id=\"{id}\"><code>{} {}</code></h3><p>{}</p>",
        escape(&method.to_uppercase()),
        escape(path),
        text(operation, "/summary")
    );
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        html.push_str("<table>");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                text(parameter, "/name"),
                text(parameter, "/in"),
                text(parameter, "/description")
            );
        }
        html.push_str("</table>");
    }
    if let Some(body) = shape_name(&operation["requestBody"]) {
        let _ = write!(html, "<p>Takes <a href=\"#{body}\">{body}</a></p>");
    }
    html.push_str("<table>");
    for (status, response) in fields(operation, "/responses") {
        let shape = shape_name(response).map(|it| format!("<a href=\"#{it}\">{it}</a>")).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td><code>{}</code></td><td>{}</td><td>{shape}</td></tr>",
            escape(status),
            text(response, "/description")
        );
    }
    html.push_str("</table>");
}

/// The name of the schema a body has, whatever its content type.
fn shape_name(body: &Value) -> Option<String> {
    let content = body["content"].as_object()?.values().next()?;
    Some(escape(content["schema"]["$ref"].as_str()?.rsplit('/').next()?))
}

fn fields<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

fn text(value: &Value, pointer: &str) -> String {
    escape(value.pointer(pointer).and_then(Value::as_str).unwrap_or(""))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
