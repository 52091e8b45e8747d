//! Tries a channel: an alert and its end, both marked, straight to the receiver.

use super::call::Answer;
use super::channel::Channel;
use super::{Alert, Alerts, Severity};
use crate::saga::incident::{About, Incident, IncidentStatus, Notice, NoticeKind};
use crate::saga::time::Moment;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub trigger: Answer,
    pub resolve: Answer,
}

impl Alerts {
    /// Tells `channel` of an incident that is none, and that it is over. Each try is an episode of its own.
    pub async fn try_out(&self, channel: &Channel, now: Moment) -> Tried {
        let trigger = self.sender.send(channel, &self.marked(channel, NoticeKind::Trigger, now), now).await;
        let resolve = self.sender.send(channel, &self.marked(channel, NoticeKind::Resolve, now), now).await;
        Tried { trigger, resolve }
    }

    fn marked(&self, channel: &Channel, kind: NoticeKind, now: Moment) -> Alert {
        let is_over = kind == NoticeKind::Resolve;
        let incident = Incident {
            about: About { cause: "test".to_owned(), saga: String::new(), step: None },
            episode: u64::try_from(now.0).unwrap_or_default(),
            status: if is_over { IncidentStatus::Resolved } else { IncidentStatus::Open },
            count: 0,
            peak: 0,
            first_at: now,
            last_at: now,
            opened_at: now,
            resolved_at: is_over.then_some(now),
            calm_since: None,
            samples: Vec::new(),
            why: "`escrow alert test` sent this, and its end right after it".to_owned(),
            parent: None,
            acked: None,
        };
        let notice = Notice { channel: channel.name.clone(), kind, number: if is_over { 2 } else { 1 }, incident };
        Alert { is_test: true, severity: Severity::Info, link: None, ..self.alert(notice) }
    }
}
