use super::render::Alert;
use super::severity::Severity;
use crate::saga::incident::{About, Incident, IncidentStatus, Notice, NoticeKind};
use crate::saga::time::Moment;

/// Ten thousand orders wait for the inventory.
pub fn incident() -> Incident {
    let at = Moment(1_795_226_040_000_000);
    Incident {
        about: About {
            cause: "service_silent".to_owned(),
            saga: "order".to_owned(),
            step: Some("inventory".to_owned()),
        },
        episode: 1,
        status: IncidentStatus::Open,
        count: 10_000,
        peak: 10_000,
        first_at: at,
        last_at: Moment(at.0 + 60_000_000),
        opened_at: Moment(at.0 + 30_000_000),
        resolved_at: None,
        calm_since: None,
        samples: (0..12).map(|n| format!("order-{n}")).collect(),
        why: "InventoryReserved has not come; queue inventory has no consumer".to_owned(),
        parent: None,
        acked: None,
    }
}

/// What a channel is told of it.
pub fn alert(kind: NoticeKind, incident: Incident) -> Alert {
    Alert {
        link: Some(format!("https://escrow.example.org/incidents/{}", incident.about.id())),
        notice: Notice { channel: "pager".to_owned(), kind, number: 1, incident },
        severity: Severity::Critical,
        instance: "prod".to_owned(),
        runbook_url: Some("https://wiki.example.org/silent".to_owned()),
        is_test: false,
    }
}
