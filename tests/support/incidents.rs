//! Incidents by hand, with what is to be told of them: what the loop that decides about incidents writes, in one transaction.

use std::fmt::Write as _;

use escrow::saga::incident::{About, Incident, IncidentStatus, Notice, NoticeKind};
use escrow::saga::time::{Moment, Span};
use uuid::Uuid;

use super::database::Database;

/// The inventory is silent, and ten thousand orders wait for it.
pub fn silent(episode: u64) -> Incident {
    let at = Moment(1_795_226_040_000_000);
    Incident {
        about: About {
            cause: "service_silent".to_owned(),
            saga: "order".to_owned(),
            step: Some("inventory".to_owned()),
        },
        episode,
        status: IncidentStatus::Open,
        count: 10_000,
        peak: 10_000,
        first_at: at,
        last_at: at + Span::from_secs(60),
        opened_at: at + Span::from_secs(30),
        resolved_at: None,
        calm_since: None,
        samples: (0..10).map(|n| format!("order-{n}")).collect(),
        why: "InventoryReserved has not come; queue inventory has no consumer".to_owned(),
        parent: None,
        acked: None,
    }
}

/// The same, over.
pub fn over(mut incident: Incident) -> Incident {
    incident.status = IncidentStatus::Resolved;
    incident.count = 0;
    incident.resolved_at = Some(incident.opened_at + Span::from_secs(90));
    incident
}

/// Writes the incident as it is, and a notice for each channel; gives their keys.
pub async fn tell(
    database: &Database,
    incident: &Incident,
    (number, kind): (u64, NoticeKind),
    channels: &[&str],
) -> Vec<Uuid> {
    let (id, about) = (incident.about.id(), &incident.about);
    let time = |at: Option<Moment>| at.map_or("NULL".to_owned(), |at| at.0.to_string());
    let mut sql = format!(
        "INSERT INTO incidents (id, episode, cause, saga, step, status, count, peak, first_at, last_at, opened_at, resolved_at, samples, why, told)
         VALUES ({}, {}, {}, {}, {}, '{}', {}, {}, {}, {}, {}, {}, {}, {}, {number})
         ON CONFLICT (id, episode) DO UPDATE SET status = excluded.status, resolved_at = excluded.resolved_at;",
        quoted(&id),
        incident.episode,
        quoted(&about.cause),
        quoted(&about.saga),
        about.step.as_deref().map_or("NULL".to_owned(), quoted),
        incident.status.word(),
        incident.count,
        incident.peak,
        incident.first_at.0,
        incident.last_at.0,
        incident.opened_at.0,
        time(incident.resolved_at),
        quoted(&serde_json::to_string(&incident.samples).unwrap()),
        quoted(&incident.why),
    );
    let mut keys = Vec::new();
    for channel in channels {
        let notice = Notice { channel: (*channel).to_owned(), kind, number, incident: incident.clone() };
        write!(
            sql,
            "INSERT INTO notices (key, channel, incident, episode, number, kind, content, available_at, created_at)
             VALUES ('{}', {}, {}, {}, {number}, '{}', {}, 0, {});",
            notice.key(),
            quoted(channel),
            quoted(&id),
            incident.episode,
            kind.word(),
            quoted(&serde_json::to_string(incident).unwrap()),
            incident.opened_at.0,
        )
        .unwrap();
        keys.push(notice.key());
    }
    database.raw(&sql).await.unwrap();
    keys
}

/// Verdicts of what was told of an episode, as `channel kind: verdict`, sorted; what is to be sent has none.
pub async fn verdicts(database: &Database, incident: &Incident) -> Vec<String> {
    let mut lines = database
        .lines(
            &format!(
                "SELECT channel || ' ' || kind || ': ' || coalesce(verdict, 'pending') AS line FROM notices
                 WHERE incident = '{}' AND episode = {}",
                incident.about.id(),
                incident.episode
            ),
            "line",
        )
        .await;
    lines.sort();
    lines
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
