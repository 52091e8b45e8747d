//! Incidents as rows, and what is to be told of them.
//!
//! Changes and their notices are one transaction, saved only by the replica that holds the lease: it holds the lease's row until the
//! commit, so two replicas never decide from the same rows. What a person acknowledges is a column of its own, which nobody else
//! writes.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::rows::{self, int};
use super::session::{Failure, Session};
use super::statement::{Bind, Row, Rows, columns, sql};
use super::{IncidentFilter, Listed, Page, QuarantineGrowth, StoreError, cursor};
use crate::saga::incident::decide::{Changes, Standing, Told};
use crate::saga::incident::{About, Acked, Incident, IncidentStatus, Notice};
use crate::saga::time::Moment;

/// The lease of whoever decides about incidents.
pub const LEASE: &str = "incidents";

/// Of messages in quarantine, so many of the newest are looked at: whether it grows is seen from fewer.
const GROWTH_FROM: i64 = 1_000;

/// When an episode opened, its id and number: the last of a page.
type Place = (i64, String, i64);

/// See [`super::Store::save_incidents`].
pub async fn save(session: &mut dyn Session, (owner, changes): &(Uuid, Changes)) -> Result<bool, Failure> {
    let lease = vec![Bind::Text(LEASE.to_owned()), Bind::Text(owner.to_string()), Bind::Now];
    if session.execute(sql!("hold_lease"), lease).await? == 0 {
        return Ok(false);
    }
    save_incidents(session, &changes.saved).await?;
    save_notices(session, &changes.notices).await?;
    Ok(true)
}

async fn save_incidents(session: &mut dyn Session, saved: &[Standing]) -> Result<(), Failure> {
    if saved.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(saved.len());
    for standing in saved {
        let (samples, told_to) = (rows::json(&standing.incident.samples)?, rows::json(&standing.told.channels)?);
        all.push((&standing.incident, &standing.told, samples, told_to));
    }
    let rows: Rows = columns!(all;
        Text(|it| it.0.about.id()),
        Int(|it| int(it.0.episode)),
        Text(|it| it.0.about.cause.clone()),
        Text(|it| it.0.about.saga.clone()),
        OptText(|it| it.0.about.step.clone()),
        Text(|it| it.0.status.word().to_owned()),
        Int(|it| int(it.0.count)),
        Int(|it| int(it.0.peak)),
        Int(|it| it.0.first_at.0),
        Int(|it| it.0.last_at.0),
        Int(|it| it.0.opened_at.0),
        OptInt(|it| it.0.resolved_at.map(|at| at.0)),
        OptInt(|it| it.0.calm_since.map(|at| at.0)),
        Text(|it| it.2.clone()),
        Text(|it| rows::without_nul(&it.0.why)),
        OptText(|it| it.0.parent.clone()),
        Int(|it| int(it.1.notices)),
        OptInt(|it| it.1.at.map(|at| at.0)),
        Int(|it| int(it.1.count)),
        Text(|it| it.3.clone()));
    session.execute(sql!("save_incidents"), vec![Bind::Rows(rows)]).await?;
    Ok(())
}

async fn save_notices(session: &mut dyn Session, notices: &[Notice]) -> Result<(), Failure> {
    if notices.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(notices.len());
    for notice in notices {
        all.push((notice, rows::json(&notice.incident)?));
    }
    let rows: Rows = columns!(all;
        Text(|it| it.0.key().to_string()),
        Text(|it| it.0.channel.clone()),
        Text(|it| it.0.incident.about.id()),
        Int(|it| int(it.0.incident.episode)),
        Int(|it| int(it.0.number)),
        Text(|it| it.0.kind.word().to_owned()),
        Text(|it| it.1.clone()));
    session.execute(sql!("insert_notices"), vec![Bind::Rows(rows), Bind::Now]).await?;
    Ok(())
}

/// See [`super::Store::ack_incident`].
pub async fn ack(session: &mut dyn Session, it: &(String, String, String)) -> Result<Option<Standing>, Failure> {
    let (id, actor, reason) = it;
    let binds = vec![Bind::Text(id.clone()), Bind::Text(actor.clone()), Bind::Text(reason.clone()), Bind::Now];
    session.execute(sql!("ack_incident"), binds).await?;
    Ok(episodes(session, &(id.clone(), 1)).await?.pop())
}

/// See [`super::Query::open_incidents`].
pub async fn open(session: &mut dyn Session) -> Result<Vec<Standing>, Failure> {
    read_all(&session.fetch(sql!("incident_columns", "open_incidents"), Vec::new()).await?)
}

/// See [`super::Query::incidents`].
pub async fn list(session: &mut dyn Session, it: &(IncidentFilter, Page)) -> Result<Listed<Standing>, Failure> {
    let (filter, page) = it;
    let (at, id, episode) = cursor::read::<Place>(page)?.unwrap_or((i64::MAX, String::new(), 0));
    let all = IncidentStatus::ALL.iter();
    let statuses = all.filter(|status| filter.status.is_none_or(|wanted| wanted == **status));
    let binds = vec![
        Bind::Texts(statuses.map(|status| status.word().to_owned()).collect()),
        Bind::Int(at),
        Bind::Text(id),
        Bind::Int(episode),
        Bind::OptText(filter.saga.clone()),
        Bind::OptText(filter.cause.clone()),
        Bind::Int(rows::limit(page.limit.saturating_add(1))),
    ];
    let found = read_all(&session.fetch(sql!("incident_columns", "list_incidents"), binds).await?)?;
    let place = |it: &Standing| (it.incident.opened_at.0, it.incident.about.id(), int(it.incident.episode));
    Ok(cursor::cut(found, page.limit, place)?)
}

/// See [`super::Query::incident_episodes`].
pub async fn episodes(session: &mut dyn Session, (id, limit): &(String, usize)) -> Result<Vec<Standing>, Failure> {
    let binds = vec![Bind::Text(id.clone()), Bind::Int(rows::limit(*limit))];
    read_all(&session.fetch(sql!("incident_columns", "incident_episodes"), binds).await?)
}

/// See [`super::Query::last_episodes`].
pub async fn last_episodes(session: &mut dyn Session, ids: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
    let found = session.fetch(sql!("last_episodes"), vec![Bind::Texts(ids.to_vec())]).await?;
    found.iter().map(|row| Ok((row.get("id")?, rows::number(row, "episode")?))).collect()
}

/// See [`super::Query::quarantine_growth`].
pub async fn quarantine_growth(session: &mut dyn Session, since: Moment) -> Result<Vec<QuarantineGrowth>, Failure> {
    let read = |row: &Row| {
        Ok(QuarantineGrowth {
            saga: row.get("saga")?,
            messages: rows::number(row, "messages")?,
            first_at: rows::moment(row, "first_at")?,
            last_at: rows::moment(row, "last_at")?,
        })
    };
    let binds = vec![Bind::Int(since.0), Bind::Int(GROWTH_FROM)];
    session.fetch(sql!("quarantine_growth"), binds).await?.iter().map(read).collect()
}

fn read_all(found: &[Row]) -> Result<Vec<Standing>, Failure> {
    found.iter().map(|row| Ok(read(row)?)).collect()
}

fn read(row: &Row) -> Result<Standing, StoreError> {
    let acked = match (row.get::<Option<String>>("acked_by")?, rows::opt_moment(row, "acked_at")?) {
        (Some(by), Some(at)) => {
            Some(Acked { by, at, reason: row.get::<Option<String>>("acked_reason")?.unwrap_or_default() })
        }
        (Some(_) | None, _) => None,
    };
    let incident = Incident {
        about: About { cause: row.get("cause")?, saga: row.get("saga")?, step: row.get("step")? },
        episode: rows::number(row, "episode")?,
        status: rows::word(row, "status", IncidentStatus::from_word)?,
        count: rows::number(row, "count")?,
        peak: rows::number(row, "peak")?,
        first_at: rows::moment(row, "first_at")?,
        last_at: rows::moment(row, "last_at")?,
        opened_at: rows::moment(row, "opened_at")?,
        resolved_at: rows::opt_moment(row, "resolved_at")?,
        calm_since: rows::opt_moment(row, "calm_since")?,
        samples: rows::from_json("samples", row.get::<&str>("samples")?)?,
        why: row.get("why")?,
        parent: row.get("parent")?,
        acked,
    };
    let told = Told {
        notices: rows::number(row, "told")?,
        at: rows::opt_moment(row, "told_at")?,
        count: rows::number(row, "told_count")?,
        channels: rows::from_json("told_to", row.get::<&str>("told_to")?)?,
    };
    Ok(Standing { incident, told })
}
