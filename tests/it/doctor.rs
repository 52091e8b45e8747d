//! `escrow doctor` against real servers: what it finds, and that it leaves everything as it was.

use std::path::Path;
use std::process::Output;

use lapin::ExchangeKind;
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::support::choreography::{Service, definition};
use crate::support::escrow::Escrow;
use crate::support::rabbitmq::{Server, managed, shared};
use crate::support::{postgres, services};

const RETRIED: &str = "within: 60s\n    retry: { times: 1, every: 1s, to: { queue: inventory } }";

struct Said {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Said {
    /// The levels of the findings that say this.
    fn levels(&self, what: &str) -> Vec<&str> {
        let says = |it: &&Value| it["what"].as_str().is_some_and(|text| text.contains(what));
        self.findings.iter().filter(says).map(|it| it["level"].as_str().unwrap()).collect()
    }

    /// What is wrong besides the tests' own PostgreSQL, which is made for speed and loses everything in a crash.
    fn problems(&self) -> Vec<&Value> {
        let durability = ["fsync is off", "full_page_writes is off", "synchronous_commit is off"];
        let is_ours = |it: &&Value| durability.iter().any(|what| it["what"].as_str().unwrap().starts_with(what));
        self.findings.iter().filter(|it| it["level"] == "problem" && !is_ours(it)).collect()
    }
}

fn doctor(escrow: &Escrow, more: &[&str]) -> Said {
    let file = escrow.definitions();
    let arguments = ["doctor", "-o", "json", "--sagas", file.to_str().unwrap()];
    let Output { status, stdout, stderr } = block_in_place(|| escrow.command(&[&arguments[..], more].concat()));
    let report: Value =
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
    let findings = report["findings"].as_array().unwrap().clone();
    assert!(
        findings.iter().all(|it| (it["level"] == "ok") == it["advice"].is_null()),
        "each says what to do: {report}"
    );
    Said { code: status.code(), findings }
}

/// The first look that says this: the management API shows a policy some seconds after it is in force.
async fn once(escrow: &Escrow, more: &[&str], what: &str) -> Said {
    escrow
        .until(what, async || {
            let said = doctor(escrow, more);
            (!said.levels(what).is_empty()).then_some(said)
        })
        .await
}

/// Everything on the broker, messages and consumers counted.
fn whole(server: &Server, vhost: &str) -> String {
    let queues = ["-p", vhost, "list_queues", "name", "messages", "consumers", "policy", "--formatter", "json"];
    block_in_place(|| {
        let Value::Object(all) = server.export() else { panic!("it is an object") };
        let of_vhost = all.iter().map(|(kind, rows)| {
            let rows = rows.as_array().into_iter().flatten().filter(|row| row["vhost"] == vhost);
            format!("{kind}: {:?}", rows.map(Value::to_string).collect::<std::collections::BTreeSet<_>>())
        });
        let rows: Vec<Value> = serde_json::from_str(&server.ctl(&queues)).unwrap();
        // Canaries come and go in the tap of an Escrow that runs.
        let rows = rows.iter().filter(|row| row["name"] != "escrow.tap.default" || row["consumers"] == 0);
        let rows: std::collections::BTreeSet<String> = rows.map(Value::to_string).collect();
        format!("{} {rows:?}", of_vhost.collect::<Vec<_>>().join("\n"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_empty_broker_and_database_it_finds_what_is_missing_and_makes_none_of_it() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let database = postgres::shared().database().await;
    let escrow = Escrow::new(&definition(RETRIED, "within: 60s"), &database, &url);
    let before = whole(shared(), &vhost.name);
    let said = doctor(&escrow, &["--amqp-url", &url, "--server", ""]);
    assert_eq!(whole(shared(), &vhost.name), before);
    assert_eq!((said.code, said.problems()), (Some(1), vec![]), "{:?}", said.findings);
    assert_eq!(said.levels("fsync is off"), ["problem"]);
    assert_eq!(said.levels("there are no tables yet"), ["warning"]);
    assert_eq!(said.levels("escrow.tap.default is not there yet"), ["warning"]);
    assert_eq!(said.levels("payment_exchange is not there"), ["warning"]);
    assert_eq!(said.levels("the queue inventory cannot be seen"), ["warning"]);
    assert_eq!(said.levels("RabbitMQ 3.10"), ["ok"]);
    assert_eq!(said.levels("synchronous_commit is off"), ["problem"]);
    assert_eq!(said.levels("clock and the database"), ["ok"]);
    // Asking again finds the tables still missing: nothing was migrated.
    assert_eq!(doctor(&escrow, &["--server", ""]).levels("there are no tables yet"), ["warning"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_running_escrow_all_is_well_and_nothing_changes() {
    let server = managed();
    let vhost = server.vhost();
    let url = vhost.url();
    let escrow = Escrow::new(&definition(RETRIED, "within: 60s"), &postgres::shared().database().await, &url);
    let service = Service::start(&url).await;
    service.0.queue("inventory").await;
    service.0.queue("order_exchange").await;
    let _consumer = service.0.consume("inventory").await;
    escrow.run().await;
    escrow.bound().await;
    service.0.bind("inventory", "escrow.retry", "inventory").await;
    let (management, here) = (server.management_url(), escrow.url(""));
    let before = whole(server, &vhost.name);
    let more = ["--amqp-url", &url, "--management-url", &management, "--server", &here];
    let said = doctor(&escrow, &more);
    assert_eq!(whole(server, &vhost.name), before);
    assert_eq!((said.code, said.problems()), (Some(1), vec![]), "{:?}", said.findings);
    assert_eq!(said.levels("fsync is off"), ["problem"]);
    for what in [
        "has the right arguments: it is a single active consumer",
        "escrow.tap.default has 1 consumers",
        "in force, escrow.tap.default drops its oldest",
        "Escrow may publish on escrow.retry",
        "payment_exchange is bound to the tap",
        "bound: escrow.retry → inventory",
        "saga order version 1 is stored as the file has it",
        "Escrow 0.1.0 answers",
    ] {
        assert_eq!(said.levels(what), ["ok"], "{what}: {:?}", said.findings);
    }
    assert_eq!(said.levels("there is also a queue called order_exchange"), ["warning"]);

    // A policy set behind Escrow's back, a binding taken away, a definition changed without its version.
    block_in_place(|| {
        let policy = [
            "set_policy",
            "-p",
            &vhost.name,
            "blanket",
            ".*",
            "{\"overflow\":\"reject-publish\"}",
            "--apply-to",
            "queues",
        ];
        server.ctl(&policy);
    });
    let options = FieldTable::default();
    let unbound =
        service.0.channel.queue_unbind("inventory".into(), "escrow.retry".into(), "inventory".into(), options);
    unbound.await.unwrap();
    let text = std::fs::read_to_string(escrow.definitions()).unwrap();
    std::fs::write(escrow.definitions(), text.replace("done: PaymentProcessed", "done: PaymentTaken")).unwrap();
    let said = once(&escrow, &more, "does reject-publish when it is full").await;
    assert_eq!(said.code, Some(1));
    for what in ["does reject-publish when it is full", "not bound: escrow.retry", "is stored with another meaning"] {
        assert_eq!(said.levels(what), ["problem"], "{what}: {:?}", said.findings);
    }

    // The plan's policies win against it.
    let file = escrow.definitions();
    let plan =
        ["rabbit", "plan", "-o", "json", "--vhost", &vhost.name, "--user", "guest", "--sagas", file.to_str().unwrap()];
    let planned = block_in_place(|| escrow.command(&plan));
    block_in_place(|| server.import(&String::from_utf8_lossy(&planned.stdout)));
    let said = once(&escrow, &more, "drops its oldest when it is full (policy escrow-default").await;
    assert_eq!(said.levels("in force, escrow.tap.default drops its oldest"), ["ok"], "{:?}", said.findings);
    assert_eq!(said.levels("operator policy escrow-default"), ["ok"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_wrong_arguments_and_servers_that_are_away_are_problems() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let escrow = Escrow::new(&definition(RETRIED, "within: 60s"), "postgres://127.0.0.1:1/none", &url);
    let user = format!("escrow-{}", vhost.name);
    let limited = block_in_place(|| {
        let url = vhost.new_user(&user);
        shared().ctl(&["set_permissions", "-p", &vhost.name, &user, "^escrow", "^$", "^escrow"]);
        url
    });
    let service = services::Service::connect(&url).await;
    for (name, kind) in [("escrow", ExchangeKind::Topic), ("escrow.canary", ExchangeKind::Fanout)] {
        service.exchange(name, kind).await;
    }
    service.queue("escrow.tap.default").await;
    let before = whole(shared(), &vhost.name);
    let said = doctor(&escrow, &["--amqp-url", &limited, "--server", "http://127.0.0.1:1"]);
    assert_eq!(whole(shared(), &vhost.name), before);
    assert_eq!(said.code, Some(1));
    for what in [
        "Escrow may not publish on escrow:",
        "the exchange escrow.canary is not what it has to be",
        "`escrow.tap.default` exists with other arguments",
        "the database cannot be used now",
        "no answer from http://127.0.0.1:1",
    ] {
        assert_eq!(said.levels(what), ["problem"], "{what}: {:?}", said.findings);
    }
    let away = doctor(&escrow, &["--amqp-url", "amqp://127.0.0.1:1", "--server", ""]);
    assert_eq!(away.levels("no connection to 127.0.0.1:1"), ["problem"]);
    let wrong = url.replace("guest:guest", "guest:secret");
    let refused = doctor(&escrow, &["--amqp-url", &wrong, "--server", ""]);
    assert_eq!(refused.levels("refuses the connection"), ["problem"]);
    assert!(!format!("{:?}", refused.findings).contains("secret"));
}

#[test]
fn a_database_file_is_looked_at_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("escrow.db");
    let url = format!("sqlite://{}", file.display());
    let escrow = Escrow::new(&definition("within: 60s", "within: 60s"), &url, "");
    let doctor = || {
        let file = escrow.definitions();
        let output = escrow.command(&["doctor", "--server", "", "--sagas", file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = doctor();
    assert!(code == Some(1) && !file.exists(), "no file is made: {text}");
    assert!(escrow.command(&["migrate"]).status.success());
    let listing = |folder: &Path| {
        let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let before = listing(folder.path());
    let (code, text) = doctor();
    assert!(code == Some(0) && text.contains("journal_mode is wal") && text.contains("at version 8"), "{text}");
    assert!(listing(folder.path()) == before, "not a byte, and no file beside it");
}
