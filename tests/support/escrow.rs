//! Escrow as its users run it: the program, its flags, its API.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that should happen; machines are shared and slow.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// One Escrow: its settings, and the process while it runs.
pub struct Escrow {
    folder: tempfile::TempDir,
    database_url: String,
    amqp_url: String,
    name: String,
    port: u16,
    program: PathBuf,
    /// What it finds in its environment besides.
    environment: Vec<(String, String)>,
    /// The command that starts it, if it is not started straight.
    launcher: Vec<String>,
    process: Mutex<Option<Child>>,
    client: reqwest::Client,
}

impl Escrow {
    /// An Escrow that follows `definition`; not started yet.
    pub fn new(definition: &str, database_url: &str, amqp_url: &str) -> Self {
        Self::with_sagas(&[("saga", definition)], database_url, amqp_url)
    }

    /// An Escrow that follows several definitions, each with the name of its file; not started yet.
    pub fn with_sagas(definitions: &[(&str, &str)], database_url: &str, amqp_url: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("escrow-it-").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sagas")).unwrap();
        for (name, text) in definitions {
            std::fs::write(folder.path().join("sagas").join(format!("{name}.yaml")), text).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            folder,
            database_url: database_url.to_owned(),
            amqp_url: amqp_url.to_owned(),
            name: "default".to_owned(),
            port,
            program: env!("CARGO_BIN_EXE_escrow").into(),
            environment: Vec::new(),
            launcher: Vec::new(),
            process: Mutex::new(None),
            client: reqwest::Client::new(),
        }
    }

    /// The same from another build of the program.
    #[allow(dead_code, reason = "for benches alone")]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// The same, started with one more variable in its environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, started by a command that ends in the program's.
    pub fn launched_by(mut self, command: &[&str]) -> Self {
        self.launcher = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The same under another name: with a tap of its own.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The folder of the definitions it follows.
    pub fn sagas(&self) -> PathBuf {
        self.folder.path().join("sagas")
    }

    /// The file of a definition that stands alone.
    pub fn definitions(&self) -> PathBuf {
        self.sagas().join("saga.yaml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Gives the program another definition, for its next start.
    pub fn define(&self, definition: &str) {
        std::fs::write(self.definitions(), definition).unwrap();
    }

    /// Starts the program; [`ready`](Self::ready) waits for it.
    pub fn start(&self) {
        self.start_as(Some(&self.amqp_url), &[]);
    }

    /// Starts it with another broker, or none, and with more in its environment.
    pub fn start_as(&self, amqp_url: Option<&str>, environment: &[(&str, &str)]) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let program = self.program.to_str().expect("a path of text");
        let mut words = self.launcher.iter().map(String::as_str).chain([program]);
        let child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .args(["serve", "--database-url", &self.database_url])
            .args(amqp_url.iter().flat_map(|url| ["--amqp-url", url]))
            .args(["--name", &self.name, "--listen", &format!("127.0.0.1:{}", self.port), "--sagas"])
            .arg(self.sagas())
            .env("RUST_LOG", "info,lapin=off")
            .env("ESCROW_LOG", "human")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        *self.process.lock().unwrap() = Some(child);
    }

    /// Starts it and waits until it is ready.
    pub async fn run(&self) {
        self.start();
        self.ready().await;
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&self) {
        self.until("it is ready", async || {
            let answer = self.client.get(self.url("/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until `/readyz` answers that it is not.
    pub async fn unready(&self) {
        self.until("it is not ready", async || {
            let answer = self.client.get(self.url("/readyz")).send().await.ok()?;
            (answer.status().as_u16() == 503).then_some(())
        })
        .await;
    }

    /// Ends the program without a chance to do anything.
    pub fn kill_9(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The process, while it runs.
    #[allow(dead_code, reason = "for benches alone")]
    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().as_ref().expect("it runs").id()
    }

    /// How the process ended by itself; `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.process.lock().unwrap().as_mut().expect("it was started").try_wait().unwrap()
    }

    /// Ends it as an operator does; answers its exit code.
    pub fn terminate(&self) -> Option<i32> {
        let mut child = self.process.lock().unwrap().take()?;
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        child.wait().unwrap().code()
    }

    /// Limits how large each file it writes may get, as a full disk would.
    pub fn limit_files(&self, limit: &str) {
        let process = self.process.lock().unwrap();
        let pid = process.as_ref().expect("it runs").id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={limit}:")]).status();
        assert!(set.is_ok_and(|it| it.success()), "prlimit --pid {pid}");
    }

    /// Stops the process where it stands (`-STOP`), or lets it go on (`-CONT`).
    pub fn signal(&self, signal: &str) {
        let process = self.process.lock().unwrap();
        let pid = process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().is_ok_and(|it| it.success()), "kill {signal} {pid}");
    }

    /// Runs another command of the program against the same settings.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(&self.program)
            .args(arguments)
            .env("ESCROW_SERVER", format!("http://127.0.0.1:{}", self.port))
            .env("DATABASE_URL", &self.database_url)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// An address of its API.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What the API answers; `None` while it does not, or with anything but success.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.client.get(self.url(path)).send().await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    }

    /// Posts JSON; answers status and body.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Posts to a program that may die meanwhile; answers status and body, if there is an answer.
    pub async fn try_post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Option<(u16, Value)> {
        let call = self.client.post(self.url(path)).body(body.to_string());
        let call = headers.iter().fold(call, |call, (name, value)| call.header(*name, *value));
        let answer = call.send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)))
    }

    /// How many orders there are in each status.
    pub async fn counts(&self) -> Option<Value> {
        let status = self.get("/v1/status").await?;
        Some(status["sagas"][0]["orders"].clone())
    }

    /// Waits until every one of `count` orders has `status`.
    pub async fn all_are(&self, status: &str, count: u64) {
        let last = Mutex::new(Value::Null);
        let what = || format!("{count} orders are {status}; last seen: {}", last.lock().unwrap());
        self.until_with(what, async || {
            let counts = self.counts().await?;
            *last.lock().unwrap() = counts.clone();
            let total: u64 = counts.as_object()?.values().filter_map(Value::as_u64).sum();
            (counts[status].as_u64() == Some(count) && total == count).then_some(())
        })
        .await;
    }

    /// One order, once it is there and `holds`.
    pub async fn order_when(&self, order_id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/sagas/order/orders/{order_id}");
        let last = Mutex::new(Value::Null);
        let describe = || format!("order {order_id} {what}; last seen: {}", last.lock().unwrap());
        self.until_with(describe, async || {
            let order = self.get(&path).await?;
            *last.lock().unwrap() = order.clone();
            holds(&order).then_some(order)
        })
        .await
    }

    /// The whole trail of an order.
    pub async fn audit(&self, order_id: &str) -> Vec<Value> {
        let path = format!("/v1/sagas/order/orders/{order_id}/audit?limit=500");
        self.get(&path).await.unwrap()["entries"].as_array().unwrap().clone()
    }

    /// Waits until every watched exchange is bound.
    pub async fn bound(&self) {
        self.until("every exchange is bound", async || {
            let status = self.get("/v1/status").await?;
            let saga = &status["sagas"][0];
            (saga["unbound"].as_object()?.is_empty() && !saga["watermark"].is_null()).then_some(())
        })
        .await;
    }

    /// Polls until there is an answer, or fails with the program's log.
    pub async fn until<T>(&self, what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
        self.until_with(|| what.to_owned(), poll).await
    }

    /// The same, with words that may tell what was seen last.
    pub async fn until_with<T>(&self, what: impl Fn() -> String, poll: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = poll().await {
                return found;
            }
            let ended = self.process.lock().unwrap().as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "it ended ({ended:?}) before {}\n{}", what(), self.log_tail());
            assert!(Instant::now() < deadline, "not so in time: {}\n{}", what(), self.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the program wrote so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The last lines of that.
    pub fn log_tail(&self) -> String {
        let log = self.log_text();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Escrow {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.lock()
            && let Some(mut child) = process.take()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
