//! Every page, looked at: pictures to keep, nothing wider than the screen, and nothing axe-core calls serious.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::browser::Browser;
use super::program::Program;

/// axe-core, from its npm package; its licence lies beside it.
const AXE: &str = include_str!("axe.min.js");
/// Wide as a desk, narrow as a telephone.
const SIZES: [(&str, u32, u32); 2] = [("wide", 1280, 900), ("narrow", 390, 844)];
const THEMES: [&str; 2] = ["light", "dark"];

/// Pictures are kept here.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ui");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Every page: its name, and its address once the program has something to show on it.
async fn pages(program: &Program) -> Vec<(&'static str, String)> {
    program.doubt("doubted").await;
    let first = |list: &'static str, key: &'static str| {
        move |it: &Value| match &it[list][0][key] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    };
    let letter = program.until("a message is in quarantine", "/v1/quarantine", first("messages", "id")).await;
    let incident = program.until("there is an incident", "/v1/incidents", first("incidents", "id")).await;
    let ended = program.until("one ended", "/v1/orders?status=completed", first("orders", "order_id")).await;
    let bulk = json!({"filter": {"order_id": ended}, "action": "note", "reason": "looked at", "dry_run": false});
    let action = program.post("/v1/actions", &bulk).await["id"].as_str().unwrap().to_owned();
    vec![
        ("now", "/".to_owned()),
        ("orders", "/orders".to_owned()),
        ("order-stuck", "/sagas/order/orders/doubted".to_owned()),
        ("order-ended", format!("/sagas/order/orders/{ended}")),
        ("order-unknown", "/sagas/order/orders/nobody-knows-it".to_owned()),
        ("actions", "/actions".to_owned()),
        ("action", format!("/actions/{action}")),
        ("map", "/map".to_owned()),
        ("map-order", "/map/order".to_owned()),
        ("incidents", "/incidents".to_owned()),
        ("incident", format!("/incidents/{incident}")),
        ("quarantine", "/quarantine".to_owned()),
        ("quarantined", format!("/quarantine/{letter}")),
        ("sagas", "/sagas".to_owned()),
        ("saga", "/sagas/order".to_owned()),
        ("system", "/system".to_owned()),
    ]
}

/// What axe-core finds on the page as it is, from `serious` on; each a line with the places.
async fn violations(browser: &Browser) -> Vec<String> {
    browser.script(AXE).await;
    let found = browser
        .script_async(
            "const done = arguments[arguments.length - 1];
             axe.run(document, { resultTypes: ['violations'] }).then((it) => done(it.violations), (error) => done(String(error)));",
        )
        .await;
    let found = found.as_array().unwrap_or_else(|| panic!("axe-core failed: {found}"));
    let serious = found.iter().filter(|it| ["serious", "critical"].contains(&it["impact"].as_str().unwrap_or("")));
    serious.map(|it| format!("{} ({}): {}", it["id"], it["help"], places(it))).collect()
}

fn places(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().into_iter().flatten();
    let places: Vec<String> =
        nodes.map(|node| format!("\n      {} — {}", node["html"], node["failureSummary"])).collect();
    places.concat()
}

#[tokio::test]
async fn every_page_is_seen_in_both_themes_wide_and_narrow_and_nothing_is_seriously_inaccessible() {
    let program = Program::start();
    let pages = pages(&program).await;
    let mut browser = Browser::open(&program.origin).await;
    let mut complaints = Vec::new();
    for (size, width, height) in SIZES {
        browser.size(width, height).await;
        for theme in THEMES {
            browser.theme(theme).await;
            for (page, path) in &pages {
                browser.go(path).await;
                let name = format!("{page}-{theme}-{size}");
                std::fs::write(folder().join(format!("{name}.png")), browser.picture().await).unwrap();
                let sideways = "const it = document.documentElement; return it.scrollWidth > it.clientWidth";
                if browser.script(sideways).await == Value::Bool(true) {
                    complaints.push(format!("{name}: wider than the screen"));
                }
                complaints.extend(violations(&browser).await.into_iter().map(|it| format!("{name}: {it}")));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    // The page of an order nobody knows asks for it, and is told so; the browser calls that an error.
    browser.close_but(&["nobody-knows-it"]).await;
}
