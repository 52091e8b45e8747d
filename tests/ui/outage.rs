//! Three in the morning: what is wrong, which orders, why this one, and something done about it.

use serde_json::Value;

use super::browser::Browser;
use super::program::Program;

#[tokio::test]
async fn an_outage_is_followed_from_now_to_an_order_and_an_action_that_its_trail_shows() {
    let program = Program::start_busy();
    let browser = Browser::open(&program.origin).await;
    browser.go("/").await;
    // Inventory goes down, orders time out, the brake holds what would turn back: it appears without a reload.
    browser.click("//main//*[@data-row and contains(., 'brake')]//a[starts-with(@href, '/incidents/')]").await;
    browser.until_script("the incident's page", "return location.pathname.startsWith('/incidents/')").await;
    browser.says(&["brake"]).await;

    browser.click("//main//a[starts-with(@href, '/sagas/order/orders/')]").await;
    browser.until_script("the order's page", "return location.pathname.startsWith('/sagas/order/orders/')").await;
    // Where, why, and what can be done.
    browser.says(&["stuck", "inventory"]).await;
    let path = browser.path().await;

    browser.press_button("Release …").await;
    browser.fill("Your name", "ada").await;
    browser.fill("Reason", "inventory is back, undo it").await;
    browser.confirm().await;
    // The page shows it by itself: who, why, and what it led to.
    browser.says(&["ada", "inventory is back, undo it"]).await;
    let audit = format!("/v1{path}/audit?limit=500");
    let entry = |it: &Value| {
        let entries = it["entries"].as_array()?;
        entries.iter().find(|it| it["kind"] == "command" && it["reason"] == "inventory is back, undo it").cloned()
    };
    let entry = program.until("the command is in the trail", &audit, entry).await;
    assert_eq!((&entry["name"], &entry["actor"]), (&Value::from("release"), &Value::from("ada")), "{entry}");
    browser.says(&["compensat"]).await;
    browser.close().await;
}

#[tokio::test]
async fn a_message_in_quarantine_is_read_and_dropped_and_the_order_in_doubt_goes_on() {
    let program = Program::start();
    program.doubt("doubted").await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/quarantine").await;
    browser.click("//main//a[starts-with(@href, '/quarantine/')]").await;
    // What a message holds is text, whatever it looks like.
    browser.says(&["no order id", "<b>no order id</b>"]).await;
    assert_eq!(browser.script("return document.querySelectorAll('main b').length").await, 0);
    browser.press_button("Drop").await;
    browser.fill("Reason", "a test sent it").await;
    browser.confirm().await;
    browser.says(&["dropped", "a test sent it"]).await;
    let resumed = |it: &Value| (it["status"] != "stuck").then_some(());
    program.until("the order is in doubt no more", "/v1/sagas/order/orders/doubted", resumed).await;
    browser.close().await;
}

#[tokio::test]
async fn the_map_leads_to_the_orders_behind_a_number_and_a_saga_is_told_to_observe() {
    let program = Program::start();
    program.doubt("doubted").await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/map/order").await;
    let stuck = program.get("/v1/sagas/order/orders/doubted").await["stuck"]["step"].clone();
    let number = format!("stuck_on={}", stuck.as_str().unwrap());
    browser.click(&format!("//*[contains(@class, 'map-picture')]//a[contains(@href, '{number}')]")).await;
    browser.until_script("the orders behind it", "return location.pathname === '/orders'").await;
    browser.says(&["doubted"]).await;

    browser.go("/sagas/order").await;
    browser.press_button("Only observe").await;
    // Without a reason nothing is done.
    browser.confirm().await;
    browser
        .until_script(
            "it asks for one",
            "return document.querySelector('dialog').innerText.includes('Reason is needed')",
        )
        .await;
    browser.fill("Reason", "we look first").await;
    browser.confirm().await;
    browser.says(&["it tells, and asks nothing of the services", "Let it act"]).await;
    assert_eq!(program.get("/v1/sagas/order").await["mode"], "observe");
    browser.close().await;
}
