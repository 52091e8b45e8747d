//! "Where is order 4711?" in as few keystrokes as there can be.

use fantoccini::key::Key;

use super::browser::Browser;
use super::program::Program;

#[tokio::test]
async fn a_slash_the_id_and_enter_show_an_order_from_any_page() {
    let program = Program::start();
    program.tell("find-me-4711", &[("OrderPlaced", "1".to_owned())]).await;
    let browser = Browser::open(&program.origin).await;
    for from in ["/", "/orders", "/map", "/system"] {
        browser.go(from).await;
        browser.keys("/").await;
        browser.keys("find-me-4711").await;
        browser.key(Key::Enter).await;
        browser
            .until_script("the order's page", "return location.pathname === '/sagas/order/orders/find-me-4711'")
            .await;
        browser.says(&["find-me-4711"]).await;
    }
    browser.close().await;
}

#[tokio::test]
async fn an_id_that_is_not_known_says_what_was_looked_at() {
    let program = Program::start();
    let browser = Browser::open(&program.origin).await;
    browser.go("/").await;
    browser.keys("/").await;
    browser.keys("nobody-knows-it").await;
    browser.key(Key::Enter).await;
    browser.says(&["nobody-knows-it"]).await;
    browser.close_but(&["nobody-knows-it"]).await;
}
