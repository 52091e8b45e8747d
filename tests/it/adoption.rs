//! The first hour of a newcomer: the very commands of the README, in its order, beside services on a real broker.
//!
//! ```text
//!   README.md, "Point it at your services": ```sh ─▶ bash, in an empty folder     ```yaml ─▶ sagas/order.yaml
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::escrow::PATIENCE;
use crate::support::rabbitmq::shared;

const SECTION: &str = "## Point it at your services";
/// What the README says of a broker, and the tests have elsewhere.
const BROKER: &str = "amqp://guest:guest@localhost:5672/%2f";

/// The fenced blocks of the section, with their language.
fn blocks() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split(SECTION).nth(1).expect("the README has the section");
    let section = section.split("\n## ").next().unwrap();
    let (mut blocks, mut open): (Vec<(String, String)>, bool) = (Vec::new(), false);
    for line in section.lines() {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("```") {
            Some("") => open = false,
            Some(language) => {
                blocks.push((language.to_owned(), String::new()));
                open = true;
            }
            None if open => {
                let (_, text) = blocks.last_mut().unwrap();
                // Blocks stand in a list, three spaces in; what they hold may be further in.
                *text += &(line.get(indent.min(3)..).unwrap_or("").to_owned() + "\n");
            }
            None => {}
        }
    }
    blocks
}

/// A newcomer's shell: what is exported stays, and every command runs in the same folder.
struct Shell {
    folder: tempfile::TempDir,
    exported: BTreeMap<String, String>,
}

impl Shell {
    /// In an empty folder, with `escrow` in the path.
    fn new(listen: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("bin")).unwrap();
        std::fs::create_dir_all(folder.path().join("sagas")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_escrow"), folder.path().join("bin/escrow")).unwrap();
        let path = format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        let exported = [
            ("PATH", path),
            ("ESCROW_LISTEN", listen.to_owned()),
            ("ESCROW_SERVER", format!("http://{listen}")),
            ("NO_COLOR", "1".to_owned()),
        ];
        Self { folder, exported: exported.map(|(name, value)| (name.to_owned(), value)).into() }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).envs(&self.exported).stdin(Stdio::null());
        command
    }

    fn export(&mut self, line: &str, broker: &str) {
        let (name, value) = line.split_once('=').expect("NAME=value");
        let value = value.split(" #").next().unwrap().trim().replace(BROKER, broker);
        self.exported.insert(name.to_owned(), value);
    }

    /// Runs a line; what it wrote, or the test fails with it.
    async fn run(&self, line: &str) -> String {
        let mut command = self.command("bash");
        command.args(["-euc", line]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "`{line}` ended with {}:\n{out}\n{errors}", output.status);
        out
    }

    /// Runs a line until what it says is so.
    async fn until(&self, line: &str, what: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut command = self.command("bash");
            command.args(["-euc", line]);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && what(&said) {
                return said;
            }
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(Instant::now() < deadline, "`{line}` says only:\n{said}\n{errors}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn log(folder: &Path, name: &str) -> (PathBuf, Stdio) {
    let path = folder.join(name);
    let file = std::fs::File::create(&path).unwrap();
    (path, file.into())
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_readme_lead_a_newcomer_from_a_look_to_an_escrow_that_acts() {
    let broker = shared().vhost().url();
    let mut shell = Shell::new(&free_address());
    let (_, services_log) = log(shell.folder.path(), "services.log");
    let services = shell
        .command("escrow")
        .args(["demo", "--services-only", "--rate", "5", "--amqp-url", &broker])
        .stderr(services_log)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _services = Running(services);
    let is_there = format!("escrow peek --amqp-url {broker} --exchange inventory_exchange --force --for 10s --count 1");
    shell.until(&is_there, |said| said.contains("InventoryReserved")).await;

    let mut serving = None;
    let mut done = Vec::new();
    for (language, block) in blocks() {
        if language == "yaml" {
            std::fs::write(shell.folder.path().join("sagas/order.yaml"), &block).unwrap();
            continue;
        }
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(export) = line.strip_prefix("export ") {
                shell.export(export, &broker);
            } else if line == "escrow serve" {
                let (_, errors) = log(shell.folder.path(), "escrow.log");
                let child = shell.command("escrow").arg("serve").stderr(errors).stdout(Stdio::null()).spawn().unwrap();
                serving = Some(Running(child));
                shell.until("escrow status -o json", sees_all).await;
            } else {
                let said = judge(&shell, line).await;
                done.push((line.to_owned(), said));
            }
        }
    }
    assert!(serving.is_some(), "the section serves");
    let said = |begin: &str| &done.iter().find(|(line, _)| line.starts_with(begin)).expect(begin).1;
    for event in ["OrderPlaced", "PaymentProcessed", "InventoryReserved", "/data/order_id", "mode: observe"] {
        assert!(said("escrow peek").contains(event), "{event}: {}", said("escrow peek"));
    }
    assert!(said("escrow try").contains("completed"), "orders were rehearsed: {}", said("escrow try"));
    assert!(said("escrow rabbit plan").contains("escrow.tap.default"), "{}", said("escrow rabbit plan"));
    assert!(said("escrow saga mode").contains("act"), "{}", said("escrow saga mode"));
    let saga: Value = serde_json::from_str(&shell.run("escrow saga show order -o json").await).unwrap();
    assert_eq!(saga["mode"], "act");
}

/// The tap is bound everywhere and something came through it.
fn sees_all(said: &str) -> bool {
    let Ok(status) = serde_json::from_str::<Value>(said) else { return false };
    let saga = &status["sagas"][0];
    saga["unbound"].as_object().is_some_and(serde_json::Map::is_empty)
        && saga["sight"] == "live"
        && saga["orders"]["completed"].as_u64() > Some(0)
}

/// Runs a command of the README as often as it takes to say what it is for.
async fn judge(shell: &Shell, line: &str) -> String {
    if line.starts_with("escrow saga events") {
        return shell.until(line, |said| ["OrderPlaced", "InventoryReserved"].iter().all(|it| said.contains(it))).await;
    }
    shell.run(line).await
}
