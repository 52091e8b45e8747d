//! An order with a very long trail: it scrolls, because only what can be seen is in the document.

use super::browser::Browser;
use super::program::Program;

/// Entries of the trail.
const ENTRIES: usize = 20_000;
/// Events given at once.
const AT_ONCE: usize = 500;
/// More rows than any screen shows, and far fewer than there are.
const ROWS_MAX: i64 = 200;

/// How many rows of the trail are in the document, and whether the last one is among them.
const ROWS: &str = "return document.querySelectorAll('main .virtual-row').length";

#[tokio::test]
async fn twenty_thousand_entries_scroll_and_few_of_them_are_in_the_document() {
    let program = Program::start();
    program.tell("long", &[("OrderPlaced", "0".to_owned())]).await;
    // Another message for a step that is done is journaled as repeated.
    for from in (1..ENTRIES).step_by(AT_ONCE) {
        let events: Vec<_> = (from..from + AT_ONCE).map(|it| ("OrderPlaced", it.to_string())).collect();
        program.tell("long", &events).await;
    }
    let browser = Browser::open(&program.origin).await;
    browser.go("/sagas/order/orders/long").await;
    browser.until_script("the trail is drawn", "return document.querySelector('main .virtual-row') !== null").await;
    let last = "return [...document.querySelectorAll('main .virtual-row')]
        .some((it) => it.getAttribute('aria-posinset') === it.getAttribute('aria-setsize') && Number(it.getAttribute('aria-setsize')) >= 20000)";
    // To the end, as somebody who presses End again and again while more is read.
    super::until("the last entry is seen", async || {
        browser.script("const it = document.querySelector('main .virtual'); it.scrollTop = it.scrollHeight").await;
        let rows = browser.script(ROWS).await.as_i64().unwrap();
        assert!((1..=ROWS_MAX).contains(&rows), "{rows} rows are in the document");
        (browser.script(last).await == true).then_some(())
    })
    .await;
    for place in [0.5, 0.1, 0.9, 0.0] {
        let script =
            format!("const it = document.querySelector('main .virtual'); it.scrollTop = {place} * it.scrollHeight");
        browser.script(&script).await;
        // What is at that place is drawn, not a blank.
        let drawn = "const list = document.querySelector('main .virtual').getBoundingClientRect();
            return [...document.querySelectorAll('main .virtual-row')].some((it) => {
                const row = it.getBoundingClientRect();
                return row.top < list.bottom - 4 && row.bottom > list.top + 4 && it.innerText.trim() !== '';
            })";
        browser.until_script("rows are drawn where it is scrolled to", drawn).await;
        let rows = browser.script(ROWS).await.as_i64().unwrap();
        assert!(rows <= ROWS_MAX, "{rows} rows are in the document");
    }
    browser.close().await;
}
