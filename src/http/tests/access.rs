//! Who may call what: the table, route by route and role by role, and the ways past it that there are not.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::support::{Answer, Api, FakeDesk, FakeStore, journal_row, order};
use crate::http::access::Access;
use crate::http::access::book::Kept;
use crate::http::access::role::Role;
use crate::http::access::table::{ASSETS, Reach, TABLE, Who, find};
use crate::http::access::token::make;
use crate::http::limits::Hosts;
use crate::http::page;

/// The API behind an access file with a token for each role, and one that sees another saga than the one there is.
struct Guarded {
    api: Api,
    access: Arc<Access>,
    tokens: Vec<(&'static str, String)>,
}

impl Guarded {
    fn new() -> Self {
        let store = FakeStore::default();
        store.orders.lock().unwrap().push(order("101"));
        store.journal.lock().unwrap().push(journal_row(1, "101", 1, "OrderPlaced", 0));
        Self::over(store, Hosts::Any)
    }

    fn over(store: FakeStore, hosts: Hosts) -> Self {
        let mut tokens = Vec::new();
        let mut text = "tokens:\n".to_owned();
        let rows = [
            ("viewer", "viewer", ""),
            ("operator", "operator", ""),
            ("admin", "admin", ""),
            ("sender", "sender", ""),
            ("stranger", "admin", ", sagas: [return]"),
            ("neighbour", "admin", ", sagas: [order]"),
        ];
        for (name, role, sagas) in rows {
            let (token, digest) = make().unwrap();
            let _ = writeln!(text, "  - {{ name: {name}, role: {role}, sha256: {}{sagas} }}", digest.hex());
            tokens.push((name, token));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.yaml");
        std::fs::write(&file, text).unwrap();
        let access = Access::new(Some(Kept::read(&file).unwrap()), hosts, false);
        let access = Arc::new(access);
        Self { api: Api::guarded(store, FakeDesk::default(), Arc::clone(&access)), access, tokens }
    }

    fn token(&self, name: &str) -> &str {
        &self.tokens.iter().find(|(it, _)| *it == name).unwrap().1
    }

    async fn call(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.api.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn get(&self, name: &str, path: &str) -> Answer {
        self.call("GET", path, Some(self.token(name)), &Value::Null).await
    }
}

fn filled(path: &str) -> String {
    let path = path.replace("{saga}", "order").replace("{order_id}", "101").replace("{sequence}", "1");
    path.replace("{id}", "1").replace("{*path}", "escrow.css")
}

#[tokio::test]
async fn every_route_has_a_row_and_every_row_a_route() {
    let document = Api::of(vec![]).get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let described: BTreeSet<String> = paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |it| format!("{} {path}", it.to_uppercase()))
        })
        .chain([format!("GET {ASSETS}")])
        .collect();
    let rows: BTreeSet<String> = TABLE.iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    assert_eq!(described, rows);
    assert_eq!(rows.len(), TABLE.len(), "no route stands twice");
    for path in page::PATHS {
        assert_eq!(find(&axum::http::Method::GET, path).map(|it| it.who), Some(Who::Anyone), "{path}");
        assert!(find(&axum::http::Method::POST, path).is_none(), "{path}");
    }
}

#[tokio::test]
async fn each_route_lets_in_exactly_the_roles_of_its_row() {
    for row in TABLE {
        let path = filled(row.path);
        // The stream does not end, and its head says it all.
        let guarded = Guarded::new();
        let status = async |token: Option<&str>| {
            let mut request =
                Request::builder().method(row.method).uri(&path).header("content-type", "application/json");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let body = if row.path == "/v1/session" { r#"{"token": "x"}"# } else { r#"{"reason": "r"}"# };
            let request = request.body(Body::from(body)).unwrap();
            guarded.api.router.clone().oneshot(request).await.unwrap().status()
        };
        for (name, token) in &guarded.tokens {
            let role = Role::from_word(name).unwrap_or(Role::Admin);
            let is_kept_out = row.reach == Reach::Whole && Role::from_word(name).is_none();
            let got = status(Some(token)).await;
            if row.path == "/v1/session" && row.method == "POST" {
                assert_eq!(got, StatusCode::UNAUTHORIZED, "the token in the body is none");
            } else if row.who.admits(role) && !is_kept_out {
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
                assert!(!refused.contains(&got) && !got.is_server_error(), "{} {path} as {name}: {got}", row.method);
            } else {
                assert_eq!(got, StatusCode::FORBIDDEN, "{} {path} as {name}", row.method);
            }
        }
        for nobody in [None, Some("hunter2"), Some(make().unwrap().0.as_str())] {
            let got = status(nobody).await;
            match row.who {
                Who::Anyone if row.path == "/v1/session" && row.method == "POST" => {
                    assert_eq!(got, StatusCode::UNAUTHORIZED);
                }
                Who::Anyone => assert!(got.is_success(), "{} {path}: {got}", row.method),
                Who::Known | Who::Viewers | Who::Operators | Who::Admins | Who::Senders => {
                    assert_eq!(got, StatusCode::UNAUTHORIZED, "{} {path}", row.method);
                }
            }
        }
    }
}

#[tokio::test]
async fn roles_are_as_they_are_documented() {
    let may = |role: Role| TABLE.iter().filter(|row| row.who.admits(role) && row.who != Who::Anyone).count();
    let of = |who: Who| TABLE.iter().filter(|row| row.who == who).count();
    assert_eq!(may(Role::Viewer), of(Who::Viewers) + of(Who::Known));
    assert_eq!(may(Role::Operator), may(Role::Viewer) + of(Who::Operators) + of(Who::Senders));
    assert_eq!(may(Role::Admin), may(Role::Operator) + of(Who::Admins));
    assert_eq!(may(Role::Sender), of(Who::Senders) + of(Who::Known));
    let changing = TABLE.iter().filter(|row| row.method != "GET" && row.path != "/v1/session");
    assert!(changing.into_iter().all(|row| !row.who.admits(Role::Viewer)), "who only reads changes nothing");
}

#[tokio::test]
async fn what_nobody_answers_is_no_way_in() {
    let guarded = Guarded::new();
    assert_eq!(guarded.call("DELETE", "/v1/orders", None, &Value::Null).await.status, 405);
    assert_eq!(guarded.call("GET", "/v1/nothing", None, &Value::Null).await.status, 404);
    assert_eq!(guarded.call("HEAD", "/v1/orders", None, &Value::Null).await.status, 401);
    for odd in ["/v1/orders/", "/V1/orders", "//v1/orders", "/v1/%6frders", "/v1/orders;x=1", "/v1/../v1/orders"] {
        let status = guarded.call("GET", odd, None, &Value::Null).await.status;
        assert!(status == 404 || status == 401, "{odd}: {status}");
    }
    let answer = guarded.call("GET", "/v1/orders", None, &Value::Null).await;
    assert!(answer.problem(401).contains("Bearer"));
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"escrow\"");
    for scheme in ["Basic", "bearer", "Token", ""] {
        let request =
            Request::get("/v1/orders").header("authorization", format!("{scheme} {}", guarded.token("viewer")));
        let wanted = if scheme == "bearer" { 200 } else { 401 };
        assert_eq!(guarded.api.send(request.body(Body::empty()).unwrap()).await.status, wanted, "{scheme}");
    }
    let in_the_address = format!("/v1/orders?token={}", guarded.token("viewer"));
    assert_eq!(guarded.call("GET", &in_the_address, None, &Value::Null).await.status, 401);
}

#[tokio::test]
async fn the_journal_names_the_token_whatever_its_holder_calls_himself() {
    let guarded = Guarded::new();
    let request = Request::post("/v1/sagas/order/orders/101/actions")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", guarded.token("operator")))
        .header("x-escrow-actor", "the managing director");
    let body = json!({"action": "note", "reason": "r"}).to_string();
    assert_eq!(guarded.api.send(request.body(Body::from(body)).unwrap()).await.status, 202);
    assert_eq!(guarded.api.desk.asks.lock().unwrap()[0].actor, "operator");
}

#[tokio::test]
async fn callers_do_not_share_idempotency_keys() {
    let guarded = Guarded::new();
    let body = json!({"filter": {"saga": "order"}, "action": "note", "reason": "r"});
    for name in ["operator", "operator", "admin"] {
        let request = Request::post("/v1/actions")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", guarded.token(name)))
            .header("idempotency-key", "k");
        assert_eq!(guarded.api.send(request.body(Body::from(body.to_string())).unwrap()).await.status, 202);
    }
    let ids: Vec<_> = guarded.api.desk.bulks.lock().unwrap().iter().map(|(id, _)| *id).collect();
    assert!(ids[0] == ids[1] && ids[1] != ids[2]);
}

#[tokio::test]
async fn a_forbidden_order_looks_like_one_that_is_not_there() {
    let guarded = Guarded::new();
    assert_eq!(guarded.get("neighbour", "/v1/sagas/order/orders/101").await.status, 200);
    for rest in ["", "/audit", "/audit/1"] {
        let there = guarded.get("stranger", &format!("/v1/sagas/order/orders/101{rest}")).await;
        let nowhere = guarded.get("stranger", &format!("/v1/sagas/ordex/orders/101{rest}")).await;
        assert_eq!((there.status, nowhere.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
        assert_eq!(there.text.replace("`order`", "`ordex`"), nowhere.text);
        let names =
            |answer: &Answer| answer.headers.keys().filter(|it| *it != "x-request-id").cloned().collect::<Vec<_>>();
        assert_eq!(names(&there), names(&nowhere));
    }
    let act = json!({"action": "close", "reason": "r"});
    let token = Some(guarded.token("stranger"));
    for path in ["/v1/sagas/order/orders/101/actions", "/v1/sagas/ordex/orders/101/actions"] {
        assert!(guarded.call("POST", path, token, &act).await.problem(404).contains("is no saga"));
    }
    assert!(guarded.api.desk.asks.lock().unwrap().is_empty());
    for path in ["/v1/orders?saga=order", "/v1/journal?saga=order", "/v1/flow?saga=order", "/v1/stream?saga=order"] {
        assert!(guarded.get("stranger", path).await.problem(400).contains("`order` is no saga"), "{path}");
    }
    for path in ["/v1/sagas", "/v1/due", "/v1/search?text=1", "/v1/status", "/v1/sagas/order"] {
        let text = guarded.get("stranger", path).await.text;
        assert!(
            !text.contains("101") && !text.contains("OrderPlaced") && !text.contains("\"order\""),
            "{path}: {text}"
        );
    }
    let filter = json!({"filter": {"status": "running"}, "action": "note", "reason": "r"});
    assert_eq!(guarded.call("POST", "/v1/actions", token, &filter).await.status, 202);
    assert_eq!(guarded.api.desk.bulks.lock().unwrap()[0].1.filter.sagas, ["return"]);
}

fn cookie_of(answer: &Answer) -> (String, String) {
    let set = answer.headers["set-cookie"].to_str().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    (pair.to_owned(), attributes.to_owned())
}

#[tokio::test]
async fn a_browser_signs_in_with_a_cookie_no_script_can_read() {
    let guarded = Guarded::new();
    let sign_in = async |origin: Option<&str>, token: &str| {
        let mut request =
            Request::post("/v1/session").header("content-type", "application/json").header("host", "e.example");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        guarded.api.send(request.body(Body::from(json!({"token": token}).to_string())).unwrap()).await
    };
    assert_eq!(sign_in(None, "hunter2").await.status, 401);
    let answer = sign_in(Some("https://e.example"), guarded.token("operator")).await;
    assert_eq!(answer.json(), json!({"required": true, "name": "operator", "role": "operator", "sagas": null}));
    let (pair, attributes) = cookie_of(&answer);
    assert!(pair.starts_with("__Host-escrow=escrow_"));
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure");
    let (pair, attributes) = cookie_of(&sign_in(Some("http://e.example"), guarded.token("operator")).await);
    assert_eq!((&pair[..15], attributes.contains("Secure")), ("escrow-session=", false));

    let with = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", format!("a=b; {pair}"))
            .header("content-type", "application/json")
    };
    let session = guarded.api.send(with("GET", "/v1/session").body(Body::empty()).unwrap()).await;
    assert_eq!(session.json()["name"], "operator");
    let act = || Body::from(json!({"action": "note", "reason": "r"}).to_string());
    let path = "/v1/sagas/order/orders/101/actions";
    let forged = guarded.api.send(with("POST", path).body(act()).unwrap()).await;
    assert!(forged.problem(403).contains("x-escrow-page"));
    assert!(guarded.api.desk.asks.lock().unwrap().is_empty());
    let own = with("POST", path).header("x-escrow-page", "1").header("sec-fetch-site", "same-origin");
    assert_eq!(guarded.api.send(own.body(act()).unwrap()).await.status, 202);

    let out = guarded.api.send(with("DELETE", "/v1/session").body(Body::empty()).unwrap()).await;
    let (pair, attributes) = cookie_of(&out);
    assert!(pair == "escrow-session=" && attributes.contains("Max-Age=0"));
    let signed_out = Request::get("/v1/session").header("cookie", pair).body(Body::empty()).unwrap();
    assert_eq!(guarded.api.send(signed_out).await.status, 401);
}

#[tokio::test]
async fn another_sites_page_asks_in_vain_with_tokens_or_without() {
    let (guarded, open) = (Guarded::new(), Api::of(vec![order("101")]));
    let act = json!({"action": "note", "reason": "r"}).to_string();
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[], 202),
        (&[("origin", "http://e.example")], 202),
        (&[("sec-fetch-site", "same-origin"), ("origin", "https://outside.example")], 202),
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site"), ("origin", "http://e.example")], 403),
    ];
    for (headers, wanted) in cases {
        for api in [&guarded.api, &open] {
            let mut request = Request::post("/v1/sagas/order/orders/101/actions")
                .header("content-type", "application/json")
                .header("host", "e.example")
                .header("authorization", format!("Bearer {}", guarded.token("operator")));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let got = api.send(request.body(Body::from(act.clone())).unwrap()).await.status;
            assert_eq!(got.as_u16(), wanted, "{headers:?}");
        }
    }
    // No answer allows another site anything.
    let asked = Request::builder().method("OPTIONS").uri("/v1/orders").header("origin", "http://evil.example");
    let answer = open.send(asked.header("access-control-request-method", "POST").body(Body::empty()).unwrap()).await;
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn a_name_that_is_none_of_ours_is_refused_on_every_path() {
    let guarded = Guarded::over(FakeStore::default(), Hosts::of(true, vec![]));
    for path in ["/livez", "/", "/v1/orders", "/v1/nothing", "/metrics"] {
        let request = Request::get(path).header("host", "rebound.example:8080").body(Body::empty()).unwrap();
        let answer = guarded.api.send(request).await;
        assert!(answer.problem(421).contains("rebound.example"), "{path}");
        let own = Request::get(path).header("host", "localhost:8080").body(Body::empty()).unwrap();
        assert_ne!(guarded.api.send(own).await.status, 421, "{path}");
    }
}

#[tokio::test]
async fn one_token_that_asks_too_often_is_told_when_to_come_again() {
    let guarded = Guarded::new();
    // All that fits into an hour from now is drawn, so nothing comes back while the test runs.
    let later = Instant::now() + Duration::from_hours(1);
    let share = guarded.access.shares.of("token viewer", later);
    while guarded.access.shares.begin(Some(&share), later).is_ok() {}
    let refused = guarded.get("viewer", "/v1/session").await;
    assert!(refused.problem(429).contains("too often"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(guarded.get("admin", "/v1/session").await.status, 200, "the others are served");
}

#[tokio::test]
async fn an_address_that_shows_wrong_tokens_is_put_off() {
    let guarded = Guarded::new();
    let from = |address: [u8; 4], token: &str| {
        let mut request =
            Request::get("/v1/session").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4711))));
        request
    };
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(guarded.api.send(from([192, 0, 2, 1], "hunter2")).await.status.as_u16());
    }
    assert_eq!((statuses[0], statuses.contains(&429)), (401, true));
    assert_eq!(guarded.api.send(from([192, 0, 2, 2], "hunter2")).await.status, 401);
    assert_eq!(
        guarded.api.send(from([192, 0, 2, 1], guarded.token("viewer"))).await.status,
        200,
        "a right one is let in"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_so_that_its_token_is_looked_at_again() {
    let guarded = Guarded::new();
    let request = Request::get("/v1/stream").header("authorization", format!("Bearer {}", guarded.token("viewer")));
    let response = guarded.api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let mut body = response.into_body();
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::time::timeout(Duration::from_hours(1), read).await.expect("it ends");
}

#[tokio::test]
async fn without_an_access_file_nobody_has_to_sign_in() {
    let api = Api::of(vec![]);
    let session = api.get("/v1/session").await.json();
    assert_eq!(session, json!({"required": false, "name": null, "role": "admin", "sagas": null}));
    assert!(api.post("/v1/session", &json!({"token": "x"})).await.problem(409).contains("nobody has to sign in"));
}
