//! Seam 3: people. Tells channels of incidents; decides nothing and remembers nothing.
//!
//! ```text
//!   alerts.yaml ─▶ rules ─▶ which channels       (asked when a notice is written)
//!   notice + rules ─▶ Alert ─▶ words of the kind ─▶ send ─▶ taken, later, refused
//!                     render   slack, pagerduty,
//!                              alertmanager, webhook, mail
//! ```
//!
//! Everything but `send` is pure: what a channel is told is a value that a test can read. When to send, and again, is the loop's
//! (`worker/alerting.rs`), by rows of the store. Knows incidents as values; nothing of stores, loops or the API.

mod alertmanager;
mod call;
mod channel;
mod mail;
mod pagerduty;
mod render;
pub mod rules;
mod secret;
mod send;
mod severity;
mod slack;
#[cfg(test)]
mod tests;
mod trial;
mod webhook;

use std::sync::Arc;

pub use alertmanager::RESOLVED_FOR;
pub use call::Answer;
pub use channel::{Alertmanager, Channel, Receiver};
pub use render::Alert;
pub use severity::{Severity, severity_of};
pub use trial::Tried;

use crate::saga::incident::{Incident, Notice, NoticeKind};
use crate::saga::time::Moment;
use rules::Rules;
use send::Sender;

/// The channels of one Escrow, ready to be told.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub rules: Arc<Rules>,
    /// The name of this Escrow.
    instance: String,
    sender: Sender,
}

impl Alerts {
    /// # Errors
    /// The machine cannot make secure calls.
    pub fn new(rules: Rules, instance: String) -> Result<Self, reqwest::Error> {
        Ok(Self { rules: Arc::new(rules), instance, sender: Sender::new()? })
    }

    /// Tells one channel.
    pub async fn tell(&self, channel: &Channel, notice: Notice, now: Moment) -> Answer {
        self.sender.send(channel, &self.alert(notice), now).await
    }

    /// Tells an Alertmanager what is so.
    pub async fn stand(&self, channel: &Channel, it: &Alertmanager, incidents: Vec<Incident>, now: Moment) -> Answer {
        let alert = |incident| {
            self.alert(Notice { channel: channel.name.clone(), kind: NoticeKind::Update, number: 0, incident })
        };
        let alerts: Vec<Alert> = incidents.into_iter().map(alert).collect();
        self.sender.all_peers(channel, it, &alerts, now).await
    }

    fn alert(&self, notice: Notice) -> Alert {
        let about = &notice.incident.about;
        Alert {
            severity: self.rules.severity(&about.cause),
            instance: self.instance.clone(),
            link: self.rules.link.as_ref().map(|base| format!("{base}/incidents/{}", about.id())),
            runbook_url: self.rules.runbook_url(&about.cause).map(str::to_owned),
            is_test: false,
            notice,
        }
    }
}

/// An error with all it came from, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
