//! Gets a call or a mail to its receiver, and says what came back. Holds no memory: when to try again is the caller's.
//!
//! Never follows a redirect, which would hand the secrets of one host to another; never waits longer than a limit; and what it says
//! of a failure has neither address nor key in it.

use std::time::Duration;

use futures_util::future::join_all;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as SmtpTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::call::{Answer, Call, meaning, together};
use super::channel::{Alertmanager, Channel, Mailbox, Receiver, Tls};
use super::render::Alert;
use super::{alertmanager, mail, pagerduty, slack, webhook};
use crate::saga::time::Moment;

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for the whole of a call. Shorter than a lease, so that nobody else sends the same meanwhile.
const WITHIN: Duration = Duration::from_secs(10);

/// A mail takes more words.
const MAIL_WITHIN: Duration = Duration::from_secs(15);

/// More of an answer is not read.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Sends to channels of all kinds.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
}

impl Sender {
    /// # Errors
    /// The machine has no certificates to trust, or its proxy settings cannot be read.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(WITHIN)
            .user_agent(concat!("escrow/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client })
    }

    /// Tells one channel of one alert.
    pub async fn send(&self, channel: &Channel, alert: &Alert, now: Moment) -> Answer {
        let call = match &channel.receiver {
            Receiver::Alertmanager(it) => return self.all_peers(channel, it, std::slice::from_ref(alert), now).await,
            Receiver::Email(mailbox) => return mailed(channel, mailbox, alert, now).await,
            Receiver::Slack { url } => slack::call(alert, url),
            Receiver::PagerDuty { url, routing_key } => pagerduty::call(alert, url, routing_key),
            Receiver::Webhook { url, secret } => webhook::call(alert, url, secret, now),
        };
        self.post(channel, call, now).await
    }

    /// Tells every peer of an Alertmanager.
    pub async fn all_peers(&self, channel: &Channel, it: &Alertmanager, alerts: &[Alert], now: Moment) -> Answer {
        let calls = it.urls.iter().map(|url| async {
            let host = url.host();
            match self.post(channel, alertmanager::call(alerts, url, it.every, now), now).await {
                Answer::Taken => Answer::Taken,
                Answer::Later { after, why } => Answer::Later { after, why: format!("{host}: {why}") },
                Answer::Refused(why) => Answer::Refused(format!("{host}: {why}")),
            }
        });
        let answers = join_all(calls).await;
        let missed = answers.iter().filter(|answer| **answer != Answer::Taken).count();
        if missed > 0 && missed < answers.len() {
            tracing::warn!(
                channel = channel.name,
                missed,
                "not every peer took an alert; the others have it, and they are told again"
            );
        }
        together(answers)
    }

    async fn post(&self, channel: &Channel, call: Call, now: Moment) -> Answer {
        let begin = self.client.post(call.url.expose()).header("content-type", "application/json");
        let request = call.headers.iter().fold(begin, |request, (name, value)| request.header(*name, value));
        let answer = match request.body(call.body).send().await {
            Ok(answer) => answer,
            Err(error) => return Answer::Later { after: None, why: channel.clean(&what_failed(error)) },
        };
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|it| it.to_str().ok()).map(str::to_owned);
        let said = if answer.status().is_success() { String::new() } else { beginning(answer).await };
        meaning(status, retry_after.as_deref(), &channel.clean(said.trim()), now)
    }
}

/// What a receiver says, as far as it is read.
async fn beginning(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(more)) = answer.chunk().await {
        bytes.extend_from_slice(&more);
        if bytes.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    bytes.truncate(ANSWER_BYTES_MAX);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn what_failed(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", WITHIN.as_secs());
    }
    // The address may be a secret.
    super::chain(&error.without_url())
}

async fn mailed(channel: &Channel, mailbox: &Mailbox, alert: &Alert, now: Moment) -> Answer {
    let message = match mail::message(alert, mailbox, now) {
        Ok(message) => message,
        Err(why) => return Answer::Refused(channel.clean(&why)),
    };
    let transport = match transport(mailbox) {
        Ok(transport) => transport,
        Err(error) => return Answer::Refused(channel.clean(&error.to_string())),
    };
    match tokio::time::timeout(MAIL_WITHIN, transport.send(message)).await {
        Ok(Ok(_)) => Answer::Taken,
        Ok(Err(error)) => {
            let why = channel.clean(&super::chain(&error));
            if error.is_permanent() { Answer::Refused(why) } else { Answer::Later { after: None, why } }
        }
        Err(_) => {
            let why = format!("the mail server did not take it within {} s", MAIL_WITHIN.as_secs());
            Answer::Later { after: None, why }
        }
    }
}

/// A connection for one mail: they are few, and a connection kept would mostly be a dead one.
fn transport(mailbox: &Mailbox) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let tls = match mailbox.tls {
        Tls::Upgraded => SmtpTls::Required(TlsParameters::new(mailbox.host.clone())?),
        Tls::FromStart => SmtpTls::Wrapper(TlsParameters::new(mailbox.host.clone())?),
        Tls::Plain => SmtpTls::None,
    };
    let begin = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(mailbox.host.clone())
        .port(mailbox.port)
        .tls(tls)
        .timeout(Some(WITHIN));
    let login = mailbox.login.as_ref();
    let begin = match login {
        Some((user, password)) => begin.credentials(Credentials::new(user.clone(), password.expose().to_owned())),
        None => begin,
    };
    Ok(begin.build())
}
