//! A headless Chromium of its own for each test, driven over WebDriver, and what it noticed while it was driven.
//!
//! ```text
//!   test ──▶ chromedriver (free port) ──▶ chromium (temporary profile) ──▶ the page
//!              └─ its log: the console, and every request the page made
//! ```
//!
//! Elements are found as people find them: by role and name. Nothing waits for a time; everything waits for a condition.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};

use super::PATIENCE;

/// A browser.
pub struct Browser {
    client: Client,
    session: String,
    driver: Driver,
    http: reqwest::Client,
    /// Where everything it asks for has to be.
    origin: String,
    /// What it logged so far, by the driver's name of the log.
    console: Vec<Value>,
    requests: Vec<String>,
    /// The profile goes with it.
    _profile: tempfile::TempDir,
}

/// The WebDriver server; takes its browser along when it goes.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts: install Debian's chromium-driver, or run ./test");
        Self { process, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Asked to shut down it ends its browsers; ended otherwise it would leave them behind.
        let asked = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let deadline = Instant::now() + PATIENCE;
        while asked.as_ref().is_ok_and(std::process::ExitStatus::success) && Instant::now() < deadline {
            if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    /// A browser for the page at `origin`.
    pub async fn open(origin: &str) -> Self {
        let driver = Driver::start();
        let http = reqwest::Client::new();
        super::until("chromedriver answers", async || {
            let status: Value = http.get(driver.url("/status")).send().await.ok()?.json().await.ok()?;
            (status["value"]["ready"] == true).then_some(())
        })
        .await;
        let profile = tempfile::Builder::new().prefix("escrow-ui-").tempdir().unwrap();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(profile.path()))
            .connect(&driver.url(""))
            .await
            .expect("chromium starts");
        let session = client.session_id().await.unwrap().expect("there is a session");
        let origin = origin.to_owned();
        let mut browser =
            Self { client, session, driver, http, origin, console: vec![], requests: vec![], _profile: profile };
        browser.size(1280, 900).await;
        browser
    }

    /// A command of Chromium's own protocol.
    pub async fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.driver(
            &format!("/session/{}/goog/cdp/execute", self.session),
            json!({"cmd": command, "params": parameters}),
        )
        .await
    }

    async fn driver(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(self.driver.url(path)).json(&body).send().await.unwrap();
        let status = answer.status();
        let mut answer: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {answer}");
        answer["value"].take()
    }

    /// The size of what is seen, in pixels of the page.
    pub async fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the system of the reader is set to: `light` or `dark`.
    pub async fn theme(&self, word: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": word}]});
        self.chromium("Emulation.setEmulatedMedia", features).await;
    }

    /// Goes to a path by its address and waits until the page is there.
    pub async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.origin)).await.unwrap();
        self.settled().await;
    }

    /// Waits until the page has a title and reads nothing any more.
    pub async fn settled(&self) {
        self.until_script(
            "the page is there",
            "return document.querySelector('main h1') !== null && document.querySelector('main .loading') === null",
        )
        .await;
    }

    /// Where it is.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.as_str().strip_prefix(&self.origin).unwrap_or(url.as_str()).to_owned()
    }

    /// Runs a script in the page.
    pub async fn script(&self, text: &str) -> Value {
        self.client.execute(text, vec![]).await.unwrap()
    }

    /// Runs a script that calls its last argument with the answer.
    pub async fn script_async(&self, text: &str) -> Value {
        self.client.execute_async(text, vec![]).await.unwrap()
    }

    /// Waits until a script is true.
    pub async fn until_script(&self, what: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A script that runs into a navigation fails; the next one will not.
            if self.client.execute(text, vec![]).await.is_ok_and(|it| it == Value::Bool(true)) {
                return;
            }
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "not so in time: {what}\nat {}\n{}", self.path().await, self.text().await);
            tokio::time::sleep(super::LOOK_EVERY).await;
        }
    }

    /// Waits until the main part of the page says all of these.
    pub async fn says(&self, parts: &[&str]) {
        let script = format!(
            "const text = document.querySelector('main').innerText; return {}.every((it) => text.includes(it))",
            json!(parts)
        );
        self.until_script(&format!("the page says {parts:?}"), &script).await;
    }

    /// What the main part of the page says.
    pub async fn text(&self) -> String {
        let script = "return document.querySelector('main')?.innerText ?? document.body.innerText";
        self.client.execute(script, vec![]).await.ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// What can be seen that XPath finds, once there is something.
    pub async fn find(&self, xpath: &str) -> Element {
        super::until(&format!("there is {xpath}"), async || {
            for element in self.client.find_all(Locator::XPath(xpath)).await.ok()? {
                if element.is_displayed().await.unwrap_or(false) {
                    return Some(element);
                }
            }
            None
        })
        .await
    }

    /// Clicks what XPath finds. What was redrawn meanwhile is looked for again.
    pub async fn click(&self, xpath: &str) {
        super::until(&format!("{xpath} can be clicked"), async || self.find(xpath).await.click().await.ok()).await;
    }

    /// Clicks the button with this name.
    pub async fn press_button(&self, name: &str) {
        self.click(&format!("//button[normalize-space(.)='{name}']")).await;
    }

    /// Writes into the field of the open dialog with this label, in place of what is there.
    pub async fn fill(&self, label: &str, text: &str) {
        let field = format!("//dialog//*[@id = //dialog//label[normalize-space(.)='{label}']/@for]");
        let field = self.find(&field).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// The same with keys alone; the field is to have the focus already.
    pub async fn fill_focused(&self, label: &str, text: &str) {
        let labelled = "return document.activeElement.labels?.[0]?.innerText.trim() ?? ''";
        assert_eq!(self.script(labelled).await, label, "which field has the focus");
        self.keys(text).await;
    }

    /// Presses the confirming button of the open dialog.
    pub async fn confirm(&self) {
        self.click("//dialog//button[@type='submit']").await;
    }

    /// Types text, key by key, into whatever has the focus.
    pub async fn keys(&self, text: &str) {
        let mut keys = KeyActions::new("keyboard".to_owned());
        for value in text.chars() {
            keys = keys.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.client.perform_actions(keys).await.unwrap();
    }

    /// Presses one of the keys that have names.
    pub async fn key(&self, key: Key) {
        self.keys(&char::from(key).to_string()).await;
    }

    /// A picture of what is seen, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.unwrap()
    }

    /// Opens another tab in front of the page, so that the page is hidden; gives what brings it back.
    pub async fn hide(&self) -> fantoccini::wd::WindowHandle {
        let page = self.client.window().await.unwrap();
        let other = self.client.new_window(true).await.unwrap();
        self.client.switch_to_window(other.handle).await.unwrap();
        page
    }

    /// Closes the tab in front, and shows the page again.
    pub async fn show(&self, page: fantoccini::wd::WindowHandle) {
        self.client.close_window().await.unwrap();
        self.client.switch_to_window(page).await.unwrap();
    }

    /// The requests made since the last time this was asked.
    pub async fn new_requests(&mut self) -> Vec<String> {
        let entries = self.log("performance").await;
        let mut urls = Vec::new();
        for entry in entries {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap_or("null")).unwrap();
            let message = &message["message"];
            if message["method"] == "Network.requestWillBeSent" {
                urls.push(message["params"]["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
        }
        self.requests.extend(urls.iter().cloned());
        urls
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.driver(&format!("/session/{}/se/log", self.session), json!({"type": kind})).await;
        entries.as_array().cloned().unwrap_or_default()
    }

    /// Ends it, and fails if anything went wrong on the way: an error in the console, a breach of the content security policy (which
    /// the console tells), or a request to anywhere but Escrow.
    pub async fn close(self) {
        self.close_but(&[]).await;
    }

    /// The same, but for errors the console tells about an address with one of these words in it.
    pub async fn close_but(mut self, expected: &[&str]) {
        let entries = self.log("browser").await;
        self.console.extend(entries);
        self.new_requests().await;
        let is_expected =
            |it: &Value| expected.iter().any(|word| it["message"].as_str().is_some_and(|it| it.contains(word)));
        let errors = self.console.iter().filter(|it| it["level"] == "SEVERE" && !is_expected(it));
        let errors: Vec<&Value> = errors.collect();
        assert!(errors.is_empty(), "the console has errors: {errors:#?}");
        // The browser's own first page has requests, too; the page could not make any of these.
        let own = [self.origin.as_str(), "data:", "about:blank", "chrome://"];
        let is_own = |url: &String| own.iter().any(|it| url.starts_with(it));
        let foreign: Vec<&String> = self.requests.iter().filter(|it| !is_own(it)).collect();
        assert!(foreign.is_empty(), "the page asked somebody else: {foreign:#?}");
        assert!(!self.requests.is_empty(), "the log of requests is empty, so it shows nothing");
        self.client.close().await.unwrap();
    }
}

fn capabilities(profile: &std::path::Path) -> Map<String, Value> {
    let mut arguments = vec![
        "--headless=new".to_owned(),
        format!("--user-data-dir={}", profile.display()),
        // Containers have a small /dev/shm.
        "--disable-dev-shm-usage".to_owned(),
        "--disable-gpu".to_owned(),
        "--no-first-run".to_owned(),
        // What the browser itself would ask for in the background.
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--lang=en".to_owned(),
    ];
    if is_root() {
        // Chromium refuses to be root inside its sandbox.
        arguments.push("--no-sandbox".to_owned());
    }
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        // A page may be slow to answer on a slow machine; what is awaited has bounds of its own.
        "timeouts": {"script": 120_000, "pageLoad": 120_000, "implicit": 0},
    });
    wanted.as_object().cloned().unwrap_or_default()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|it| it.stdout.trim_ascii() == b"0")
}
