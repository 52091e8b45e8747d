//! A RabbitMQ of the tests' own: private ports on the loopback, data in a temporary folder, gone with the test process.
//!
//! ```text
//!   shared()  one broker for all tests, a virtual host for each     rough()  another one, to be killed, stopped and starved
//!   managed() a third, with the management plugin
//! ```
//!
//! Needs the Debian package `rabbitmq-server` (RabbitMQ refuses to run as root, so it is run as the user that package makes).
//! Where it is missing the test fails and says so.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::Digest as _;

/// Virtual hosts made with the broker: one command less for each test.
const VHOSTS: usize = 110;
/// A cold Erlang machine on a busy computer.
const BOOT_TIMEOUT: Duration = Duration::from_secs(90);
const SBIN: &str = "/usr/lib/rabbitmq/bin";

/// A broker, running or stopped.
pub struct Server {
    dir: PathBuf,
    amqp_port: u16,
    epmd_port: u16,
    dist_port: u16,
    /// Of the management plugin, where it is enabled.
    management_port: Option<u16>,
    node: String,
    user: Option<(u32, u32)>,
    /// How the Erlang machine uses the cores.
    schedulers: &'static str,
    broker: Mutex<Option<Child>>,
    epmd: Mutex<Option<Child>>,
    next_vhost: AtomicUsize,
}

/// The broker all tests share.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::new(false))
}

/// A broker with the management plugin, for all tests that need one; `guest` is its administrator.
pub fn managed() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::new(true);
        server.ctl(&["await_startup"]);
        server.ctl(&["set_user_tags", "guest", "administrator"]);
        server
    })
}

/// A broker to be measured: on all cores.
#[allow(dead_code, reason = "for benches alone")]
pub fn measured() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::on_schedulers("+sbwt none +sbwtdcpu none +sbwtdio none", false);
        server.ctl(&["await_startup"]);
        server
    })
}

/// The broker for tests that disturb it, one at a time. It runs when this returns.
pub fn rough() -> (&'static Server, MutexGuard<'static, ()>) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SERVER.get_or_init(|| Server::new(false));
    if !server.runs() {
        server.start();
    }
    (server, turn)
}

impl Server {
    fn new(with_management: bool) -> Self {
        Self::on_schedulers("+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none", with_management)
    }

    fn on_schedulers(schedulers: &'static str, with_management: bool) -> Self {
        static SERVERS: AtomicUsize = AtomicUsize::new(0);
        assert!(
            Path::new(SBIN).join("rabbitmq-server").exists(),
            "these tests need a RabbitMQ: install the Debian package `rabbitmq-server` (apt-get install rabbitmq-server)"
        );
        remove_folders_of_the_dead();
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("escrow-rabbitmq-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        let [amqp_port, epmd_port, dist_port, management_port] = free_ports();
        let user = am_root().then(rabbitmq_user);
        let server = Self {
            node: format!("{name}@localhost"),
            dir,
            amqp_port,
            epmd_port,
            dist_port,
            management_port: with_management.then_some(management_port),
            user,
            schedulers,
            broker: Mutex::new(None),
            epmd: Mutex::new(None),
            next_vhost: AtomicUsize::new(0),
        };
        server.write_files();
        let epmd =
            server.command("epmd").args(["-port", &epmd_port.to_string()]).args(["-address", "127.0.0.1"]).keep();
        *lock(&server.epmd) = Some(epmd);
        server.start();
        server
    }

    /// A fresh virtual host, as a URL for its administrator.
    pub fn vhost(&self) -> Vhost<'_> {
        let number = self.next_vhost.fetch_add(1, Ordering::Relaxed);
        assert!(number < VHOSTS, "more tests than virtual hosts: raise VHOSTS");
        Vhost { server: self, name: format!("v{number}") }
    }

    /// Starts it on the data it has, and waits until it takes connections.
    pub fn start(&self) {
        let broker = self.command(&format!("{SBIN}/rabbitmq-server")).env("RUNNING_UNDER_SYSTEMD", "true").keep();
        *lock(&self.broker) = Some(broker);
        let deadline = Instant::now() + BOOT_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.amqp_port)).is_err() {
            let ended = lock(&self.broker).as_mut().and_then(|broker| broker.try_wait().ok().flatten());
            assert!(ended.is_none() && Instant::now() < deadline, "RabbitMQ did not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Its process.
    #[allow(dead_code, reason = "for benches alone")]
    pub fn pid(&self) -> u32 {
        lock(&self.broker).as_ref().expect("it runs").id()
    }

    /// Kills it without a chance to write anything down.
    pub fn kill_9(&self) {
        if let Some(mut broker) = lock(&self.broker).take() {
            broker.kill().expect("the broker is ours to kill");
            broker.wait().expect("it was our child");
        }
    }

    /// Stops it in good order.
    pub fn stop(&self) {
        if let Some(mut broker) = lock(&self.broker).take() {
            let pid = broker.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().expect("there is a kill command");
            broker.wait().expect("it was our child");
        }
    }

    /// Runs `rabbitmqctl`; takes a second or more.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.command(&format!("{SBIN}/rabbitmqctl")).arg("-q").args(arguments).output();
        let Output { status, stdout, stderr } = output.expect("rabbitmqctl runs");
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "rabbitmqctl {arguments:?}: {stderr}");
        String::from_utf8(stdout).expect("rabbitmqctl writes text")
    }

    /// Imports definitions, as an administrator does.
    pub fn import(&self, definitions: &str) {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let file = self.dir.join(format!("import-{}.json", FILES.fetch_add(1, Ordering::Relaxed)));
        self.own(&file, Some(definitions), 0o644);
        self.ctl(&["import_definitions", &file.display().to_string()]);
    }

    /// Everything the broker knows of what was declared on it.
    pub fn export(&self) -> Value {
        let text = self.ctl(&["export_definitions", "-"]);
        serde_json::from_str(&text[text.find('{').unwrap_or(0)..]).expect("rabbitmqctl writes JSON")
    }

    /// Runs a script that uses `rabbitmqctl` and `rabbitmqadmin` as an administrator's shell would find them.
    pub fn script(&self, script: &str) -> Output {
        if let Some(port) = self.management_port {
            let settings =
                format!("[default]\nhostname = 127.0.0.1\nport = {port}\nusername = guest\npassword = guest\n");
            self.own(&self.dir.join(".rabbitmqadmin.conf"), Some(&settings), 0o644);
        }
        let path = format!("{SBIN}:{}", std::env::var("PATH").unwrap_or_default());
        self.command("sh").env("PATH", path).args(["-e", "-c", script]).output().expect("a shell runs")
    }

    /// Where the management plugin answers, with its administrator's name and password.
    pub fn management_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.management_port.expect("this broker has the plugin"))
    }

    /// Whether a quorum queue is in the broker's directories on disk, so that it survives a kill: the name is in one of the
    /// files, and all of them are marked as saved.
    pub fn remembers(&self, queue: &str) -> bool {
        let folder = self.dir.join("data").join(&self.node).join("quorum").join(&self.node);
        let files = ["names.dets", "meta.dets"].map(|file| fs::read(folder.join(file)).unwrap_or_default());
        // The third word of a DETS file is 1 once everything is saved.
        let saved = files.iter().all(|file| file.get(8..12) == Some(&[0, 0, 0, 1]));
        saved && files[0].windows(queue.len()).any(|part| part == queue.as_bytes())
    }

    fn runs(&self) -> bool {
        lock(&self.broker).as_mut().is_some_and(|broker| broker.try_wait().ok().flatten().is_none())
    }

    fn log(&self) -> String {
        let mut text = String::new();
        for file in ["log", "out"] {
            if let Ok(mut file) = fs::File::open(self.dir.join(file)) {
                file.read_to_string(&mut text).ok();
            }
        }
        text
    }

    /// A command as the broker's user, in the broker's environment, that dies with this process.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((uid, gid)) = self.user {
            command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"]);
        }
        let file = |name: &str| self.dir.join(name);
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.dir)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_LOG_BASE", &self.dir)
            .env("RABBITMQ_LOGS", file("log"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .env("RABBITMQ_SCHEMA_DIR", file("schema"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", file("config"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", self.schedulers)
            .env("RABBITMQ_CTL_ERL_ARGS", "+S 1:1");
        command
    }

    fn write_files(&self) {
        let management = self
            .management_port
            .map_or_else(String::new, |port| format!("management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\n"));
        let plugins = if self.management_port.is_some() { "[rabbitmq_management].\n" } else { "[].\n" };
        let conf = format!(
            "{management}listeners.tcp.1 = 127.0.0.1:{}\nload_definitions = {}\ndisk_free_limit.absolute = 1MB\nlog.file.level = warning\n",
            self.amqp_port,
            self.dir.join("definitions.json").display()
        );
        for folder in ["", "data", "schema", "config"] {
            self.own(&self.dir.join(folder), None, 0o755);
        }
        for (name, text, mode) in [
            ("rabbitmq.conf", conf.as_str(), 0o644),
            ("enabled_plugins", plugins, 0o644),
            ("definitions.json", &definitions().to_string(), 0o644),
            (".erlang.cookie", "ESCROWTESTS", 0o400),
        ] {
            self.own(&self.dir.join(name), Some(text), mode);
        }
    }

    fn own(&self, path: &Path, text: Option<&str>, mode: u32) {
        match text {
            Some(text) => fs::write(path, text),
            None => fs::create_dir_all(path),
        }
        .and_then(|()| self.user.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid))))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// A virtual host of one test.
pub struct Vhost<'a> {
    pub server: &'a Server,
    pub name: String,
}

impl Vhost<'_> {
    /// For a user who may do everything.
    pub fn url(&self) -> String {
        self.url_of("guest")
    }

    /// For a user with the permissions Escrow asks for, and no others but to read.
    pub fn limited_url(&self) -> String {
        self.url_of("limited")
    }

    /// For a user of this virtual host's own who may do nothing yet.
    pub fn new_user(&self, user: &str) -> String {
        // Connections are taken a little before that.
        self.server.ctl(&["await_startup"]);
        self.server.ctl(&["add_user", user, user]);
        self.url_of(user)
    }

    fn url_of(&self, user: &str) -> String {
        format!("amqp://{user}:{user}@127.0.0.1:{}/{}", self.server.amqp_port, self.name)
    }

    /// What `rabbitmqctl list_…` says about this virtual host, as JSON rows in a fixed order, without Escrow's own.
    pub fn foreign(&self, what: &str, columns: &[&str]) -> Vec<String> {
        let list = format!("list_{what}");
        let mut arguments = vec!["-p", &self.name, &list];
        arguments.extend(columns);
        arguments.extend(["--formatter", "json"]);
        let rows: Vec<Value> = serde_json::from_str(&self.server.ctl(&arguments)).expect("rabbitmqctl writes JSON");
        let own = |row: &Value| {
            let names = ["name", "destination_name"].map(|column| row[column].as_str().unwrap_or_default().to_owned());
            names.iter().any(|name| name == "escrow" || name.starts_with("escrow."))
        };
        let mut rows: Vec<String> = rows.iter().filter(|row| !own(row)).map(Value::to_string).collect();
        rows.sort();
        rows
    }
}

trait Keep {
    fn keep(&mut self) -> Child;
}

impl Keep for Command {
    /// Starts it from a thread that lives as long as the process: the death signal is tied to the thread, and a test's own
    /// thread ends with the test.
    fn keep(&mut self) -> Child {
        type Order = (Command, mpsc::Sender<Child>);
        static KEEPER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
        let keeper = KEEPER.get_or_init(|| {
            let (orders, inbox) = mpsc::channel::<Order>();
            thread::spawn(move || {
                for (mut command, answer) in inbox {
                    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
                    answer.send(child.expect("setpriv (package util-linux) starts")).ok();
                }
            });
            orders
        });
        let (answer, child) = mpsc::channel();
        let command = std::mem::replace(self, Command::new("true"));
        keeper.send((command, answer)).expect("the keeper lives");
        child.recv().expect("the process starts")
    }
}

/// Users and virtual hosts. Importing any replaces the ones RabbitMQ would make by itself.
fn definitions() -> Value {
    let own = r"^escrow(\..*)?$";
    let names: Vec<String> = (0..VHOSTS).map(|n| format!("v{n}")).collect();
    let user = |name: &str| {
        let salt = b"salt";
        let hash = sha2::Sha256::new().chain_update(salt).chain_update(name).finalize();
        let hash = base64::engine::general_purpose::STANDARD.encode([salt.as_slice(), hash.as_slice()].concat());
        json!({"name": name, "password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""})
    };
    let grants = names.iter().flat_map(|vhost| {
        [
            json!({"user": "guest", "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}),
            json!({"user": "limited", "vhost": vhost, "configure": own, "write": own, "read": ".*"}),
        ]
    });
    json!({
        "users": [user("guest"), user("limited")],
        "vhosts": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "permissions": grants.collect::<Vec<_>>(),
    })
}

fn free_ports() -> [u16; 4] {
    // All at once, so that they differ.
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

fn am_root() -> bool {
    id(&["-u"]) == Some(0)
}

fn rabbitmq_user() -> (u32, u32) {
    let missing = "RabbitMQ refuses to run as root, and there is no user `rabbitmq`: install `rabbitmq-server`";
    (id(&["-u", "rabbitmq"]).expect(missing), id(&["-g", "rabbitmq"]).expect(missing))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Test processes cannot clean up after themselves when they are killed, so the next one does.
fn remove_folders_of_the_dead() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("escrow-rabbitmq-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
