//! A client of the API: builds addresses that survive any order id, shows the token, and turns answers into failures.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode, Url, redirect};
use serde_json::Value;

use super::args::{PageArgs, ServerArgs};
use super::failure::{Failure, NOT_FOUND, UNAVAILABLE, USAGE};

/// A server that does not even accept a connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than the server itself takes for any call.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Rows asked for at once when all pages are followed.
const LIMIT_MAX: u32 = 500;

/// A running Escrow.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    actor: Option<String>,
}

/// One part of a list.
#[derive(Debug)]
pub struct Rows {
    pub items: Vec<Value>,
    pub next_cursor: Option<String>,
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(args: ServerArgs) -> Result<Self, Failure> {
        let base =
            Url::parse(&args.server).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            Failure::usage(format!("`{}` is no address of a server", args.server))
                .with_hint("write it like http://127.0.0.1:8080")
        })?;
        let token = match args.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(&file)
                    .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
                Some(text.trim().to_owned())
            }
            None => args.token,
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A token must not follow a redirect to somewhere else.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("escrow/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::new(UNAVAILABLE, "no_client", error.to_string()))?;
        let actor = args.actor.or_else(|| std::env::var("USER").ok()).filter(|it| !it.is_empty());
        Ok(Self { http, base, token: token.filter(|it| !it.is_empty()), actor })
    }

    /// The address of a path given in parts; each part may hold any text.
    fn url(&self, parts: &[&str]) -> Result<Url, Failure> {
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(Failure::usage("an id that is empty, `.` or `..` has no address of its own"));
        }
        let encoded: Vec<String> = parts.iter().map(|part| utf8_percent_encode(part, PART).to_string()).collect();
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{}", encoded.join("/"))).map_err(|error| Failure::usage(error.to_string()))
    }

    /// Asks for something.
    pub async fn get(&self, parts: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.send(self.http.request(Method::GET, self.url(parts)?).query(query)).await
    }

    /// Asks for something to be done.
    pub async fn ask(
        &self,
        method: Method,
        parts: &[&str],
        body: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Value, Failure> {
        let mut request = self.http.request(method, self.url(parts)?).json(body);
        if let Some(actor) = &self.actor {
            request = request.header("x-escrow-actor", actor);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    /// Asks for something to be done with what a filter names, a page at a time.
    pub async fn ask_page(
        &self,
        method: Method,
        parts: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, Failure> {
        let mut request = self.http.request(method, self.url(parts)?).query(query).json(body);
        if let Some(actor) = &self.actor {
            request = request.header("x-escrow-actor", actor);
        }
        self.send(request).await
    }

    /// A list, one page or all of them; `name` is the field that holds the rows.
    pub async fn list(
        &self,
        parts: &[&str],
        query: &[(&str, &str)],
        name: &str,
        page: &PageArgs,
    ) -> Result<Rows, Failure> {
        let mut rows = Rows { items: Vec::new(), next_cursor: page.cursor.clone() };
        loop {
            let next = self.page(parts, query, name, page, rows.next_cursor.as_deref()).await?;
            rows.items.extend(next.items);
            rows.next_cursor = next.next_cursor;
            if !page.all || rows.next_cursor.is_none() {
                return Ok(rows);
            }
        }
    }

    /// The part of a list after `cursor`, as long as `page` says.
    pub async fn page(
        &self,
        parts: &[&str],
        query: &[(&str, &str)],
        name: &str,
        page: &PageArgs,
        cursor: Option<&str>,
    ) -> Result<Rows, Failure> {
        let limit = page.limit.or(page.all.then_some(LIMIT_MAX)).map(|it| it.to_string());
        let mut query = query.to_vec();
        query.extend(limit.as_deref().map(|it| ("limit", it)));
        query.extend(cursor.map(|it| ("cursor", it)));
        let mut answer = self.get(parts, &query).await?;
        let Some(Value::Array(items)) = answer.get_mut(name).map(Value::take) else {
            return Err(Failure::new(super::failure::FAILURE, "unexpected", format!("the answer has no `{name}`")));
        };
        Ok(Rows { items, next_cursor: answer["next_cursor"].as_str().map(str::to_owned) })
    }

    /// Asks for something that is plain text.
    pub async fn text(&self, parts: &[&str]) -> Result<String, Failure> {
        let (status, text) = self.answer(self.http.request(Method::GET, self.url(parts)?)).await?;
        if status.is_success() { Ok(text) } else { Err(Failure::answered(status.as_u16(), &Value::Null)) }
    }

    /// Where it asks.
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let (status, text) = self.answer(request).await?;
        let body: Option<Value> = serde_json::from_str(&text).ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            None if status.is_success() => {
                Err(Failure::new(UNAVAILABLE, "not_escrow", format!("{} does not answer like Escrow", self.base))
                    .with_hint("check --server"))
            }
            body => Err(Failure::answered(status.as_u16(), &body.unwrap_or(Value::Null))),
        }
    }

    async fn answer(&self, mut request: RequestBuilder) -> Result<(StatusCode, String), Failure> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        Ok((status, response.text().await.map_err(|error| self.unreachable(&error))?))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_builder() {
            return Failure::new(USAGE, "usage", "token or actor hold characters that cannot be sent");
        }
        let why = if error.is_timeout() {
            "it did not answer in time".to_owned()
        } else {
            let mut source: &dyn std::error::Error = error;
            while let Some(inner) = source.source() {
                source = inner;
            }
            source.to_string()
        };
        Failure::new(UNAVAILABLE, "unavailable", format!("no answer from {}: {why}", self.base))
            .with_hint("is Escrow running there? `--server` or ESCROW_SERVER says where to ask")
    }

    /// Which order is meant: saga and id.
    ///
    /// `SAGA/ID` is tried first; an id alone is looked for in every saga.
    pub async fn resolve(&self, text: &str, saga: Option<&str>) -> Result<(String, String), Failure> {
        if let Some(saga) = saga {
            return Ok((saga.to_owned(), text.to_owned()));
        }
        if let Some((saga, order_id)) = text.split_once('/').filter(|(saga, id)| is_saga(saga) && !id.is_empty()) {
            match self.get(&["v1", "sagas", saga, "orders", order_id], &[]).await {
                Ok(_) => return Ok((saga.to_owned(), order_id.to_owned())),
                Err(failure) if failure.exit == NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
        }
        let answer = self.get(&["v1", "orders"], &[("order_id", text), ("limit", "50")]).await?;
        let found = answer["orders"].as_array().map_or(&[][..], Vec::as_slice);
        let sagas: Vec<&str> = found.iter().filter_map(|it| it["saga"].as_str()).collect();
        match sagas.as_slice() {
            [] => Err(Failure::new(NOT_FOUND, "not_found", format!("there is no order `{text}`"))
                .with_hint("`escrow order list` shows which there are")),
            [saga] => Ok(((*saga).to_owned(), text.to_owned())),
            several => {
                let names: Vec<String> = several.iter().map(|saga| format!("{saga}/{text}")).collect();
                Err(Failure::new(USAGE, "ambiguous", format!("`{text}` names several orders: {}", names.join(", ")))
                    .with_hint("say which, as SAGA/ORDER_ID"))
            }
        }
    }
}

/// Everything but letters, digits and the marks that mean nothing in a path.
const PART: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn is_saga(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_lowercase())
        && text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, '-' | '_'))
}
