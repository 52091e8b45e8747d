//! Against a provider of our own, with keys made here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;

use super::*;

struct Key {
    id: &'static str,
    private: EncodingKey,
}

impl Key {
    fn make(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { id, private: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    fn public(&self) -> Value {
        let mut key = serde_json::to_value(Jwk::from_encoding_key(&self.private, Algorithm::ES256).unwrap()).unwrap();
        key["kid"] = json!(self.id);
        key
    }

    fn sign(&self, claims: &Value) -> String {
        let head = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&head, claims, &self.private).unwrap()
    }
}

/// What the provider answers, and how often it was asked.
#[derive(Default)]
struct Published {
    keys: std::sync::Mutex<Option<Value>>,
    asked: AtomicUsize,
}

impl Published {
    fn answer(&self) -> Response {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.keys.lock().unwrap().clone() {
            Some(Value::String(elsewhere)) => Redirect::temporary(&elsewhere).into_response(),
            Some(keys) => axum::Json(keys).into_response(),
            None => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        *self.keys.lock().unwrap() = Some(json!({"keys": keys}));
    }
}

async fn provider() -> (Provider, Arc<Published>) {
    let published = Arc::new(Published::default());
    let answering = Arc::clone(&published);
    let app = Router::new().route("/keys", get(move || async move { answering.answer() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let settings = settings(&format!("http://{address}/keys"));
    (Provider::new(settings).unwrap(), published)
}

fn settings(url: &str) -> Settings {
    serde_json::from_value(json!({
        "issuer": "https://login.example.org", "audience": "escrow", "jwks_url": url, "name": "email",
        "roles": [
            {"group": "admins", "role": "admin"},
            {"group": "orders", "role": "operator", "sagas": ["order"]},
        ],
    }))
    .unwrap()
}

fn claims() -> Value {
    let now = get_current_timestamp();
    json!({"iss": "https://login.example.org", "aud": "escrow", "sub": "1", "exp": now + 600, "nbf": now,
        "email": "ada@example.org", "groups": ["orders"]})
}

fn with(change: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in change {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*name);
        } else {
            claims[*name] = value.clone();
        }
    }
    claims
}

#[tokio::test]
async fn a_person_is_who_the_provider_says_and_may_what_the_first_fitting_group_may() {
    let (provider, published) = provider().await;
    let key = Key::make("one");
    published.publish(&[&key]);
    let scope: Scope = ["order"].into_iter().collect();
    let ada = Person { name: "ada@example.org".to_owned(), role: Role::Operator, scope };
    assert_eq!(provider.who(&key.sign(&claims())).await, Some(ada.clone()));
    let both = with(&[("groups", json!(["x", "orders", "admins"]))]);
    assert_eq!(
        provider.who(&key.sign(&both)).await,
        Some(Person { role: Role::Admin, scope: Scope::All, ..ada.clone() })
    );
    assert_eq!(provider.who(&key.sign(&with(&[("aud", json!(["other", "escrow"]))]))).await, Some(ada.clone()));
    let now = get_current_timestamp();
    let skewed = with(&[("exp", json!(now - 30)), ("nbf", json!(now + 30))]);
    assert_eq!(provider.who(&key.sign(&skewed)).await, Some(ada), "clocks differ a little");
    assert_eq!(published.asked.load(Ordering::SeqCst), 1, "keys are kept");
}

#[tokio::test]
async fn what_is_not_right_in_every_part_lets_nobody_in() {
    let (provider, published) = provider().await;
    let (key, other) = (Key::make("one"), Key::make("one"));
    published.publish(&[&key]);
    let now = get_current_timestamp();
    for change in [
        ("iss", json!("https://evil.example")),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!(["another"])),
        ("aud", Value::Null),
        ("exp", json!(now - 120)),
        ("exp", json!("tomorrow")),
        ("exp", Value::Null),
        ("nbf", json!(now + 120)),
        ("sub", Value::Null),
        ("email", Value::Null),
        ("email", json!("ada\nbob")),
        ("groups", Value::Null),
        ("groups", json!(["others"])),
        ("groups", json!({"orders": true})),
    ] {
        let wrong = key.sign(&with(std::slice::from_ref(&change)));
        assert_eq!(provider.who(&wrong).await, None, "{change:?}");
    }
    assert_eq!(provider.who(&other.sign(&claims())).await, None, "the same id, another key");
    let right = key.sign(&claims());
    assert!(provider.who(&right).await.is_some());
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    assert_eq!(provider.who(&format!("{signed}.")).await, None, "no signature");
    assert_eq!(provider.who(&format!("{head}.{}.{signature}", body.to_lowercase())).await, None, "another body");
    let base64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    assert_eq!(provider.who(&format!("{}.{body}.", base64(r#"{"alg":"none","kid":"one"}"#))).await, None);
    // What is public, as the secret of a signature that needs none other.
    let public = serde_json::to_vec(&key.public()).unwrap();
    let head = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    assert_eq!(provider.who(&encode(&head, &claims(), &EncodingKey::from_secret(&public)).unwrap()).await, None);
    let unnamed = encode(&Header::new(Algorithm::ES256), &claims(), &key.private).unwrap();
    assert_eq!(provider.who(&unnamed).await, None, "no key is named");
    for wrong in ["", "a.b.c", &"x".repeat(20_000), &format!("{}.{}.x", "a".repeat(5_000), "b".repeat(5_000))] {
        assert_eq!(provider.who(wrong).await, None);
    }
}

#[tokio::test]
async fn keys_are_fetched_anew_for_an_unknown_one_but_not_for_each() {
    let (provider, published) = provider().await;
    let (first, second) = (Key::make("one"), Key::make("two"));
    published.publish(&[&first]);
    assert!(provider.who(&first.sign(&claims())).await.is_some());
    // The provider changes its keys; the pause between two tries is over.
    published.publish(&[&second]);
    *provider.tried_at.lock().await = None;
    assert!(provider.who(&second.sign(&claims())).await.is_some());
    assert!(provider.who(&first.sign(&claims())).await.is_none(), "it was taken back");
    assert_eq!(published.asked.load(Ordering::SeqCst), 2);
    let strangers: Vec<Key> = ["a", "b", "c", "d"].map(Key::make).into();
    for stranger in &strangers {
        assert!(provider.who(&stranger.sign(&claims())).await.is_none());
    }
    assert_eq!(published.asked.load(Ordering::SeqCst), 2, "not again so soon");
}

#[tokio::test]
async fn without_the_provider_the_keys_known_stay_good_and_a_redirect_is_not_followed() {
    let (provider, published) = provider().await;
    let key = Key::make("one");
    assert!(provider.who(&key.sign(&claims())).await.is_none(), "it is away");
    published.publish(&[&key]);
    *provider.tried_at.lock().await = None;
    assert!(provider.who(&key.sign(&claims())).await.is_some());
    let age = |by: Duration| {
        let set = provider.known().set.clone();
        let fetched_at = Instant::now().checked_sub(by);
        *provider.keys.write().unwrap() = Arc::new(Keys { set, fetched_at });
    };
    let url = provider.url.to_string();
    for away in [None, Some(Value::String(url))] {
        *published.keys.lock().unwrap() = away;
        age(FRESH_FOR);
        *provider.tried_at.lock().await = None;
        assert!(provider.who(&key.sign(&claims())).await.is_some());
    }
    let asked = published.asked.load(Ordering::SeqCst);
    assert_eq!(asked, 4, "each time once, and nowhere else");
}

#[test]
fn an_address_that_anybody_on_the_way_can_answer_for_is_refused() {
    for (url, part) in [("http://login.example.org/keys", "https://"), ("ftp://x", "https://"), ("x", "jwks_url")] {
        assert!(Provider::new(settings(url)).unwrap_err().contains(part), "{url}");
    }
    assert!(Provider::new(settings("https://login.example.org/keys")).is_ok());
}
