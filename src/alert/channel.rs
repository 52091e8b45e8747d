//! Channels as values: where alerts go, and what is needed to get them there.

use super::secret::Secret;
use crate::saga::time::Span;

/// One channel of `alerts.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    pub receiver: Receiver,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    Alertmanager(Alertmanager),
    /// A webhook that takes what Slack's takes. The address is the key.
    Slack {
        url: Secret,
    },
    PagerDuty {
        url: Secret,
        routing_key: Secret,
    },
    Webhook {
        url: Secret,
        secret: Secret,
    },
    Email(Mailbox),
}

/// Alertmanagers that know of each other: each is told everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alertmanager {
    pub urls: Vec<Secret>,
    /// What lasts is said again this often.
    pub every: Span,
}

/// A mailbox and the server that takes mail for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// User and password.
    pub login: Option<(String, Secret)>,
    pub from: lettre::message::Mailbox,
    pub to: Vec<lettre::message::Mailbox>,
}

/// How mail is kept from being read on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The connection begins in the clear and must turn to TLS before anything is said.
    Upgraded,
    /// TLS from the first byte.
    FromStart,
    /// In the clear.
    Plain,
}

impl Tls {
    /// The port that is usual for it.
    pub fn port(self) -> u16 {
        match self {
            Self::Upgraded => 587,
            Self::FromStart => 465,
            Self::Plain => 25,
        }
    }
}

impl Receiver {
    /// The word of `alerts.yaml`, and the label of metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Slack { .. } => "slack",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Webhook { .. } => "webhook",
            Self::Email(_) => "email",
        }
    }

    /// What a person does who finds that the receiver refuses what it is sent.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "check `urls` and what stands before the Alertmanager",
            Self::Slack { .. } => "the webhook may be revoked, or its channel archived: make a new one and set `url`",
            Self::PagerDuty { .. } => "check `routing_key`: it is the integration key of an Events API v2 integration",
            Self::Webhook { .. } => "check `url` and `secret`, and why the receiver refuses what is signed with it",
            Self::Email(_) => "check `user`, `password`, `from` and `to`",
        }
    }
}

impl Channel {
    /// Every secret of the channel, the longest first, so that a part never uncovers the whole.
    fn secrets(&self) -> Vec<&Secret> {
        let mut secrets = match &self.receiver {
            Receiver::Alertmanager(it) => it.urls.iter().collect(),
            Receiver::Slack { url } => vec![url],
            Receiver::PagerDuty { url, routing_key } => vec![url, routing_key],
            Receiver::Webhook { url, secret } => vec![url, secret],
            Receiver::Email(it) => it.login.iter().map(|(_, password)| password).collect(),
        };
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets
    }

    /// `text`, which came from outside, without the channel's secrets and fit for one line.
    pub fn clean(&self, text: &str) -> String {
        let hidden = self.secrets().into_iter().fold(text.to_owned(), |text, secret| secret.hide_in(&text));
        super::render::line(&hidden, ANSWER_CHARS_MAX)
    }
}

/// Of what a receiver answers, this much is shown.
const ANSWER_CHARS_MAX: usize = 200;
