//! The commands, against the real API over a store and a desk of plain values.

mod looking;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::args::{Cli, Command, Format};
use super::failure::{FAILURE, Failure, NOT_ALLOWED, NOT_FOUND, UNAVAILABLE, USAGE};
use super::lists::brake_in_words;
use super::output::{Output, Said, plain};
use super::start::{Finding, Plan, Seen, Start, Unbinding};
use super::{audit, dispatch};
use crate::config::{
    BindConfig, DemoConfig, DoctorConfig, MigrateConfig, PeekConfig, PlanConfig, ServeConfig, UnbindConfig,
};
use crate::http::serve;
use crate::http::state::ApiState;
use crate::http::tests::support::{FakeDesk, FakeStore, bulk, journal_row, key, order};
use crate::saga::brake::{SagaState, trail_of};
use crate::saga::input::Action;
use crate::saga::journal::Broken;
use crate::saga::order::Order;
use crate::saga::outgoing::derived_id;
use crate::saga::time::Span;
use crate::store::{Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, NamedOrder, OrderFilter, Store};
use crate::telemetry::Metrics;

/// Reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a port of its own, stopped when dropped.
struct Server {
    address: SocketAddr,
    desk: Arc<FakeDesk>,
    shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Server {
    fn of(orders: Vec<Order>) -> Self {
        let store = FakeStore::default();
        store.orders.lock().unwrap().extend(orders);
        store.journal.lock().unwrap().extend((1..=3).map(|it| journal_row(it, "101", it.unsigned_abs(), "E", 0)));
        Self::over(store)
    }

    fn over(store: FakeStore) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, desk) = (listener.local_addr().unwrap(), Arc::new(FakeDesk::default()));
        let shutdown = CancellationToken::new();
        let state = ApiState::new(Arc::new(store), desk.clone(), Arc::new(Metrics::new()), CancellationToken::new());
        let task = Some(tokio::spawn(serve(listener, state, shutdown.clone())));
        Self { address, desk, shutdown, task }
    }

    /// Runs a command line against it.
    async fn run(&self, line: &[&str]) -> Result<Said, Failure> {
        run(&format!("http://{}", self.address), line).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Where only the client commands are tested.
struct NoProgram;

impl Start for NoProgram {
    fn serve(&self, _: ServeConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn demo(&self, _: DemoConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn migrate(&self, _: MigrateConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn peek(&self, _: PeekConfig) -> BoxFuture<'_, anyhow::Result<Seen>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn rabbit_plan(&self, _: PlanConfig) -> BoxFuture<'_, anyhow::Result<Plan>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn rabbit_unbind(&self, _: UnbindConfig) -> BoxFuture<'_, anyhow::Result<Vec<Unbinding>>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn rabbit_bind(&self, _: BindConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn doctor(&self, _: DoctorConfig) -> BoxFuture<'_, anyhow::Result<Vec<Finding>>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }

    fn open(&self, _: String) -> BoxFuture<'_, anyhow::Result<Arc<dyn Store>>> {
        Box::pin(async { anyhow::bail!("no program here") })
    }
}

async fn run(server: &str, line: &[&str]) -> Result<Said, Failure> {
    let words: Vec<&str> = [&["escrow"], line, &["--server", server]].concat();
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    dispatch(cli.command, Output::plain(cli.output), &NoProgram).await
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text))
}

#[test]
fn the_definition_of_the_command_line_holds() {
    Cli::command().debug_assert();
}

#[test]
fn flags_become_plain_configuration() {
    let words =
        "escrow serve --database-url sqlite://x.db --sagas s.yaml --listen 127.0.0.1:9999 --name a --max-body 2KiB";
    let Command::Serve(args) = Cli::try_parse_from(words.split(' ')).unwrap().command else { panic!("serve") };
    let config = args.into_config();
    assert_eq!(
        (config.database_url.as_str(), config.name.as_str(), config.body_bytes_max),
        ("sqlite://x.db", "a", 2048)
    );
    assert_eq!(config.listen, "127.0.0.1:9999".parse().unwrap());
    let words = "escrow demo --for 30s --rate 2.5 --seed 7 --otlp-endpoint http://127.0.0.1:4318";
    let Command::Demo(args) = Cli::try_parse_from(words.split(' ')).unwrap().command else { panic!("demo") };
    let config = args.into_config();
    assert_eq!((config.run_for, config.seed), (Some(Duration::from_secs(30)), 7));
    assert_eq!(config.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4318"));
    assert!((config.rate - 2.5).abs() < f64::EPSILON);
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for words in [
        "escrow serve --name a/b",
        "escrow serve --max-body 1GB",
        "escrow serve --listen nowhere",
        "escrow demo --for soon",
        "escrow demo --rate 0",
        "escrow order retry 101",
        "escrow order release --status stuck",
        "escrow order bulk 7 --stop",
        "escrow order bulk 7 --all",
        "escrow order bulk --stop --reason r",
        "escrow saga brake order --reset",
        "escrow saga brake order --reason r",
        "escrow saga mode order sometimes --reason r",
        "escrow order list --attr customer",
        "escrow check",
        "escrow order frobnicate",
    ] {
        let error = Cli::try_parse_from(words.split(' ')).expect_err(words);
        assert_eq!(error.exit_code(), i32::from(USAGE), "{words}");
    }
}

#[tokio::test]
async fn orders_are_listed_as_table_and_as_json() {
    let server = Server::of(vec![order("101"), order("102")]);
    let table = server.run(&["order", "list"]).await.unwrap();
    assert!(table.text.starts_with(" SAGA") || table.text.starts_with("SAGA"), "{}", table.text);
    assert_eq!(table.text.lines().count(), 3, "{}", table.text);
    let list = server.run(&["order", "list", "-o", "json"]).await.unwrap();
    assert_eq!(json(&list)[1]["order_id"], "102");
    let lines = server.run(&["-o", "jsonl", "order", "list", "--limit", "1"]).await.unwrap();
    assert_eq!(lines.text.lines().count(), 1);
    assert!(lines.note.unwrap().contains("--cursor 1"));
    let all = server.run(&["order", "list", "--limit", "1", "--all", "-o", "json"]).await.unwrap();
    assert_eq!((json(&all).as_array().unwrap().len(), all.note), (2, None));
}

#[tokio::test]
async fn nothing_found_is_an_empty_list_and_no_failure() {
    let server = Server::of(vec![]);
    for line in [["order", "list"], ["incident", "list"], ["quarantine", "list"]] {
        let list = server.run(&[line[0], line[1], "-o", "json"]).await.unwrap();
        assert_eq!((list.text.as_str(), list.exit), ("[]\n", 0));
        let table = server.run(&line).await.unwrap();
        assert_eq!((table.text.lines().count(), table.exit), (1, 0), "{}", table.text);
    }
}

#[tokio::test]
async fn one_order_is_shown_and_explained() {
    let server = Server::of(vec![order("101"), order("a/b"), order("x\ny%2F")]);
    let shown = server.run(&["order", "get", "101"]).await.unwrap();
    for part in ["order/101", "running", "waiting 42s for InventoryReserved", "PaymentProcessed", "customer John Doe"] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    let why = server.run(&["order", "why", "order/101"]).await.unwrap();
    assert!(why.text.starts_with("running: waiting 42s for InventoryReserved (step inventory)\n"), "{}", why.text);
    assert!(why.text.contains("in full        waiting 42s for InventoryReserved"), "{}", why.text);
    for id in ["a/b", "order/a/b", "x\ny%2F"] {
        let found = server.run(&["order", "get", id, "-o", "json"]).await.unwrap();
        assert_eq!(json(&found)["order_id"], id.trim_start_matches("order/"), "{id:?}");
    }
    assert!(
        !server.run(&["order", "get", "x\ny%2F"]).await.unwrap().text.contains("x\ny"),
        "control characters are shown"
    );
    let trail = server.run(&["order", "audit", "101", "--limit", "2"]).await.unwrap();
    assert!(trail.text.contains("placed waiting→done") && trail.note.unwrap().contains("--cursor 2"), "{}", trail.text);
}

#[tokio::test]
async fn an_id_that_names_orders_of_two_sagas_is_refused_with_both() {
    let mut other = order("101");
    other.key.saga = "refund".to_owned();
    let server = Server::of(vec![order("101"), other]);
    let failure = server.run(&["order", "why", "101"]).await.unwrap_err();
    assert_eq!(failure.exit, USAGE);
    assert!(failure.message.contains("order/101, refund/101"), "{}", failure.message);
    assert!(server.run(&["order", "why", "order/101"]).await.is_ok());
    assert!(server.run(&["order", "why", "101", "--saga", "order"]).await.is_ok());
}

#[tokio::test]
async fn actions_carry_who_why_and_a_key() {
    let server = Server::of(vec![order("101")]);
    let line = ["order", "extend", "101", "--step", "inventory", "--by", "30m", "--reason", "slow", "--actor", "jo"];
    let said = server.run(&line).await.unwrap();
    assert_eq!(said.text, "extend of order/101 is entry 8 of its trail\n");
    let ask = server.desk.asks.lock().unwrap()[0].clone();
    assert_eq!((ask.actor.as_str(), ask.reason.as_str(), ask.step.as_deref()), ("jo", "slow", Some("inventory")));
    assert!(ask.idempotency_key.is_some());
    for verb in ["retry", "skip", "compensate", "release", "drop", "close", "note"] {
        let said = server.run(&["order", verb, "101", "--reason", "r", "-o", "json"]).await.unwrap();
        assert_eq!(json(&said)["sequence"], 8);
        assert_eq!(server.desk.asks.lock().unwrap().last().unwrap().action.word(), verb);
    }
    server.run(&["saga", "mode", "order", "observe", "--reason", "r"]).await.unwrap();
    assert_eq!(server.desk.modes.lock().unwrap().len(), 1);
    let replayed = server.run(&["quarantine", "replay", "1", "--reason", "mended"]).await.unwrap();
    assert_eq!(replayed.text, "message 1 is replayed\n");
}

#[tokio::test]
async fn orders_move_to_another_version_page_by_page_until_none_is_left() {
    let server = Server::of(vec![]);
    let line = ["saga", "migrate", "order", "--from", "1", "--to", "2", "--stuck", "timed_out", "--reason", "mended"];
    let said = server.run(&[&line[..], &["--dry-run"]].concat()).await.unwrap();
    for part in ["would move", "gift pending→absent, fraud absent→waiting", ", due", "Cleared", "nothing was changed"]
    {
        assert!(said.text.contains(part), "{part}: {}", said.text);
    }
    let refused = said.text.lines().position(|line| line.contains("step gift is waiting")).unwrap();
    assert!(said.text.lines().position(|line| line.contains("101")).unwrap() > refused, "what stands in the way first");
    {
        let asked = server.desk.migrations.lock().unwrap();
        let cursors: Vec<_> = asked.iter().map(|(_, _, page)| page.cursor.as_deref()).collect();
        assert_eq!(cursors, [None, Some("second")]);
        assert!(asked.iter().all(|(migration, filter, _)| migration.dry_run && filter.reasons.len() == 1));
    }
    let whole = json(&server.run(&[&line[..], &["-o", "json", "--order", "101", "--rearm"]].concat()).await.unwrap());
    assert_eq!(
        (&whole["counts"]["moved"], &whole["counts"]["already"], &whole["dry_run"]),
        (&1.into(), &1.into(), &false.into())
    );
    assert_eq!(whole["orders"].as_array().unwrap().len(), 3);
    let (migration, filter, _) = server.desk.migrations.lock().unwrap().last().unwrap().clone();
    assert_eq!((migration.rearm, migration.dry_run, filter.order_id.as_deref()), (true, false, Some("101")));
    let said = server.run(&["saga", "version", "order", "1", "--reason", "2 is broken"]).await.unwrap();
    assert_eq!(said.text, "new orders of saga order open on version 1\n");
}

#[tokio::test]
async fn without_an_id_an_action_is_for_all_that_filters_name() {
    let id = derived_id(&["bulk", "k"]);
    let ask = BulkAsk {
        filter: OrderFilter::default(),
        given: [("reason".to_owned(), "held".to_owned())].into(),
        action: Action::Release,
        step: None,
        actor: "jo".to_owned(),
        reason: "r".to_owned(),
        every: Span::from_millis(200),
        named: 0,
    };
    let ended = Bulk { state: BulkState::Done, done: 2, ..bulk(id, ask) };
    let refused =
        BulkOrder { place: 3, key: key("103"), outcome: Some(BulkOutcome::Refused("is ended".to_owned())), at: None };
    let server = Server::over(FakeStore { bulks: vec![ended], bulk_orders: vec![refused], ..FakeStore::default() });
    let line =
        ["order", "release", "--saga", "order", "--reason-filter", "held", "--attr", "customer=jo", "--reason", "r"];
    let line = [&line[..], &["--per-second", "5", "--actor", "jo", "--idempotency-key", "k"]].concat();
    let said = server.run(&line).await.unwrap();
    for part in ["release 00", "3 in all: 2 done, 1 refused", "status", "is ended"] {
        let part = part.replace("00", &id.to_string());
        assert!(said.text.contains(&part), "{part}: {}", said.text);
    }
    let (_, ask) = server.desk.bulks.lock().unwrap()[0].clone();
    let given: Vec<(&str, &str)> = ask.given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(given, [("attr.customer", "jo"), ("reason", "held"), ("saga", "order")]);
    assert_eq!((ask.actor.as_str(), ask.reason.as_str(), ask.every), ("jo", "r", Span::from_millis(200)));
    let id = id.to_string();
    let shown = server.run(&["order", "bulk", &id, "-o", "json"]).await.unwrap();
    assert_eq!(json(&shown)["status"], "done");
    server.run(&["order", "bulk", &id, "--stop", "--reason", "enough"]).await.unwrap();

    let listed = server.run(&["order", "bulk"]).await.unwrap();
    assert!(listed.text.contains(&id) && listed.text.contains("3 in all: 2 done, 1 refused"), "{}", listed.text);

    let server = Server::of(vec![order("101"), order("102")]);
    let some = ["order", "note", "order/101", "102", "--reason", "r", "--no-wait", "--per-second", "50"];
    // The fake has nothing to show of it.
    assert_eq!(server.run(&some).await.unwrap_err().exit, NOT_FOUND);
    let (_, ask) = server.desk.bulks.lock().unwrap().remove(0);
    let named = |id: &str| NamedOrder { order_id: id.to_owned(), saga: Some("order".to_owned()) };
    assert_eq!(ask.filter, OrderFilter { named: vec![named("101"), named("102")], ..OrderFilter::default() });
    assert_eq!((ask.named, ask.every), (2, Span::from_millis(20)));
    let dry = server.run(&["order", "close", "--status", "stuck", "--dry-run"]).await.unwrap();
    assert!(dry.text.starts_with("close would be asked of 2 orders"), "{}", dry.text);
    assert!(server.desk.bulks.lock().unwrap().is_empty());
    for line in [
        // A forgotten id must not become every order of the saga.
        &["order", "close", "--saga", "order", "--reason", "r"][..],
        &["order", "close", "--reason", "r"],
        &["order", "close", "101", "--status", "stuck", "--reason", "r"],
        &["order", "close", "101", "--dry-run"],
        &["order", "close", "101", "--per-second", "5", "--reason", "r"],
    ] {
        assert_eq!(server.run(line).await.unwrap_err().exit, USAGE, "{line:?}");
    }
    assert!(server.desk.asks.lock().unwrap().is_empty());
    assert_eq!(server.run(&["order", "bulk", "none"]).await.unwrap_err().exit, NOT_FOUND);
}

#[tokio::test]
async fn the_brake_is_shown_and_taken_off() {
    let server = Server::of(vec![order("101")]);
    let shown = server.run(&["saga", "brake", "order"]).await.unwrap();
    assert_eq!(shown.text, "none\n", "its definition says so");
    assert_eq!(json(&server.run(&["saga", "brake", "order", "-o", "json"]).await.unwrap())["saga"], "order");
    let brake = serde_json::json!({"orders": 50, "per": "1m", "counted": 7, "latched_at": null});
    assert_eq!(brake_in_words(&brake), "7 of 50 counted within 1m");
    let brake = serde_json::json!({"orders": 50, "per": "1m", "counted": 50, "latched_at": "2026-11-21T09:29:57.5Z"});
    assert_eq!(brake_in_words(&brake), "holds since 2026-11-21T09:29:57Z (50 of 50 counted within 1m)");
    let reset = server.run(&["saga", "brake", "order", "--reset", "--reason", "found it"]).await.unwrap();
    assert!(reset.text.starts_with("the brake of saga order is off; it had held since"), "{}", reset.text);
    assert!(reset.text.contains("1 order stays held: `release` or"), "{}", reset.text);
    assert_eq!(server.desk.resets.lock().unwrap()[0].2, "found it");
    assert_eq!(server.run(&["saga", "brake", "none"]).await.unwrap_err().exit, NOT_FOUND);
}

#[tokio::test]
async fn every_failure_has_its_exit_code() {
    let server = Server::of(vec![order("ended")]);
    for (line, exit, code) in [
        (&["order", "why", "4711"][..], NOT_FOUND, "not_found"),
        (&["order", "why", "order/4711"], NOT_FOUND, "not_found"),
        (&["order", "list", "--status", "runing"], USAGE, "bad_parameter"),
        (&["order", "retry", "ended", "--reason", "r"], FAILURE, "misfit"),
        (&["order", "get", "..", "--saga", "order"], USAGE, "usage"),
        (&["quarantine", "drop", "3", "--reason", "r"], NOT_FOUND, "not_found"),
        (&["order", "list", "--token-file", "/nowhere/token"], USAGE, "usage"),
    ] {
        let failure = server.run(line).await.expect_err(line[1]);
        assert_eq!((failure.exit, failure.code.as_str()), (exit, code), "{line:?}: {}", failure.message);
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(run(&format!("http://{free}"), &["status"]).await.unwrap_err().exit, UNAVAILABLE);
    assert_eq!(run("not an address", &["status"]).await.unwrap_err().exit, USAGE);
    let away = Server::over(FakeStore { is_away: true, ..FakeStore::default() });
    assert_eq!(away.run(&["order", "list"]).await.unwrap_err().exit, UNAVAILABLE);
    assert_eq!(Failure::answered(403, &Value::Null).exit, NOT_ALLOWED);
}

#[tokio::test]
async fn failures_are_json_for_programs() {
    let server = Server::of(vec![]);
    let failure = server.run(&["order", "list", "--saga", "ordre"]).await.unwrap_err();
    let json = failure.json();
    assert!(json["message"].as_str().unwrap().contains("did you mean `order`"));
    assert_eq!((&json["code"], &json["details"][0]["pointer"]), (&Value::from("bad_parameter"), &Value::from("saga")));
}

#[tokio::test]
async fn sagas_and_status_fit_a_screen() {
    let server = Server::of(vec![]);
    let shown = server.run(&["saga", "show", "order"]).await.unwrap();
    for part in ["RefundPayment", "stock it does not exist yet", "1 (3 open)", "running 3"] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    assert!(server.run(&["saga", "list"]).await.unwrap().text.contains("live"));
    let status = server.run(&["status"]).await.unwrap();
    for part in ["none: events come over HTTP", "2 since 2026-11-21T09:29:57Z", "no incident is open", "running 3"] {
        assert!(status.text.contains(part), "{part}: {}", status.text);
    }
    assert_eq!(json(&server.run(&["status", "-o", "json"]).await.unwrap())["outbox"]["rows"], 2);
}

#[tokio::test]
async fn a_caller_without_a_name_is_known_by_its_address() {
    let server = Server::of(vec![]);
    let url = format!("http://{}/v1/sagas/order/orders/1/actions", server.address);
    let body = serde_json::json!({"action": "note", "reason": "r"});
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(server.desk.asks.lock().unwrap()[0].actor, "anonymous@127.0.0.1");
}

#[tokio::test]
async fn stopping_ends_streams_and_the_server_returns() {
    let mut server = Server::of(vec![]);
    let url = format!("http://{}/v1/stream", server.address);
    let stream = reqwest::get(url).await.unwrap();
    assert_eq!(stream.status(), 200);
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, stream.bytes()).await.expect("the stream ends in time").unwrap();
    let task = server.task.take().unwrap();
    tokio::time::timeout(PATIENCE, task).await.expect("the server ends in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_trail_that_does_not_hold_is_named() {
    let store = FakeStore::default();
    store.orders.lock().unwrap().extend([order("1"), order("2"), order("3")]);
    let whole = audit::walk(&store, None).await.unwrap();
    assert_eq!((whole.orders, whole.entries), (3, 6));
    assert_eq!(whole.say(Output::plain(Format::Table)).text, "6 entries of 3 orders: every trail holds\n");
    store.broken.lock().unwrap().insert(key("2"), Broken::Hash { sequence: 1 });
    let said = audit::walk(&store, Some("order")).await.unwrap().say(Output::plain(Format::Table));
    assert_eq!(said.exit, FAILURE);
    assert!(said.text.starts_with("broken: order/2: entry 1 was changed"), "{}", said.text);
    assert!(said.text.ends_with("4 entries of 3 orders hold; 1 trail does not\n"), "{}", said.text);
    assert_eq!(audit::walk(&store, Some("ord")).await.unwrap().orders, 0);
    // Among orders of other sagas, and with what was changed about the saga itself.
    let mut other = order("2");
    other.key.saga = "another".to_owned();
    store.orders.lock().unwrap().push(other);
    let store = FakeStore { states: [("order".to_owned(), SagaState::default())].into(), ..store };
    store.broken.lock().unwrap().insert(trail_of("order"), Broken::Sequence { sequence: 4 });
    let found = audit::walk(&store, Some("order")).await.unwrap();
    assert_eq!((found.orders, found.entries, found.broken.len()), (3, 4, 2));
    assert_eq!(found.broken[0]["why"], "entry 4 is missing or out of order");
    assert_eq!(audit::walk(&store, None).await.unwrap().orders, 4);
}

#[test]
fn nothing_from_a_message_reaches_the_terminal_unescaped() {
    assert_eq!(plain("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\u{9b}");
    assert_eq!(plain("Jörg ✓"), "Jörg ✓");
}
