//! The journal of all orders: what Escrow did, newest first.

use axum::Json;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::{self, EntryView};
use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use super::surroundings::as_of;
use super::view;
use crate::saga::journal::Kind;
use crate::store::JournalFilter;

/// Entries of all orders, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JournalList {
    pub entries: Vec<EntryView>,
    pub next_cursor: Option<String>,
    pub as_of: Option<String>,
}

/// Lists what was journaled for any order.
#[utoipa::path(get, path = "/v1/journal", tag = "journal",
    params(
        ("saga" = Option<String>, Query, description = "Of one saga"),
        ("kind" = Option<String>, Query, description = "Kinds of entries, separated by commas"),
        ("actor" = Option<String>, Query, description = "By one person"),
        ("since" = Option<String>, Query, description = "From this moment on (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Before this moment (RFC 3339)"),
        ("limit" = Option<u32>, Query, description = "Rows of a page: 1 to 500, 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "Entries, newest first", body = JournalList),
        (status = 400, description = "A parameter is not right", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_journal(state: ApiState, uri: Uri) -> Result<Json<JournalList>, Problem> {
    let params = Params::read(&uri, &["saga", "kind", "actor", "since", "until", "limit", "cursor"], None)?;
    let catalog = state.desk.catalog();
    let saga = params.saga(&catalog)?;
    let kinds: Vec<&str> = Kind::ALL.iter().map(|it| it.word()).collect();
    let filter = JournalFilter {
        saga,
        kinds: params.words("kind", "kind of entry", &kinds, Kind::from_word)?,
        actor: params.text("actor").map(str::to_owned),
        since: params.moment("since")?,
        until: params.moment("until")?,
    };
    let listed = state.query.journal(filter, params.page()?).await?;
    Ok(Json(JournalList {
        entries: listed.items.iter().map(|row| audit::entry(&catalog, row)).collect::<Result<_, _>>()?,
        next_cursor: listed.next_cursor,
        as_of: view::time(as_of(&state, &catalog)),
    }))
}
