//! Lists to their end, spreadsheets, completions, the board, and the exit code of every command that asks a server.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::cli::{format_asked, misread};

/// Every command that asks a server about something that is there, as it succeeds against [`Server::of`] with order 101.
const COMMANDS: [&str; 25] = [
    "order get 101",
    "order list",
    "order why 101",
    "order audit 101",
    "order retry 101 --reason r",
    "order skip 101 --reason r",
    "order extend 101 --by 5m --reason r",
    "order compensate 101 --reason r",
    "order release 101 --reason r",
    "order drop 101 --reason r",
    "order close 101 --reason r",
    "order note 101 --reason r",
    "saga list",
    "saga show order",
    "saga events order",
    "saga mode order act --reason r",
    "saga version order 1 --reason r",
    "saga migrate order --from 1 --to 2 --reason r",
    "saga brake order",
    "incident list",
    "quarantine list",
    "quarantine replay 1 --reason r",
    "quarantine drop 1 --reason r",
    "status",
    "top",
];

/// The same about something that is not there.
const MISSING: [&str; 11] = [
    "order get 4711",
    "order why 4711",
    "order audit order/4711",
    "order retry 4711 --reason r",
    "order bulk none",
    "saga show none",
    "saga events none",
    "saga mode none act --reason r",
    "saga version none 1 --reason r",
    "saga brake none",
    "quarantine drop 3 --reason r",
];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// A server that answers everything with this status and no Escrow's body.
async fn answering(status: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 8192];
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn every_command_that_asks_a_server_has_each_exit_code() {
    let server = Server::of(vec![order("101")]);
    for line in COMMANDS {
        let said = server.run(&words(line)).await.unwrap_or_else(|failure| panic!("{line}: {}", failure.message));
        assert_eq!(said.exit, 0, "{line}");
    }
    for line in MISSING {
        assert_eq!(server.run(&words(line)).await.expect_err(line).exit, NOT_FOUND, "{line}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (answering("403 Forbidden").await, NOT_ALLOWED),
        (answering("401 Unauthorized").await, NOT_ALLOWED),
        (answering("404 Not Found").await, NOT_FOUND),
        (answering("400 Bad Request").await, USAGE),
        (answering("500 Internal Server Error").await, FAILURE),
        (answering("503 Service Unavailable").await, UNAVAILABLE),
        (format!("http://{free}"), UNAVAILABLE),
    ];
    for (server, exit) in cases {
        for line in COMMANDS {
            assert_eq!(run(&server, &words(line)).await.expect_err(line).exit, exit, "{line} at {server}");
        }
    }
}

#[tokio::test]
async fn programs_get_lists_to_their_end_unless_they_ask_for_a_part() {
    let server = Server::of((0..1_201).map(|id| order(&id.to_string())).collect());
    for (line, rows) in [
        ("order list -o jsonl", 1_201),
        ("order list -o csv", 1_202),
        ("order list -o jsonl --limit 7", 7),
        ("order list -o csv --limit 7", 8),
        ("order list -o csv --limit 7 --cursor 1200", 2),
        ("order list -o csv --limit 500 --all", 1_202),
        ("order list", 51),
    ] {
        let said = server.run(&words(line)).await.unwrap();
        assert_eq!(said.text.lines().count(), rows, "{line}");
        assert_eq!(said.note.is_some(), matches!(rows, 7 | 8 | 51), "{line}: {:?}", said.note);
    }
    let csv = server.run(&["order", "list", "-o", "csv"]).await.unwrap().text;
    assert!(csv.starts_with("saga,order_id,version,status,stuck.reason,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("order,0,1,running,,"), "{csv}");
    assert!(csv.lines().last().unwrap().starts_with("order,1200,1,running,,"), "one header for all pages");
}

#[tokio::test]
async fn an_empty_list_is_nothing_in_every_format_and_no_failure() {
    let server = Server::of(vec![]);
    for list in ["order list", "incident list", "quarantine list"] {
        for (format, lines) in [("json", 1), ("jsonl", 0), ("csv", 1), ("table", 1)] {
            let line = format!("{list} -o {format}");
            let said = server.run(&words(&line)).await.unwrap();
            assert_eq!((said.text.lines().count(), said.exit, said.note), (lines, 0, None), "{line}: {}", said.text);
        }
    }
}

#[tokio::test]
async fn every_get_is_one_record_of_a_spreadsheet() {
    let server = Server::of(vec![order("101")]);
    for line in ["order get 101", "order why 101", "saga show order", "saga brake order", "status"] {
        let said = server.run(&words(&format!("{line} -o csv"))).await.unwrap();
        let mut reader = csv::Reader::from_reader(said.text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!((records.len(), records[0].len()), (1, header.len()), "{line}");
    }
    let said = server.run(&["order", "get", "101", "-o", "csv"]).await.unwrap();
    assert!(said.text.lines().next().unwrap().contains("attributes.customer"), "{}", said.text);
}

#[tokio::test]
async fn why_has_a_twin_for_programs() {
    let server = Server::of(vec![order("101"), order("102")]);
    let why = json(&server.run(&["order", "why", "101", "-o", "json"]).await.unwrap());
    assert_eq!(why["verdict"], "running: waiting 42s for InventoryReserved (step inventory)");
    for field in
        ["saga", "order_id", "status", "why", "waiting_on", "next", "then", "others", "not_known", "actions", "as_of"]
    {
        assert!(why.get(field).is_some(), "{field}: {why}");
    }
    assert_eq!(why["others"], 1, "the other one waits there, too");
}

#[tokio::test]
async fn off_a_terminal_the_board_is_one_frame() {
    let server = Server::of(vec![order("101"), order("a\u{1b}[2Jb")]);
    let frame = server.run(&["top"]).await.unwrap().text;
    for part in [
        "escrow ",
        "in and out: being counted",
        "broker: none",
        "SAGA",
        "no incident",
        "LONGEST",
        "order/101",
        "order/a\\u{1b}[2Jb",
    ] {
        assert!(frame.contains(part), "{part}: {frame}");
    }
    let value = json(&server.run(&["top", "-o", "json"]).await.unwrap());
    assert_eq!(value["orders"].as_array().unwrap().len(), 2);
    assert_eq!(value["status"]["sagas"][0]["saga"], "order");
    assert_eq!(server.run(&["top", "-o", "csv"]).await.unwrap_err().exit, USAGE);
}

#[tokio::test]
async fn completions_know_the_commands_of_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = dispatch_words(&["completions", shell]).await.unwrap();
        assert!(said.text.contains("quarantine") && said.text.contains("watch"), "{shell}");
    }
    assert_eq!(Cli::try_parse_from(["escrow", "completions", "tcsh"]).unwrap_err().exit_code(), i32::from(USAGE));
}

async fn dispatch_words(line: &[&str]) -> Result<Said, Failure> {
    let cli = Cli::try_parse_from([&["escrow"], line].concat()).unwrap();
    dispatch(cli.command, Output::plain(cli.output), &NoProgram).await
}

#[tokio::test]
async fn commands_without_a_server_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("bad.yaml"), "saga: Order\n").unwrap();
    std::fs::write(path("events"), "{\"body\": {}}\n").unwrap();
    std::fs::write(path("no events"), "nothing\n").unwrap();
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/sagas/order.yaml");
    let (bad, none, events, no_events) = (path("bad.yaml"), path("none"), path("events"), path("no events"));
    let code = |result: Result<Said, Failure>| result.map_or_else(|failure| failure.exit, |said| said.exit);
    for format in ["table", "json", "jsonl", "csv"] {
        for (line, exit) in [
            (&["check", good][..], 0),
            (&["check", good, &bad], FAILURE),
            (&["check", &none], USAGE),
            (&["schema"], 0),
            (&["try", good, "--events", &events], 0),
            (&["try", good, "--events", &events, "--fail-on-stuck"], FAILURE),
            (&["try", &bad, "--events", &events], FAILURE),
            (&["try", good, "--events", &no_events], USAGE),
            (&["try", good, "--events", &none], USAGE),
        ] {
            let line = [line, &["-o", format]].concat();
            assert_eq!(code(dispatch_words(&line).await), exit, "{line:?}");
        }
    }
    let found = dispatch_words(&["check", &bad, "-o", "csv"]).await.unwrap();
    assert!(found.text.starts_with("severity,file,line,column,text,message,hint\nerror,"), "{}", found.text);
    // What the program itself cannot do is a failure.
    for line in [
        "serve",
        "demo",
        "migrate",
        "doctor",
        "rabbit plan",
        "audit verify",
        "peek --exchange x --force --amqp-url amqp://x",
    ] {
        assert_eq!(code(dispatch_words(&words(line)).await), FAILURE, "{line}");
    }
}

#[test]
fn a_program_is_told_what_is_wrong_with_its_words_as_json() {
    for (line, format) in [
        ("escrow order list --frob -o json", Some(Format::Json)),
        ("escrow -ojsonl frob", Some(Format::Jsonl)),
        ("escrow --output=csv frob", Some(Format::Csv)),
        ("escrow -o table frob", None),
        ("escrow -o xml frob", None),
        ("escrow frob -o", None),
        ("escrow frob", None),
    ] {
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(format_asked(&line), format, "{line:?}");
    }
    let failure = misread(&Cli::try_parse_from(words("escrow order list --frob -o json")).unwrap_err());
    assert_eq!((failure.exit, failure.code.as_str()), (USAGE, "usage"));
    assert!(failure.message.starts_with("unexpected argument '--frob' found"), "{}", failure.message);
}

#[test]
fn watching_takes_seconds_and_only_where_there_is_something_to_watch() {
    for line in [
        "order list",
        "order get 1",
        "order why 1",
        "order audit 1",
        "saga list",
        "saga show s",
        "incident list",
        "quarantine list",
        "status",
    ] {
        for watch in ["--watch", "--watch=5", "--watch=1m"] {
            assert!(Cli::try_parse_from(format!("escrow {line} {watch}").split(' ')).is_ok(), "{line} {watch}");
        }
        for watch in ["--watch=0", "--watch=soon"] {
            assert!(Cli::try_parse_from(format!("escrow {line} {watch}").split(' ')).is_err(), "{line} {watch}");
        }
    }
    assert!(Cli::try_parse_from("escrow order retry 1 --reason r --watch".split(' ')).is_err());
}

#[test]
fn a_table_fits_its_terminal_and_is_whole_elsewhere() {
    let rows: Vec<Value> = (0..3).map(|_| serde_json::json!({"a": "x".repeat(300), "b": "a b ".repeat(40)})).collect();
    let columns: [crate::cli::output::Column; 2] =
        [("A", |row| crate::cli::output::at(row, "/a")), ("B", |row| crate::cli::output::at(row, "/b"))];
    for width in [20, 80, 200] {
        let table = Output::on_terminal(Format::Table, width).table(&rows, &columns);
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(width), "{widest} of {width}: {table}");
    }
    let table = Output::plain(Format::Table).table(&rows, &columns);
    assert_eq!(table.lines().count(), 4, "nothing is broken or cut: {table}");
    assert!(table.contains(&"x".repeat(300)) && !table.contains('\u{1b}'));
}

#[tokio::test]
async fn coverage_says_what_is_missing_on_either_side() {
    let met = |exchange: &str, event: &str, seen| crate::store::EventMet {
        exchange: exchange.to_owned(),
        event: event.to_owned(),
        seen,
        last_at: crate::http::tests::support::ago(5),
    };
    let all = vec![met("", "", 7), met("shop", "Payment-Processed\u{1b}[2J", 3), met("", "OrderPlaced", 2)];
    let server = Server::over(FakeStore { met: all, ..FakeStore::default() });
    let said = server.run(&["saga", "events", "order"]).await.unwrap().text;
    for part in [
        "PaymentProcessed (payment done); seen and similar: Payment-Processed\\u{1b}[2J",
        "Payment-Processed\\u{1b}[2J from shop, 3 times",
        "and further names, 7 times together",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let csv = server.run(&["saga", "events", "order", "-o", "csv"]).await.unwrap().text;
    assert!(csv.starts_with("event,seen,last_at,exchanges,used_by\n"), "{csv}");
    let value = json(&server.run(&["saga", "events", "order", "-o", "json"]).await.unwrap());
    assert_eq!(value["other"]["seen"], 7);
}
