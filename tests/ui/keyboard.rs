//! The same without a mouse: pages by letters, rows by j, and an action by Tab and Enter alone.

use fantoccini::key::Key;

use super::browser::Browser;
use super::program::Program;

/// More than any page has that can be reached.
const TABS_MAX: usize = 300;

/// What has the focus, by its text.
const FOCUSED: &str = "return document.activeElement?.innerText?.trim() ?? ''";

async fn tab_to(browser: &Browser, name: &str) {
    for _ in 0..TABS_MAX {
        browser.key(Key::Tab).await;
        if browser.script(FOCUSED).await == *name {
            return;
        }
    }
    panic!("Tab never reaches `{name}`\n{}", browser.text().await);
}

#[tokio::test]
async fn an_action_is_reached_and_done_by_keys_alone() {
    let program = Program::start();
    program.doubt("doubted").await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/").await;
    browser.keys("/").await;
    browser.keys("doubted").await;
    browser.key(Key::Enter).await;
    browser.says(&["doubted", "stuck"]).await;
    tab_to(&browser, "Release …").await;
    browser.key(Key::Enter).await;
    browser.until_script("a dialog asks", "return document.querySelector('dialog[open]') !== null").await;
    // The first empty field has the focus, and the focus does not leave the dialog.
    browser.fill_focused("Reason", "seen to by hand").await;
    browser.key(Key::Tab).await;
    browser.fill_focused("Your name", "grace").await;
    let confirm = browser.script("return document.querySelector('dialog button[type=submit]').innerText.trim()").await;
    tab_to(&browser, confirm.as_str().unwrap()).await;
    browser.key(Key::Enter).await;
    browser.until_script("it is done", "return document.querySelector('dialog') === null").await;
    browser.says(&["grace", "seen to by hand"]).await;
    browser.close().await;
}

#[tokio::test]
async fn every_page_has_its_letter_and_rows_are_walked_by_j() {
    let program = Program::start();
    program.tell("walked", &[("OrderPlaced", "1".to_owned())]).await;
    let browser = Browser::open(&program.origin).await;
    browser.go("/").await;
    let letters = [
        ('o', "/orders"),
        ('m', "/map/order"),
        ('i', "/incidents"),
        ('q', "/quarantine"),
        ('s', "/sagas"),
        ('y', "/system"),
        ('n', "/"),
    ];
    for (letter, path) in letters {
        browser.keys(&format!("g{letter}")).await;
        browser.until_script(path, &format!("return location.pathname === '{path}'")).await;
    }
    browser.keys("?").await;
    browser.until_script("the keys are told", "return document.querySelector('dialog[open]') !== null").await;
    browser.key(Key::Escape).await;
    browser.keys("gs").await;
    let listed =
        "return location.pathname === '/sagas' && document.querySelector('main a[href=\"/sagas/order\"]') !== null";
    browser.until_script("the list of sagas", listed).await;
    browser.keys("j").await;
    browser.key(Key::Enter).await;
    browser.until_script("the saga in hand", "return location.pathname === '/sagas/order'").await;
    browser.close().await;
}
