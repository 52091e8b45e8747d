//! What `escrow doctor` looks at, as the running Escrow finds it.

use axum::Json;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemBody};
use super::query::Params;
use super::state::ApiState;
use crate::doctor::{Finding, Level};

/// All that one look found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckupView {
    /// When it was looked; a look is kept for ten seconds.
    pub at: String,
    pub problems: u64,
    pub warnings: u64,
    /// Problems first.
    pub findings: Vec<FindingView>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// `ok`, `warning` or `problem`.
    pub level: String,
    /// What kind of thing: `broker`, `tap`, `rights`, `watched`, `retries`, `queues`, `database`, `clock`, `definitions`, `server`.
    pub area: String,
    pub what: String,
    /// What to do; null where all is well.
    pub advice: Option<String>,
}

/// Looks at database, definitions and broker, and says what to mend. Changes nothing; who asks again soon, or beside another, gets
/// the same look.
#[utoipa::path(get, path = "/v1/doctor", tag = "status",
    responses(
        (status = 200, description = "What was found", body = CheckupView),
        (status = 400, description = "It takes no parameters", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn get_doctor(state: ApiState, uri: Uri) -> Result<Json<CheckupView>, Problem> {
    Params::read(&uri, &[], None)?;
    let checkup = state.desk.doctor().await?;
    let count = |level: Level| checkup.findings.iter().filter(|it| it.level == level).count() as u64;
    Ok(Json(CheckupView {
        at: checkup.at.rfc3339(),
        problems: count(Level::Problem),
        warnings: count(Level::Warning),
        findings: checkup.findings.iter().map(finding_view).collect(),
    }))
}

fn finding_view(finding: &Finding) -> FindingView {
    FindingView {
        level: finding.level.word().to_owned(),
        area: finding.area.to_owned(),
        what: finding.what.clone(),
        advice: finding.advice.clone(),
    }
}
