//! What goes wrong, as RFC 9457 problem details. The only place where an error of the store or the desk meets a status code.
//!
//! A problem names what was meant: the field, the word that was not understood, and the nearest right one. Inner
//! errors of the database are logged and never shown.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::state::{ActError, ResolveError, SubmitError};
use crate::store::StoreError;

/// Seconds after which a caller may try again when something is away.
const RETRY_AFTER: &str = "1";

/// The kinds of problems; each has a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadParameter,
    BadBody,
    BadCursor,
    BadHeader,
    NotSignedIn,
    NotAllowed,
    NotFound,
    MethodNotAllowed,
    Misfit,
    TooLarge,
    UnsupportedMediaType,
    WrongHost,
    Refused,
    TooMany,
    Internal,
    Unavailable,
    TimedOut,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::BadParameter,
        Self::BadBody,
        Self::BadCursor,
        Self::BadHeader,
        Self::NotSignedIn,
        Self::NotAllowed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Misfit,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::WrongHost,
        Self::Refused,
        Self::TooMany,
        Self::Internal,
        Self::Unavailable,
        Self::TimedOut,
    ];

    /// Status, code and title.
    pub fn describe(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadParameter => (StatusCode::BAD_REQUEST, "bad_parameter", "A query parameter is not right"),
            Self::BadBody => (StatusCode::BAD_REQUEST, "bad_body", "The body is not right"),
            Self::BadCursor => (StatusCode::BAD_REQUEST, "bad_cursor", "The cursor is not one this list gave"),
            Self::BadHeader => (StatusCode::BAD_REQUEST, "bad_header", "A header is not right"),
            Self::NotSignedIn => (StatusCode::UNAUTHORIZED, "not_signed_in", "A token is needed"),
            Self::NotAllowed => (StatusCode::FORBIDDEN, "not_allowed", "The token does not allow it"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The method is not for this path")
            }
            Self::Misfit => (StatusCode::CONFLICT, "misfit", "It does not fit the present state"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The content type is not understood")
            }
            Self::WrongHost => (StatusCode::MISDIRECTED_REQUEST, "wrong_host", "The server has no such name"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many", "Too many requests"),
            Self::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "The database refuses this content"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Escrow has a fault"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Something needed is away"),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed_out", "It took too long"),
        }
    }
}

/// A problem to answer with.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    pub errors: Vec<Fault>,
}

/// One thing that is wrong in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where: a JSON pointer into the body, or a parameter's name.
    pub pointer: String,
    pub detail: String,
}

/// RFC 9457 problem details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// Where the kind of problem is explained.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What is wrong with this request, for a person.
    pub detail: String,
    /// Stable word for programs.
    pub code: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Problem {
    /// A problem with its words.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new() }
    }

    /// A query parameter that cannot be used.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let errors = vec![Fault { pointer: name.to_owned(), detail: detail.clone() }];
        Self { kind: Kind::BadParameter, detail, errors }
    }

    /// A body that cannot be used.
    pub fn body(pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let errors = vec![Fault { pointer: pointer.to_owned(), detail: detail.clone() }];
        Self { kind: Kind::BadBody, detail, errors }
    }

    /// Something that is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        match &error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, source, "the database is away");
                Self::new(Kind::Unavailable, "the database cannot be used now; try again")
            }
            StoreError::Refused(_) => {
                tracing::warn!(%error, source, "the database refused a request");
                Self::new(Kind::Refused, "the database refuses this content; trying again will not help")
            }
            StoreError::BadCursor => {
                Self::new(Kind::BadCursor, "the cursor is not one this list gave; begin again without it")
            }
            StoreError::Corrupt(_) => {
                tracing::error!(%error, "stored data cannot be read");
                Self::new(Kind::Internal, "stored data cannot be read; `escrow audit verify` says which")
            }
            StoreError::Unsupported(_) => {
                tracing::error!(%error, "the database cannot be served");
                Self::new(Kind::Internal, "the database is not one this Escrow can serve")
            }
        }
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::NotFound => Self::not_found("there is no such order"),
            ActError::UnknownStep(hint) => Self::body("/step", hint),
            ActError::Misfit(why) | ActError::Observing(why) => Self::new(Kind::Misfit, why),
            ActError::Store(error) => error.into(),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Busy(why) => Self::new(Kind::Unavailable, why),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound => Self::not_found("there is no such message in quarantine"),
            ResolveError::Misfit(why) => Self::new(Kind::Misfit, why),
            ResolveError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.kind.describe();
        let body = ProblemBody {
            kind: format!("/docs#{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            code: code.to_owned(),
            errors: self.errors,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"escrow\""));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

/// The word of `known` nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this similarity a suggestion confuses more than it helps.
    const SIMILAR: f64 = 0.7;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// `"x" is no KIND; did you mean "y"?`, or the list of right ones where that is short.
pub fn unknown<'a>(kind: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// Lists longer than this are not read.
    const LISTED_MAX: usize = 16;
    let known: Vec<&str> = known.into_iter().collect();
    let said: String = word.chars().take(80).collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("`{said}` is no {kind}; did you mean `{near}`?"),
        None if known.is_empty() => format!("`{said}` is no {kind}; there is none yet"),
        None if known.len() <= LISTED_MAX => format!("`{said}` is no {kind}; there is: {}", known.join(", ")),
        None => format!("`{said}` is no {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_right_word_is_named_and_far_ones_are_not() {
        assert_eq!(nearest("wating_on", ["status", "waiting_on"]), Some("waiting_on"));
        assert_eq!(nearest("zzz", ["status", "waiting_on"]), None);
        assert_eq!(unknown("status", "runing", ["running", "stuck"]), "`runing` is no status; did you mean `running`?");
        assert_eq!(unknown("step", "qqq", ["a", "b"]), "`qqq` is no step; there is: a, b");
    }

    #[test]
    fn a_refused_cursor_is_the_callers_fault() {
        assert_eq!(Problem::from(StoreError::BadCursor).kind, Kind::BadCursor);
        assert_eq!(Problem::from(StoreError::Unavailable(sqlx::Error::PoolTimedOut)).kind, Kind::Unavailable);
    }
}
