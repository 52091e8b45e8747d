//! Tokens over a whole Escrow: what is kept from whom, on a real store.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use escrow::app::{Doorway, Running};
use escrow::config::HttpConfig;
use escrow::http::access::table::{Reach, TABLE, Who};
use escrow::http::access::token::make;
use escrow::saga::time::Span;
use serde_json::{Value, json};

use super::bed::Bed;

/// Longer than anything here takes; reached only when something never comes.
const PATIENCE: Duration = Duration::from_mins(1);

fn saga(name: &str) -> String {
    format!(
        "saga: {name}\nversion: 1\nwatch: [{{ http: {{}} }}]\nsteps:\n  {name}_placed: {{ done: Placed-{name} }}\n  \
         {name}_paid: {{ after: {name}_placed, done: Paid-{name}, within: 30s }}\n"
    )
}

const SAGAS: [&str; 3] = ["order", "parcel", "xqzw"];

/// Three sagas with orders of the same ids, open, stuck and ended; messages in quarantine; an action on many orders of each.
struct House {
    bed: Bed,
    running: Running,
    tokens: Vec<(&'static str, String)>,
    bulks: Vec<String>,
    _folder: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        let bed = Bed::new(&[]).await;
        for name in SAGAS {
            bed.propose(&saga(name)).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.yaml");
        let mut tokens = Vec::new();
        let mut text = "tokens:\n".to_owned();
        for (name, sagas) in [("whole", ""), ("pair", ", sagas: [order, parcel]"), ("one", ", sagas: [order]")] {
            let (token, digest) = make().unwrap();
            let _ = writeln!(text, "  - {{ name: {name}, role: admin, sha256: {}{sagas} }}", digest.hex());
            tokens.push((name, token));
        }
        std::fs::write(&file, text).unwrap();
        let config = HttpConfig { access: Some(file), ..HttpConfig::default() };
        let doorway = Doorway::of("127.0.0.1:0".parse().unwrap(), config).unwrap();
        let running = bed.start_behind(doorway).await;
        let mut house = Self { bed, running, tokens, bulks: Vec::new(), _folder: folder };
        house.fill().await;
        house
    }

    async fn fill(&mut self) {
        for name in SAGAS {
            for id in ["1", "2", "3"] {
                assert_eq!(self.event(&format!("Placed-{name}"), Some(id)).await, 202);
            }
            assert_eq!(self.event(&format!("Paid-{name}"), Some("3")).await, 202);
            assert_eq!(self.event(&format!("Paid-{name}"), None).await, 202, "which goes to quarantine");
        }
        self.bed.pass(&self.running, Span::from_secs(31)).await;
        for name in SAGAS {
            self.bed
                .until("two orders are stuck", async || {
                    let (_, list) = self.get("whole", &format!("/v1/orders?saga={name}&status=stuck")).await;
                    (list["orders"].as_array().unwrap().len() == 2).then_some(())
                })
                .await;
            let body =
                json!({"filter": {"saga": name, "status": "stuck"}, "action": "note", "reason": "r", "per_second": 50});
            let (status, bulk) = self.call("whole", "POST", "/v1/actions", &body).await;
            assert_eq!(status, 202, "{bulk}");
            self.bulks.push(bulk["id"].as_str().unwrap().to_owned());
        }
        self.bed
            .until("each saga has an incident", async || {
                let (_, list) = self.get("whole", "/v1/incidents").await;
                let sagas: BTreeSet<_> =
                    list["incidents"].as_array().unwrap().iter().filter_map(|it| it["saga"].as_str()).collect();
                SAGAS.iter().all(|saga| sagas.contains(saga)).then_some(())
            })
            .await;
    }

    async fn event(&self, name: &str, order: Option<&str>) -> u16 {
        let id = format!("{name}-{}", order.unwrap_or("none"));
        let mut event = json!({"specversion": "1.0", "type": name, "source": "/shop", "id": id});
        if let Some(order) = order {
            event["subject"] = json!(order);
        }
        self.send("whole", "POST", "/v1/events", &event).await.status().as_u16()
    }

    fn request(&self, who: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.running.address));
        request.bearer_auth(&self.tokens.iter().find(|(name, _)| *name == who).unwrap().1)
    }

    async fn send(&self, who: &str, method: &str, path: &str, body: &Value) -> reqwest::Response {
        let mut request = self.request(who, method, path);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request.send().await.unwrap()
    }

    async fn call(&self, who: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.send(who, method, path, body).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, who: &str, path: &str) -> (u16, Value) {
        self.call(who, "GET", path, &Value::Null).await
    }

    /// All rows of a list, page by page.
    async fn all(&self, who: &str, path: &str, of: &str, limit: usize) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        for _ in 0..100 {
            let (status, page) = self.get(who, &format!("{path}?limit={limit}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            rows.extend(page[of].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
        panic!("{path} has no end");
    }
}

/// What changes from one look to the next, or is only true of one moment.
fn steady(mut row: Value) -> Value {
    for moving in ["as_of", "why", "updated_at", "last_at", "count", "peak"] {
        if let Some(row) = row.as_object_mut() {
            row.remove(moving);
        }
    }
    row
}

#[tokio::test]
async fn a_token_that_is_kept_to_sagas_sees_those_and_nothing_of_the_others() {
    let house = House::open().await;
    for row in TABLE.iter().filter(|row| row.method == "GET" && row.path != "/v1/stream") {
        let path = row.path.replace("{saga}", "order").replace("{order_id}", "1").replace("{sequence}", "1");
        let path = path.replace("{*path}", "escrow.css").replace("/v1/search", "/v1/search?text=1");
        if row.who == Who::Anyone || path.contains("{id}") {
            continue;
        }
        let text =
            |who: &'static str| async { house.send(who, "GET", &path, &Value::Null).await.text().await.unwrap() };
        for who in ["pair", "one"] {
            let status = house.send(who, "GET", &path, &Value::Null).await.status();
            assert_eq!(status.as_u16(), if row.reach == Reach::Whole { 403 } else { 200 }, "{path} as {who}");
            assert!(!text(who).await.contains("xqzw"), "{path} as {who}: {}", text(who).await);
        }
        assert!(!text("one").await.contains("parcel"), "{path}");
    }
    // The same lists hold it for who may see it, and are whole for who may see a part.
    for (path, of, saga) in [
        ("/v1/orders", "orders", "/saga"),
        ("/v1/journal", "entries", "/saga"),
        ("/v1/quarantine", "messages", "/saga"),
        ("/v1/incidents", "incidents", "/saga"),
        ("/v1/sagas", "sagas", "/saga"),
    ] {
        let of_saga = |row: &Value| row.pointer(saga).and_then(Value::as_str).unwrap_or("").to_owned();
        for (who, sees) in [("pair", &["order", "parcel"][..]), ("one", &["order"][..])] {
            for limit in [1, 2, 100] {
                let read = house.bed.until("a list stands still while it is read", async || {
                    let before = house.all("whole", path, of, 100).await;
                    let got: Vec<Value> = house.all(who, path, of, limit).await.into_iter().map(steady).collect();
                    let after = house.all("whole", path, of, 100).await;
                    let is_still = before.iter().cloned().map(steady).eq(after.into_iter().map(steady));
                    is_still.then_some((before, got))
                });
                let (whole, got) = read.await;
                assert!(whole.iter().any(|row| of_saga(row) == "xqzw"), "{path}: {whole:?}");
                let seen = whole.into_iter().filter(|row| sees.contains(&of_saga(row).as_str()));
                let wanted: Vec<Value> = seen.map(steady).collect();
                assert!(!wanted.is_empty(), "{path}");
                assert_eq!(got, wanted, "{path} as {who} by {limit}");
            }
        }
    }
    for (who, count) in [("whole", 9), ("pair", 6), ("one", 3)] {
        assert_eq!(house.get(who, "/v1/orders?count=true").await.1["count"], count);
        let (_, reasons) = house.get(who, "/v1/quarantine/reasons").await;
        let waiting: u64 = reasons["reasons"].as_array().unwrap().iter().map(|it| it["count"].as_u64().unwrap()).sum();
        assert_eq!(waiting, count / 3, "{reasons}");
    }
    house.running.stop().await;
}

#[tokio::test]
async fn what_is_not_seen_is_not_acted_on_and_looks_as_if_it_were_not_there() {
    let house = House::open().await;
    let reason = json!({"reason": "r"});
    let quarantined = house.all("whole", "/v1/quarantine", "messages", 100).await;
    let hidden = quarantined.iter().find(|it| it["saga"] == "xqzw").unwrap()["id"].clone();
    let incidents = house.all("whole", "/v1/incidents", "incidents", 100).await;
    let incident = incidents.iter().find(|it| it["saga"] == "xqzw").unwrap()["id"].as_str().unwrap().to_owned();
    let bulk = &house.bulks[2];
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let pairs = [
        ("GET", format!("/v1/quarantine/{hidden}"), "/v1/quarantine/999999".to_owned(), Value::Null),
        ("POST", format!("/v1/quarantine/{hidden}/drop"), "/v1/quarantine/999999/drop".to_owned(), reason.clone()),
        ("POST", format!("/v1/quarantine/{hidden}/replay"), "/v1/quarantine/999999/replay".to_owned(), reason.clone()),
        ("GET", format!("/v1/incidents/{incident}"), "/v1/incidents/none".to_owned(), Value::Null),
        ("POST", format!("/v1/incidents/{incident}/ack"), "/v1/incidents/none/ack".to_owned(), reason.clone()),
        ("GET", format!("/v1/actions/{bulk}"), format!("/v1/actions/{nowhere}"), Value::Null),
        ("POST", format!("/v1/actions/{bulk}/stop"), format!("/v1/actions/{nowhere}/stop"), reason.clone()),
        ("GET", "/v1/sagas/xqzw/orders/1".to_owned(), "/v1/sagas/yqzv/orders/1".to_owned(), Value::Null),
        ("GET", "/v1/sagas/xqzw".to_owned(), "/v1/sagas/yqzv".to_owned(), Value::Null),
        (
            "PUT",
            "/v1/sagas/xqzw/mode".to_owned(),
            "/v1/sagas/yqzv/mode".to_owned(),
            json!({"mode": "observe", "reason": "r"}),
        ),
        ("POST", "/v1/sagas/xqzw/brake/reset".to_owned(), "/v1/sagas/yqzv/brake/reset".to_owned(), reason.clone()),
        (
            "POST",
            "/v1/sagas/xqzw/orders/1/actions".to_owned(),
            "/v1/sagas/yqzv/orders/1/actions".to_owned(),
            json!({"action": "close", "reason": "r"}),
        ),
    ];
    for (method, there, nowhere, body) in pairs {
        let (forbidden, missing) =
            (house.call("pair", method, &there, &body).await, house.call("pair", method, &nowhere, &body).await);
        let last = |path: &str| path.split('/').nth(3).unwrap().to_owned();
        assert_eq!(forbidden.0, 404, "{method} {there}: {}", forbidden.1);
        let said = forbidden.1.to_string().replace(&last(&there), &last(&nowhere));
        assert_eq!((missing.0, missing.1.to_string()), (404, said), "{method} {there}");
    }
    // One of its own it may act on, by the same calls.
    let own = quarantined.iter().find(|it| it["saga"] == "parcel").unwrap()["id"].clone();
    assert_eq!(house.get("pair", &format!("/v1/actions/{}", house.bulks[0])).await.0, 200);
    // An action on "everything that is stuck" is on everything it sees.
    let body = json!({"filter": {"status": "stuck"}, "action": "close", "reason": "r", "per_second": 50});
    let (status, begun) = house.call("pair", "POST", "/v1/actions", &body).await;
    assert_eq!((status, &begun["total"]), (202, &json!(4)), "{begun}");
    house.bed.pass(&house.running, Span::from_secs(10)).await;
    let id = begun["id"].as_str().unwrap();
    house
        .bed
        .until("the action is done", async || {
            house.bed.clock.advance(Span::from_secs(1));
            house.running.escrow.nudges.bulk.notify_one();
            (house.get("pair", &format!("/v1/actions/{id}")).await.1["status"] == "done").then_some(())
        })
        .await;
    let closed =
        house.all("whole", "/v1/orders", "orders", 100).await.into_iter().filter(|it| it["status"] == "closed");
    let sagas: Vec<String> = closed.map(|it| it["saga"].as_str().unwrap().to_owned()).collect();
    assert_eq!((sagas.len(), sagas.contains(&"xqzw".to_owned())), (4, false));
    assert_eq!(house.send("pair", "POST", "/v1/events", &json!({})).await.status(), 403);
    assert_eq!(house.call("pair", "POST", &format!("/v1/quarantine/{own}/drop"), &reason).await.0, 202);
    house.running.stop().await;
}

#[tokio::test]
async fn the_live_stream_passes_over_what_is_not_seen() {
    let house = House::open().await;
    let mut answer = house.request("one", "GET", "/v1/stream").header("last-event-id", "0").send().await.unwrap();
    let wanted = house.all("one", "/v1/journal", "entries", 100).await.len();
    let mut text = String::new();
    let read = async {
        while text.matches("\ndata:").count() < wanted {
            text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().expect("more")).unwrap());
        }
        // Only foreign entries, and then one of its own.
        assert_eq!(house.event("Placed-xqzw", Some("78")).await, 202);
        assert_eq!(house.event("Placed-order", Some("77")).await, 202);
        while !text.contains("\"77\"") {
            text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().expect("more")).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("every entry in time");
    assert!(!text.contains("xqzw") && !text.contains("parcel") && !text.contains("\"78\""), "{text}");
    drop(answer);
    house.running.stop().await;
}
