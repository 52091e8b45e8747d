//! Private PostgreSQL servers for tests: own data folder, free port, loopback only.
//!
//! ```text
//!   test process ──pipe──▶ guard (sh): waits for the pipe to close, ends the server, removes its folder
//!        └── starts ─────▶ postgres
//! ```
//!
//! The pipe closes when the test process ends, however it ends, so nothing is left behind. The shared server does not wait for
//! its disk; one whose crash is the point of a test does.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

/// Starting takes a second; a busy machine may need many.
const PATIENCE: Duration = Duration::from_mins(1);
/// Ends the server in `$1` when its standard input closes, and removes the folder.
const GUARD: &str = r#"read -r _; kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e "$1/data/postmaster.pid" ] || break; sleep 0.1; done; rm -rf "$1""#;

/// A server of our own.
pub struct Server {
    dir: PathBuf,
    port: u16,
    durable: bool,
    /// Beside those every server gets; what is said twice holds as it is said last.
    settings: Vec<String>,
    databases: AtomicU32,
    guard: Child,
}

/// The server all tests of this binary share; each takes a database of its own.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::new(false))
}

impl Server {
    /// A server that belongs to one test, and survives a crash with all it committed.
    pub fn dedicated() -> Self {
        Self::new(true)
    }

    /// A server to be measured: durable, and with the memory that one has in use.
    #[allow(dead_code, reason = "for benches alone")]
    pub fn measured() -> Self {
        let mut server = Self::empty(true);
        server.settings = [
            "shared_buffers=2GB",
            "max_wal_size=8GB",
            "checkpoint_timeout=15min",
            "shared_preload_libraries=pg_stat_statements",
        ]
        .map(str::to_owned)
        .to_vec();
        Self::made(server)
    }

    /// A standby of the server at `url`: made from it, fed by it, and only reading until it is promoted.
    pub fn standby_of(url: &str) -> Self {
        let server = Self::empty(true);
        let mut backup = server.command("pg_basebackup");
        let made = backup.args(["-R", "-X", "stream", "-c", "fast", "-d", url]).arg("-D").arg(server.data()).output();
        let made = made.expect("`pg_basebackup` starts");
        assert!(made.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&made.stderr));
        server.start();
        server
    }

    fn new(durable: bool) -> Self {
        Self::made(Self::empty(durable))
    }

    fn made(server: Self) -> Self {
        let initdb = server
            .command("initdb")
            .args(["-U", "escrow", "--auth=trust", "--no-sync", "--encoding=UTF8"])
            // Linguistic order by default: what must sort by bytes has to say so itself.
            .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"])
            .arg("-D")
            .arg(server.data())
            .output()
            .expect("`initdb` starts");
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));
        server.start();
        server
    }

    /// Limits how large each file of the running server may get, as a full disk would.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let postmaster = self.pid().to_string();
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        for pid in std::iter::once(postmaster.clone()).chain(children_of(&postmaster)) {
            // A backend may have gone meanwhile. Only the soft limit changes, so it can be lifted again by anybody.
            let mut set = self.command("/usr/bin/prlimit");
            let set = set.args(["--pid", &pid, &format!("--fsize={limit}:")]).output();
            assert!(set.is_ok_and(|it| it.status.success() || pid != postmaster), "prlimit --pid {pid}");
        }
    }

    /// A folder and a port for a server.
    fn empty(durable: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("escrow-postgres-").tempdir().expect("a temporary folder").keep();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).expect("a folder of our own");
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&dir)
            .stdin(Stdio::piped())
            // A signal to the tests' process group must not reach it before its work is done.
            .process_group(0)
            .spawn()
            .expect("`sh` starts");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        Self { dir, port, durable, settings: Vec::new(), databases: AtomicU32::new(0), guard }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A program of PostgreSQL, as a user it accepts: it refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = binaries().join(program);
        let root = std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.dir).stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts the server on the data it has, and waits until it answers.
    pub fn start(&self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).expect("a log");
        let sync = if self.durable { "on" } else { "off" };
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=64MB",
            &format!("fsync={sync}"),
            &format!("synchronous_commit={sync}"),
        ] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().expect("`postgres` starts");
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("postgres ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "postgres does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whoever ends it, its exit must be collected.
        std::thread::spawn(move || child.wait());
    }

    fn is_ready(&self) -> bool {
        let ready = self.command("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
        ready.is_ok_and(|status| status.success())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Ends it as a power cut would: no goodbye, nothing flushed.
    pub fn kill_9(&self) {
        self.signal("-KILL");
        // The children notice a moment later; a new server must not find them in its memory.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Ends it in order, cutting off whoever is connected.
    pub fn stop(&self) {
        self.signal("-INT");
    }

    /// The process all its others are children of.
    pub fn pid(&self) -> u32 {
        let pid_file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("a running server");
        pid_file.lines().next().and_then(|line| line.parse().ok()).expect("its pid")
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().is_ok_and(|it| it.success()), "kill {signal} {pid}");
        let deadline = Instant::now() + PATIENCE;
        while Path::new("/proc").join(&pid).exists() || self.is_ready() {
            assert!(Instant::now() < deadline, "postgres does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://escrow@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a fresh database and gives its URL.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let options: sqlx::postgres::PgConnectOptions = self.url("postgres").parse().expect("a URL");
        let mut conn = options.connect().await.expect("the private server answers");
        conn.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database is made");
        conn.close().await.expect("goodbye");
        self.url(&name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The processes a process has started.
fn children_of(parent: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_child = |pid: &String| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        // The name stands in brackets and may hold anything; state and parent follow it.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(parent)
    };
    processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_child).collect()
}

/// Where PostgreSQL's programs are: the newest version installed.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    found.sort();
    match found.pop() {
        Some((_, bin)) => bin,
        None => panic!(
            "PostgreSQL is not installed here: `apt-get install postgresql` (15 or newer) on Debian, then run again"
        ),
    }
}
