//! People behind an identity provider: a JSON Web Token, checked against the keys the provider publishes.
//!
//! ```text
//!   token ─▶ head: algorithm we allow, key id ─▶ key of that id ─▶ signature, issuer, audience, times ─▶ groups ─▶ role and sagas
//!                                                   │ unknown: the keys are fetched again, at most every so often
//! ```
//!
//! Keys come from the address in the access file and from nowhere else: what a token says about where its key is (`jku`, `x5u`) is not
//! read. Only signatures that need a private key to make are allowed, whatever the token asks for. When the provider is away, the keys
//! known stay good for a day.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::{Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::role::Role;
use super::scope::Scope;

/// Clocks may differ by this much.
const CLOCKS_APART_S: u64 = 60;

/// Keys are fetched again after this long; one the provider took back is refused by then.
const FRESH_FOR: Duration = Duration::from_hours(1);

/// Between two tries to fetch keys, however many tokens name unknown ones.
const TRY_EVERY: Duration = Duration::from_secs(10);

/// Without an answer of the provider the keys known are good for this long.
const GOOD_FOR: Duration = Duration::from_hours(24);

/// Longest the provider may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Largest document of keys.
const KEYS_BYTES_MAX: usize = 1 << 20;

/// Longest token that is read.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Signatures nobody can make who only knows what is published.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The provider, as the access file has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    issuer: String,
    audience: String,
    jwks_url: String,
    /// The claim that names a person in the journal.
    #[serde(default = "subject")]
    name: String,
    /// The claim that holds groups, as a JSON pointer.
    #[serde(default = "groups")]
    groups: String,
    /// The first that fits counts.
    roles: Vec<Given>,
}

/// What a group may do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    group: String,
    role: Role,
    #[serde(default)]
    sagas: Option<Vec<String>>,
}

fn subject() -> String {
    "sub".to_owned()
}

fn groups() -> String {
    "/groups".to_owned()
}

/// A person the provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub role: Role,
    pub scope: Scope,
}

/// The provider, with the keys it published.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    url: Url,
    http: reqwest::Client,
    keys: RwLock<Arc<Keys>>,
    /// Held while keys are fetched; when that was tried last.
    tried_at: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Keys {
    set: Vec<Jwk>,
    fetched_at: Option<Instant>,
}

impl Keys {
    fn is_younger(&self, than: Duration) -> bool {
        self.fetched_at.is_some_and(|at| at.elapsed() < than)
    }
}

impl Provider {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    /// What cannot be right about the settings.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let url = Url::parse(&settings.jwks_url).map_err(|error| format!("oidc: `jwks_url`: {error}"))?;
        let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
        let is_near = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback());
        if url.scheme() != "https" && !(url.scheme() == "http" && is_near) {
            return Err("oidc: `jwks_url` begins with https://: whoever changes keys on their way comes in".to_owned());
        }
        if settings.issuer.is_empty() || settings.audience.is_empty() || settings.roles.is_empty() {
            return Err("oidc: `issuer`, `audience` and `roles` say something".to_owned());
        }
        if !settings.groups.starts_with('/') {
            return Err("oidc: `groups` is a JSON pointer into the claims, like /groups".to_owned());
        }
        for given in &settings.roles {
            let kept = given.sagas.as_ref();
            if kept.is_some_and(|sagas| {
                sagas.is_empty() || sagas.len() > super::book::SAGAS_MAX || given.role == Role::Sender
            }) {
                return Err(format!("oidc: the `sagas` of group `{}` cannot be right", given.group));
            }
        }
        let http = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| format!("oidc: no calls can be made from here: {error}"))?;
        Ok(Self { settings, url, http, keys: RwLock::default(), tried_at: Mutex::default() })
    }

    /// Whether these are its settings.
    pub fn is_of(&self, settings: &Settings) -> bool {
        self.settings == *settings
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who shows this token; `None` where the provider does not vouch for it, here and now, or its groups have no role.
    pub async fn who(&self, token: &str) -> Option<Person> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let head = decode_header(token).ok().filter(|head| ALGORITHMS.contains(&head.alg))?;
        let key = self.key(head.kid.as_deref()?).await?;
        let named = key.common.key_algorithm;
        if named.is_some_and(|named| Algorithm::try_from(named).ok() != Some(head.alg)) {
            return None;
        }
        let mut wanted = Validation::new(head.alg);
        wanted.leeway = CLOCKS_APART_S;
        wanted.validate_nbf = true;
        wanted.set_audience(&[&self.settings.audience]);
        wanted.set_issuer(&[&self.settings.issuer]);
        wanted.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let claims = decode::<Value>(token, &DecodingKey::from_jwk(&key).ok()?, &wanted).ok()?.claims;
        self.person(&claims)
    }

    fn person(&self, claims: &Value) -> Option<Person> {
        let name = claims.get(&self.settings.name)?.as_str()?.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return None;
        }
        let groups: Vec<&str> = match claims.pointer(&self.settings.groups)? {
            Value::String(group) => vec![group],
            Value::Array(groups) => groups.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
        };
        let given = self.settings.roles.iter().find(|given| groups.contains(&given.group.as_str()))?;
        let scope = given.sagas.clone().map_or(Scope::All, |sagas| sagas.into_iter().collect());
        Some(Person { name: name.to_owned(), role: given.role, scope })
    }

    /// The key of this id, after a look at what the provider publishes where that may help.
    async fn key(&self, id: &str) -> Option<Jwk> {
        let known = self.known();
        let found = find(&known, id);
        if found.is_some() && known.is_younger(FRESH_FOR) {
            return found;
        }
        self.fetch(&known).await;
        let known = self.known();
        find(&known, id).filter(|_| known.is_younger(GOOD_FOR))
    }

    fn known(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys, unless somebody else just did.
    async fn fetch(&self, known: &Arc<Keys>) {
        let mut tried_at = self.tried_at.lock().await;
        let is_other = !Arc::ptr_eq(known, &self.known());
        if is_other || tried_at.is_some_and(|at| at.elapsed() < TRY_EVERY) {
            return;
        }
        *tried_at = Some(Instant::now());
        match self.ask().await {
            Ok(set) => {
                let keys = Keys { set: set.keys, fetched_at: Some(Instant::now()) };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(why) => tracing::warn!(why, url = %self.url, "the keys of the identity provider cannot be fetched"),
        }
    }

    async fn ask(&self) -> Result<JwkSet, String> {
        let mut answer =
            self.http.get(self.url.clone()).send().await.map_err(|error| error.without_url().to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > KEYS_BYTES_MAX {
                return Err(format!("it answers with more than {KEYS_BYTES_MAX} bytes"));
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("its answer is no set of keys: {error}"))
    }
}

fn find(keys: &Keys, id: &str) -> Option<Jwk> {
    keys.set.iter().find(|key| key.common.key_id.as_deref() == Some(id)).cloned()
}

#[cfg(test)]
mod tests;
