//! What happens is seen as it happens, and while nobody looks nothing is asked.

use serde_json::Value;

use super::browser::Browser;
use super::program::Program;

#[tokio::test]
async fn a_transition_appears_without_a_reload() {
    let program = Program::start();
    // It stays where it is until something comes: nothing depends on how long the browser takes.
    program.doubt("watched").await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/sagas/order/orders/watched").await;
    browser.says(&["stuck", "#1"]).await;
    browser.script("window.isTheSamePage = true").await;
    program.tell("watched", &[("PaymentProcessed", "late".to_owned())]).await;
    let came = |it: &Value| {
        let came = it["entries"].as_array()?.iter().find(|it| it["name"] == "PaymentProcessed")?;
        came["sequence"].as_u64()
    };
    let came = program.until("it is in the trail", "/v1/sagas/order/orders/watched/audit?limit=500", came).await;
    let shown = format!(
        "return [...document.querySelectorAll('main .entry')].some((it) => it.innerText.includes('#{came}') && it.innerText.includes('PaymentProcessed'))"
    );
    browser.until_script("the page shows it", &shown).await;
    assert_eq!(browser.script("return window.isTheSamePage").await, true, "it was not loaded anew");
    browser.close().await;
}

/// How many orders there are; the demo goes on placing them.
async fn orders(program: &Program) -> u64 {
    let status = program.get("/v1/status").await;
    status["sagas"][0]["orders"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
}

#[tokio::test]
async fn nothing_is_asked_while_the_page_is_hidden() {
    let program = Program::start();
    let mut browser = Browser::open(&program.origin).await;
    browser.go("/").await;
    let page = browser.hide().await;
    // What was on its way when it was hidden may still come; then it is quiet, however much happens.
    let mut quiet = false;
    for _ in 0..20 {
        let before = orders(&program).await;
        browser.new_requests().await;
        super::until("much happens", async || (orders(&program).await > before + 10).then_some(())).await;
        quiet = asked_of(&program, &browser.new_requests().await).is_empty();
        if quiet {
            break;
        }
    }
    assert!(quiet, "a hidden page goes on asking");
    browser.show(page).await;
    browser.until_script("the page is seen again", "return !document.hidden").await;
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while asked_of(&program, &browser.new_requests().await).is_empty() {
        assert!(std::time::Instant::now() < deadline, "it does not ask again");
        tokio::time::sleep(super::LOOK_EVERY).await;
    }
    browser.close().await;
}

/// Those of the requests that are the API's.
fn asked_of<'a>(program: &Program, requests: &'a [String]) -> Vec<&'a String> {
    let api = format!("{}/v1/", program.origin);
    requests.iter().filter(|it| it.starts_with(&api)).collect()
}
