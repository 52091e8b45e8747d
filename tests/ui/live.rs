//! What happens is seen as it happens, and while nobody looks nothing is asked.

use super::browser::Browser;
use super::program::Program;

#[tokio::test]
async fn a_transition_appears_without_a_reload() {
    let program = Program::start();
    program.tell("watched", &[("OrderPlaced", "1".to_owned())]).await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/sagas/order/orders/watched").await;
    browser.says(&["PaymentProcessed"]).await;
    browser.script("window.isTheSamePage = true").await;
    let paid = [("PaymentProcessed", "paid-1".to_owned()), ("InventoryReserved", "kept-1".to_owned())];
    program.tell("watched", &paid).await;
    browser.says(&["NotificationSent"]).await;
    program.tell("watched", &[("NotificationSent", "told-1".to_owned())]).await;
    browser.says(&["completed"]).await;
    assert_eq!(browser.script("return window.isTheSamePage").await, true, "it was not loaded anew");
    browser.close().await;
}

/// How many entries the journal has had.
async fn newest(program: &Program) -> i64 {
    let journal = program.get("/v1/journal?limit=1").await;
    journal["entries"][0]["position"].as_i64().expect("the newest entry has a position")
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
        let before = newest(&program).await;
        browser.new_requests().await;
        super::until("much happens", async || (newest(&program).await > before + 30).then_some(())).await;
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
