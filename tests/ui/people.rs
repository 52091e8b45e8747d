//! What people decide on the page: an incident is in somebody's hand, a message belongs to an order, the brake may come off.

use serde_json::{Value, json};

use super::browser::Browser;
use super::program::Program;

#[tokio::test]
async fn an_incident_is_acknowledged_and_everybody_sees_by_whom() {
    let program = Program::serve().await;
    program.decline(0..3).await;
    let count = |it: &Value| (it["incidents"][0]["count"] == 3).then(|| it["incidents"][0]["id"].clone());
    let id = program.until("there is an incident", "/v1/incidents", count).await;
    let path = format!("/incidents/{}", id.as_str().unwrap());
    let browser = Browser::open(&program.origin).await;
    browser.go("/incidents").await;
    browser.press_button("Acknowledge").await;
    browser.fill("Your name", "ada").await;
    // Without a reason nothing is done.
    browser.confirm().await;
    let asks = "return document.querySelector('dialog').innerText.includes('Reason is needed')";
    browser.until_script("it asks for one", asks).await;
    browser.fill("Reason", "calling the bank").await;
    browser.confirm().await;
    browser.says(&["acknowledged", "ada"]).await;
    let kept = program.get(&format!("/v1{path}")).await;
    assert_eq!(
        (&kept["acked_by"], &kept["acked_reason"], &kept["status"]),
        (&json!("ada"), &json!("calling the bank"), &json!("open"))
    );
    browser.go(&path).await;
    // Who was told stands there too; here nobody can be.
    browser.says(&["ada", "Who was told", "Nobody was told so far"]).await;
    let buttons = "return [...document.querySelectorAll('main button')].filter((it) => it.innerText.trim() === 'Acknowledge').length";
    assert_eq!(browser.script(buttons).await, 0, "it is in hand");
    browser.close().await;
}

#[tokio::test]
async fn a_message_that_names_no_order_is_replayed_for_the_one_a_person_names() {
    let program = Program::serve().await;
    program.tell("4711", &[("OrderPlaced", "placed".to_owned())]).await;
    program.tell_unplaced().await;
    let first = |it: &Value| it["messages"][0]["id"].as_u64();
    let id = program.until("the message is in quarantine", "/v1/quarantine", first).await;
    let browser = Browser::open(&program.origin).await;
    browser.go(&format!("/quarantine/{id}")).await;
    browser.press_button("Replay").await;
    browser.fill("Order id", "4711").await;
    browser.fill("Your name", "ada").await;
    browser.fill("Reason", "the bank says so").await;
    browser.confirm().await;
    browser.says(&["replayed", "ada", "the bank says so"]).await;
    let done = |it: &Value| (it["status"] == "completed").then_some(());
    program.until("the order has its answer", "/v1/sagas/order/orders/4711", done).await;
    assert_eq!(program.get(&format!("/v1/quarantine/{id}")).await["resolved"], "replayed");
    browser.close().await;
}

#[tokio::test]
async fn a_brake_that_holds_is_reset_with_a_reason() {
    let program = Program::start_busy();
    let latched = |it: &Value| it["brake"]["latched_at"].as_str().map(str::to_owned);
    let browser = Browser::open(&program.origin).await;
    program.until("the brake holds", "/v1/sagas/order", latched).await;
    browser.go("/sagas/order").await;
    browser.press_button("Reset the brake").await;
    browser.fill("Your name", "ada").await;
    browser.fill("Reason", "inventory is back").await;
    browser.confirm().await;
    let reset = |it: &Value| {
        let entries = it["entries"].as_array()?;
        entries.iter().find(|it| it["name"] == "brake_reset").cloned()
    };
    let entry = program.until("it is in the journal", "/v1/journal?saga=order&actor=ada", reset).await;
    assert_eq!((&entry["actor"], &entry["reason"]), (&json!("ada"), &json!("inventory is back")));
    browser.until_script("the question is answered", "return document.querySelector('dialog') === null").await;
    browser.close().await;
}

#[tokio::test]
async fn the_system_page_shows_what_the_doctor_finds() {
    let program = Program::serve().await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/system").await;
    browser
        .says(&["Doctor", "SQLite", "the tables are at version", "saga order version 1 is stored as the file has it"])
        .await;
    browser.close().await;
}
