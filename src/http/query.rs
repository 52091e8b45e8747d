//! Query strings and bodies, read strictly: what is not understood is refused and named, never passed over.
//!
//! A filter that silently ignores a misspelt word shows every order, and somebody compensates them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::http::{Uri, header};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem, unknown};
use crate::saga::catalog::Catalog;
use crate::saga::time::{Moment, Span};
use crate::store::Page;

/// Rows of a page when nothing is said.
pub const LIMIT_DEFAULT: usize = 50;

/// Most rows of a page: an answer stays under a megabyte or so.
pub const LIMIT_MAX: usize = 500;

/// Longest cursor worth handing to a store.
const CURSOR_BYTES_MAX: usize = 1024;

/// Most values of one list parameter: a statement stays small.
const VALUES_MAX: usize = 100;

/// The parameters of one request.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads the query of `uri`; every name must be in `known`, or begin with `prefix` where there is one, and stand once.
    pub fn read(uri: &Uri, known: &[&str], prefix: Option<&str>) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::new(Kind::BadParameter, format!("the query cannot be read: {error}")))?;
        Self::given(pairs, known, prefix)
    }

    /// As [`read`](Self::read), of names and values given otherwise.
    pub fn given(pairs: Vec<(String, String)>, known: &[&str], prefix: Option<&str>) -> Result<Self, Problem> {
        for (at, (name, _)) in pairs.iter().enumerate() {
            let is_prefixed = prefix.is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
            if !is_prefixed && !known.contains(&name.as_str()) {
                let names = known.iter().copied().chain(prefix);
                return Err(Problem::parameter(name, unknown("parameter of this call", name, names)));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::parameter(name, format!("`{name}` is given twice; separate values with commas")));
            }
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter that was given and is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str()).filter(|it| !it.is_empty())
    }

    /// The values of a list, without empty ones.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, Problem> {
        let values: Vec<&str> =
            self.text(name).unwrap_or("").split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
        if values.len() > VALUES_MAX {
            return Err(Problem::parameter(name, format!("`{name}` takes at most {VALUES_MAX} values")));
        }
        Ok(values)
    }

    /// A list whose values are words of ours.
    pub fn words<T>(
        &self,
        name: &str,
        kind: &str,
        known: &[&str],
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Problem> {
        self.list(name)?
            .into_iter()
            .map(|word| read(word).ok_or_else(|| Problem::parameter(name, unknown(kind, word, known.iter().copied()))))
            .collect()
    }

    /// The parameters that begin with `prefix`, without it.
    pub fn prefixed<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The saga named, one of those that are followed.
    pub fn saga(&self, catalog: &Catalog) -> Result<Option<String>, Problem> {
        let Some(name) = self.text("saga") else { return Ok(None) };
        if catalog.newest(name).is_none() {
            let names = catalog.newest_all().map(|saga| saga.name.as_str());
            return Err(Problem::parameter("saga", unknown("saga", name, names)));
        }
        Ok(Some(name.to_owned()))
    }

    /// A span like `10m`.
    pub fn span(&self, name: &str) -> Result<Option<Span>, Problem> {
        self.text(name).map(|text| Span::parse(text).map_err(|why| Problem::parameter(name, why))).transpose()
    }

    /// A moment in RFC 3339.
    pub fn moment(&self, name: &str) -> Result<Option<Moment>, Problem> {
        let read = |text: &str| {
            Moment::parse(text).ok_or_else(|| {
                Problem::parameter(name, format!("`{text}` is no time; write it like 2026-11-21T09:30:00Z"))
            })
        };
        self.text(name).map(read).transpose()
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::parameter(name, format!("`{other}` is neither `true` nor `false`"))),
        }
    }

    /// `limit`, from 1.
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(LIMIT_DEFAULT) };
        match text.parse() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(Problem::parameter("limit", format!("`limit` is a number from 1 to {LIMIT_MAX}"))),
        }
    }

    /// `limit` and `cursor`.
    pub fn page(&self) -> Result<Page, Problem> {
        let cursor = self.text("cursor").map(str::to_owned);
        if cursor.as_ref().is_some_and(|it| it.len() > CURSOR_BYTES_MAX) {
            return Err(Problem::new(Kind::BadCursor, "the cursor is longer than any this list gives"));
        }
        Ok(Page { limit: self.limit()?, cursor })
    }
}

/// A JSON body. The content type must say so, which also keeps forms of foreign web pages out.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = media_type(&request);
        if content_type != "application/json" {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "send the body with `content-type: application/json`",
            ));
        }
        let bytes = body(request, state).await?;
        let read = serde_json::from_slice(&bytes).map_err(|error| Problem::body("", format!("{error}")))?;
        Ok(Self(read))
    }
}

/// The media type of a request, lower-case and without parameters; empty when there is none.
pub fn media_type(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The whole body, within the limit of the route.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(Kind::TooLarge, "the body is larger than this call takes")
        } else {
            Problem::body("", "the body could not be read")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Params, Problem> {
        let uri: Uri = format!("/v1/orders?{query}").parse().unwrap();
        Params::read(&uri, &["status", "limit", "cursor", "older_than", "since", "count"], Some("attr."))
    }

    #[test]
    fn an_unknown_or_repeated_parameter_is_refused_by_name() {
        let unknown = read("statsu=running").unwrap_err();
        assert!(unknown.detail.contains("did you mean `status`"), "{}", unknown.detail);
        assert!(read("status=a&status=b").unwrap_err().detail.contains("twice"));
        assert!(read("attr.=x").is_err());
    }

    #[test]
    fn values_are_read_or_refused_with_what_is_right() {
        let params =
            read("status=running,%20stuck,&attr.customer=J%C3%B6rg&older_than=10m&since=2026-11-21T09:30:00Z").unwrap();
        assert_eq!(params.list("status").unwrap(), ["running", "stuck"]);
        assert_eq!(params.prefixed("attr.").collect::<Vec<_>>(), [("customer", "Jörg")]);
        assert_eq!(params.span("older_than").unwrap(), Some(Span::from_secs(600)));
        assert!(params.moment("since").unwrap().is_some());
        assert_eq!(params.limit().unwrap(), LIMIT_DEFAULT);
        for (query, part) in [("limit=0", "1 to 500"), ("limit=501", "1 to 500"), ("limit=x", "1 to 500")] {
            assert!(read(query).unwrap().limit().unwrap_err().detail.contains(part), "{query}");
        }
        assert!(read("older_than=1.5h").unwrap().span("older_than").is_err());
        assert!(read("since=yesterday").unwrap().moment("since").is_err());
        assert!(read("count=1").unwrap().flag("count").is_err());
        assert_eq!(read(&format!("cursor={}", "x".repeat(2000))).unwrap().page().unwrap_err().kind, Kind::BadCursor);
    }

    #[test]
    fn commas_bound_the_number_of_values() {
        let query = format!("status={}", "a,".repeat(VALUES_MAX + 1));
        assert!(read(&query).unwrap().list("status").is_err());
    }
}
