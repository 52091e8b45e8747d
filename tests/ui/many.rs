//! Many orders at once: ten thousand by what they have in common, and some that are ticked.

use serde_json::{Value, json};

use super::browser::Browser;
use super::program::Program;

const ORDERS: usize = 10_000;
/// A second.
const RATE: f64 = 50.0;
/// Results looked at.
const LOOKED_AT: usize = 200;

/// How many orders the page says were acted on.
const ACTED_ON: &str =
    "return Number(document.querySelector('main [role=progressbar]')?.getAttribute('aria-valuenow') ?? -1)";

async fn acted_on(browser: &Browser, at_least: i64) -> i64 {
    super::until(&format!("{at_least} orders were acted on"), async || {
        let count = browser.script(ACTED_ON).await.as_i64()?;
        (count >= at_least).then_some(count)
    })
    .await
}

#[tokio::test]
async fn ten_thousand_stuck_orders_are_retried_at_a_rate_watched_and_stopped_from_the_page() {
    let program = Program::serve().await;
    program.decline(0..ORDERS).await;
    let all = "/v1/orders?status=stuck&count=true&limit=1";
    program.until("all are stuck", all, |it| (it["count"] == ORDERS).then_some(())).await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/orders?status=stuck").await;
    browser.click("//main//button[starts-with(normalize-space(.), 'Act on all')]").await;
    // The first of the actions is the one that is meant.
    browser.fill("Orders a second", &RATE.to_string()).await;
    browser.fill("Your name", "ada").await;
    browser.fill("Reason", "the bank is back").await;
    browser.confirm().await;
    browser
        .until_script(
            "the preview",
            "return document.querySelector('dialog')?.innerText.includes('Retry 10,000 orders')",
        )
        .await;
    browser.fill("Type 10000 to confirm", "10000").await;
    browser.confirm().await;
    browser.until_script("its page", "return location.pathname.startsWith('/actions/')").await;

    // It is watched: more and more, without a reload.
    browser.script("window.isTheSamePage = true").await;
    let some = acted_on(&browser, 50).await;
    acted_on(&browser, some + 50).await;
    assert_eq!(browser.script("return window.isTheSamePage").await, true, "it was not loaded anew");
    let id = browser.path().await.trim_start_matches("/actions/").to_owned();

    // A second person finds it, and stops it.
    browser.go("/orders").await;
    browser.click(&format!("//main//a[@href='/actions/{id}' and contains(., 'Retry 10,000 orders')]")).await;
    browser.until_script("its page again", "return location.pathname.startsWith('/actions/')").await;
    acted_on(&browser, i64::try_from(LOOKED_AT).unwrap()).await;
    browser.press_button("Stop …").await;
    browser.fill("Reason", "enough seen").await;
    browser.confirm().await;
    browser.says(&["stopped", "enough seen", "the bank is back"]).await;

    let path = format!("/v1/actions/{id}?limit={LOOKED_AT}");
    let action = program.get(&path).await;
    let count = |name: &str| action[name].as_u64().unwrap();
    assert_eq!(
        (&action["status"], &action["actor"], count("refused"), count("gone")),
        (&json!("stopped"), &json!("ada"), 0, 0)
    );
    assert_eq!(count("total"), ORDERS as u64);
    assert_eq!(count("done") + count("left"), ORDERS as u64);
    assert!(count("left") > 0, "a stop leaves the rest: {}", action["done"]);
    held_the_rate(&action);
    // Each has its result, and each result its entry in the trail of its order.
    let last = &action["results"][LOOKED_AT - 1];
    let audit = format!("/v1/sagas/order/orders/{}/audit", last["order_id"].as_str().unwrap());
    let entries = program.get(&audit).await["entries"].as_array().unwrap().clone();
    let command = entries.iter().find(|it| it["sequence"] == last["sequence"]).expect("its entry");
    assert_eq!(
        (&command["kind"], &command["name"], &command["reason"]),
        (&json!("command"), &json!("retry"), &json!("the bank is back"))
    );
    browser.click("//main//*[@id='results']//a[contains(@href, 'outcome=done')]").await;
    let first = action["results"][0]["order_id"].as_str().unwrap();
    browser.find(&format!("//main//*[@id='results']//a[@href='/sagas/order/orders/{first}']")).await;
    // What it left is as it was.
    let left = program.get("/v1/orders?status=stuck&count=true&limit=1").await;
    assert_eq!(left["count"], action["left"]);
    browser.go("/actions").await;
    browser.says(&["Retry 10,000 orders", "stopped", "ada"]).await;
    browser.close().await;
}

/// Never faster than was asked for, however slow the machine is: the n-th order is not acted on before n times the pause.
fn held_the_rate(action: &Value) {
    let moment = |it: &Value| escrow::saga::time::Moment::parse(it.as_str().unwrap()).unwrap();
    let began = moment(&action["created_at"]);
    for (place, result) in action["results"].as_array().unwrap().iter().enumerate() {
        assert_eq!(result["outcome"], "done", "{result}");
        let after = moment(&result["at"]).since(began).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let earliest = place as f64 / RATE;
        assert!(after + 0.001 >= earliest, "order {place} after {after} s, and not before {earliest} s");
    }
}

#[tokio::test]
async fn what_is_done_about_ticked_orders_is_one_action_on_exactly_these() {
    let program = Program::serve().await;
    program.decline(0..5).await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/orders?status=stuck").await;
    for order in ["1", "3"] {
        browser.click(&format!("//main//input[@aria-label='Tick order {order}']")).await;
    }
    browser.press_button("Act on the ticked …").await;
    browser.fill("Your name", "ada").await;
    browser.fill("Reason", "these two alone").await;
    browser.confirm().await;
    browser
        .until_script("the preview", "return document.querySelector('dialog')?.innerText.includes('Retry 2 orders')")
        .await;
    browser.confirm().await;
    browser.until_script("its page", "return location.pathname.startsWith('/actions/')").await;
    browser.says(&["2 orders named one by one", "these two alone", "2 of 2"]).await;
    let id = browser.path().await.trim_start_matches("/actions/").to_owned();
    let ended = |it: &Value| (it["status"] == "done").then(|| it.clone());
    let action = program.until("it is done", &format!("/v1/actions/{id}"), ended).await;
    let ids: Vec<&str> =
        action["results"].as_array().unwrap().iter().filter_map(|it| it["order_id"].as_str()).collect();
    assert_eq!((ids.len(), ids.contains(&"1"), ids.contains(&"3")), (2, true, true));
    assert_eq!(
        (&action["done"], &action["named"], &action["filter"]),
        (&json!(2), &json!(2), &json!({"status": "stuck"}))
    );
    let stuck = program.get("/v1/orders?status=stuck").await;
    assert_eq!(stuck["orders"].as_array().unwrap().len(), 3, "the others are as they were");
    browser.close().await;
}
