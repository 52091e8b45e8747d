//! A Prometheus Alertmanager of one test: a port of its own on the loopback, data in a temporary folder, gone with the test.
//!
//! Needs the Debian package `prometheus-alertmanager`. Where it is missing the test fails and says so.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

/// One that runs.
pub struct Alertmanager {
    pub url: String,
    folder: tempfile::TempDir,
    process: Child,
    client: reqwest::Client,
}

impl Alertmanager {
    /// Starts one that tells `webhook` of each group at once, and of its end.
    pub async fn start(webhook: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("escrow-am-").tempdir().unwrap();
        let config = format!(
            "route: {{ receiver: hook, group_by: [alertname, saga], group_wait: 1s, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [{{ name: hook, webhook_configs: [{{ url: '{webhook}/group', send_resolved: true }}] }}]\n"
        );
        std::fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program(), "--cluster.listen-address="])
            .arg(format!("--config.file={}", folder.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("setpriv starts");
        let url = format!("http://127.0.0.1:{port}");
        let mut started = Self { url, folder, process, client: reqwest::Client::new() };
        let deadline = Instant::now() + PATIENCE;
        while started.get("/-/ready").await.is_none() {
            let ended = started.process.try_wait().unwrap();
            let log = std::fs::read_to_string(started.folder.path().join("log")).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "no Alertmanager: install the Debian package `prometheus-alertmanager`\n{log}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        started
    }

    /// The alerts its API shows as active.
    pub async fn active(&self) -> Vec<Value> {
        let answer = self.get("/api/v2/alerts?active=true&silenced=false&inhibited=false").await;
        answer
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .map(|it| it.as_array().unwrap().clone())
            .unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.ok()?;
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    }
}

/// Debian's name for it, or everybody else's.
fn program() -> &'static str {
    let debian = "prometheus-alertmanager";
    let is_there =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|it| it.join(debian).exists());
    if is_there { debian } else { "alertmanager" }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
