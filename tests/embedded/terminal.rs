//! The commands as a person and a script run them: the program itself, asking a whole Escrow, off a terminal and on one.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use escrow::app::Running;
use serde_json::{Value, json};

use super::bed::{Bed, ORDER};
use super::http::call;

const ESCROW: &str = env!("CARGO_BIN_EXE_escrow");

/// How long anything may take that should happen; machines are shared and slow.
const PATIENCE: Duration = Duration::from_mins(2);

/// Sets the title of a terminal that obeys it.
const OBEYED: &str = "\u{1b}]0;owned\u{7}";

/// An Escrow with two orders that wait; the id of one of them would be obeyed.
async fn waiting(bed: &Bed) -> Running {
    let running = bed.run(ORDER).await;
    for order in ["4711", OBEYED] {
        bed.event("Placed", order);
        bed.shows(order, "running: done, waiting").await;
    }
    running
}

fn server(running: &Running) -> String {
    format!("http://{}", running.address)
}

/// Runs a command line to its end, while Escrow goes on.
async fn run(running: &Running, line: &str) -> Output {
    let mut command = Command::new(ESCROW);
    command.args(line.split(' ')).env("ESCROW_SERVER", server(running)).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A program that runs, and what it has written so far.
struct Session {
    child: Child,
    input: Option<ChildStdin>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                to.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { input: child.stdin.take(), child, written }
    }

    /// A shell's line on a terminal of 100 columns and 30 rows. `script` makes the terminal.
    fn on_terminal(running: &Running, line: &str) -> Self {
        let mut command = Command::new("script");
        command.args(["-qefc", &format!("stty cols 100 rows 30; {line}"), "/dev/null"]);
        command.env("ESCROW_SERVER", server(running)).env("TERM", "xterm").env_remove("NO_COLOR");
        Self::of(command)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    fn press(&mut self, keys: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits until what was written shows this, and gives it.
    async fn until(&self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if shows(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "it never showed {what}: {text:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for its end.
    async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it never ended: {:?}", self.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(pid: &str) {
    assert!(Command::new("kill").args(["-TERM", pid]).status().unwrap().success());
}

/// The settings a terminal says it has, one line for each `stty -g`.
fn settings(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| line.matches(':').count() > 20 && !line.contains(' ')).collect()
}

/// The board was on another screen, and nothing of it is left.
fn is_as_before(text: &str) {
    let (entered, left) = (text.rfind("\u{1b}[?1049h"), text.rfind("\u{1b}[?1049l"));
    assert!(entered.is_some() && entered < left, "another screen, and back: {text:?}");
    assert!(text.rfind("\u{1b}[?25l") < text.rfind("\u{1b}[?25h"), "the cursor is back: {text:?}");
    let settings = settings(text);
    assert_eq!((settings.len(), settings.first()), (2, settings.last()), "{text:?}");
}

#[tokio::test]
async fn the_board_follows_orders_explains_one_and_gives_the_terminal_back() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    let line = format!("stty -g; {ESCROW} top --every 1; echo left $?; stty -g; echo the end");
    let mut session = Session::on_terminal(&running, &line);
    session.until("the board", |text| text.contains("LONGEST") && text.contains("order/4711")).await;
    bed.event("Placed", "4712");
    session.until("a new order", |text| text.contains("order/4712")).await;
    session.press("jk");
    session.press("\r");
    session.until("why", |text| text.contains("only this one") && text.contains("escrow order extend")).await;
    session.press("\u{1b}");
    session.press("q");
    let text = session.until("the end", |text| text.contains("the end")).await;
    assert!(session.ended().await.success());
    assert!(text.contains("left 0"), "{text:?}");
    is_as_before(&text);
    assert!(!text.contains(OBEYED) && text.contains("owned"), "shown, not obeyed: {text:?}");
    assert!(text.contains("\u{1b}[32m"), "with colour");
    running.stop().await;
}

#[tokio::test]
async fn a_signal_ends_the_board_and_gives_the_terminal_back() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    let line =
        format!("stty -g; NO_COLOR=1 sh -c 'echo pid $$; exec {ESCROW} top'; echo left $?; stty -g; echo the end");
    let mut session = Session::on_terminal(&running, &line);
    let text = session.until("the board", |text| text.contains("LONGEST")).await;
    let pid = text.lines().find_map(|line| line.trim().strip_prefix("pid ")).unwrap().to_owned();
    terminate(&pid);
    let text = session.until("the end", |text| text.contains("the end")).await;
    assert!(session.ended().await.success());
    assert!(text.contains("left 0"), "{text:?}");
    is_as_before(&text);
    assert!(!(30..38).any(|colour| text.contains(&format!("\u{1b}[{colour}m"))), "without colour: {text:?}");
    running.stop().await;
}

#[tokio::test]
async fn an_escrow_that_goes_away_is_said_on_the_board_and_when_it_comes_back_it_goes_on() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    let line = format!("{ESCROW} top --every 1; echo left $?");
    let mut session = Session::on_terminal(&running, &line);
    session.until("the board", |text| text.contains("LONGEST")).await;
    running.stop().await;
    session.until("that it is away", |text| text.contains("trying again")).await;
    session.press("q");
    session.until("the end", |text| text.contains("left 0")).await;
}

#[tokio::test]
async fn off_a_terminal_the_board_is_one_frame_and_every_format_is_valid() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    let frame = run(&running, "top").await;
    let text = String::from_utf8(frame.stdout).unwrap();
    assert!(frame.status.success() && text.contains("LONGEST") && text.contains("order/4711"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour, nothing obeyed: {text:?}");
    for (line, is_list) in [
        ("order list", true),
        ("order get order/4711", false),
        ("order why order/4711", false),
        ("order audit order/4711", true),
        ("saga list", true),
        ("saga show order", false),
        ("incident list", true),
        ("quarantine list", true),
        ("status", false),
    ] {
        let json = run(&running, &format!("{line} -o json")).await;
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json.is_array(), is_list, "{line}");
        let lines = String::from_utf8(run(&running, &format!("{line} -o jsonl")).await.stdout).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), json.as_array().map_or(1, Vec::len), "{line}");
        let sheet = run(&running, &format!("{line} -o csv")).await.stdout;
        let mut sheet = csv::Reader::from_reader(sheet.as_slice());
        let records: Vec<csv::StringRecord> = sheet.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), lines.len(), "{line}");
    }
    let sheet = run(&running, "order list -o csv").await.stdout;
    assert!(String::from_utf8(sheet).unwrap().contains(OBEYED), "in a file it is data");
    running.stop().await;
}

#[tokio::test]
async fn on_a_terminal_a_spreadsheet_shows_what_would_be_obeyed() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    for format in ["csv", "json", "jsonl", "table"] {
        let mut session = Session::on_terminal(&running, &format!("{ESCROW} order list -o {format}; echo left $?"));
        let text = session.until("the end", |text| text.contains("left 0")).await;
        assert!(!text.contains(OBEYED) && text.contains("owned"), "{format}: {text:?}");
        session.ended().await;
    }
    running.stop().await;
}

#[tokio::test]
async fn watching_appends_lines_until_it_is_stopped() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    let mut command = Command::new(ESCROW);
    command.args(["order", "get", "order/4711", "--watch=1", "-o", "jsonl"]).env("ESCROW_SERVER", server(&running));
    let mut session = Session::of(command);
    session.until("a waiting order", |text| text.lines().count() >= 2).await;
    bed.event("Paid", "4711");
    let text = session
        .until("a completed order", |text| text.contains("\"status\":\"completed\"") && text.ends_with('\n'))
        .await;
    let statuses: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone()).collect();
    assert_eq!((&statuses[0], statuses.last().unwrap()), (&json!("running"), &json!("completed")));
    terminate(&session.child.id().to_string());
    assert_eq!(session.ended().await.code(), Some(0), "being stopped is how it ends");
    running.stop().await;
}

#[tokio::test]
async fn on_a_terminal_a_watched_screen_stays_in_its_place() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    let line = format!("sh -c 'echo pid $$; exec {ESCROW} status --watch=1'; echo left $?");
    let session = Session::on_terminal(&running, &line);
    let text = session.until("two pictures", |text| text.matches("no incident is open").count() >= 2).await;
    let pid = text.lines().find_map(|line| line.trim().strip_prefix("pid ")).unwrap().to_owned();
    assert!(text.contains("A\r"), "back to the top: {text:?}");
    terminate(&pid);
    session.until("the end", |text| text.contains("left 0")).await;
    running.stop().await;
}

#[tokio::test]
async fn every_failure_of_the_program_has_its_exit_code_and_is_json_for_programs() {
    let bed = Bed::new(&["shop"]).await;
    let running = waiting(&bed).await;
    call(&running, "POST", "/v1/sagas/order/orders/4711/actions", &json!({"action": "close", "reason": "r"})).await;
    bed.shows("4711", "closed: done, waiting").await;
    for (line, exit, code) in [
        ("order list -o json", 0, ""),
        ("order retry order/4711 --reason r -o json", 1, "misfit"),
        ("order list --frob -o json", 2, "usage"),
        ("order list --status runing -o jsonl", 2, "bad_parameter"),
        ("order why order/none -o json", 3, "not_found"),
        ("status -o json --server http://127.0.0.1:1", 6, "unavailable"),
        ("top -o json --server http://127.0.0.1:1", 6, "unavailable"),
    ] {
        let ended = run(&running, line).await;
        assert_eq!(ended.status.code(), Some(exit), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
        if exit != 0 {
            let said: Value = serde_json::from_slice(&ended.stderr).unwrap();
            assert_eq!(said["code"], code, "{line}");
            assert!(ended.stdout.is_empty(), "{line}");
        }
    }
    running.stop().await;
}
