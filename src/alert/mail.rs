//! A mail as a person reads it: the title as its subject, the facts one below the other, in plain text.
//!
//! The message id is made from the notice, so a repeat is the same mail; all mails of an episode refer to one that need not be
//! there, which makes them one thread.

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox as Address, MessageBuilder};
use uuid::Uuid;

use super::channel::Mailbox;
use super::render::Alert;
use crate::saga::time::Moment;

/// The mail that tells it.
///
/// # Errors
/// What cannot be made a mail of, in words.
pub(super) fn message(alert: &Alert, mailbox: &Mailbox, now: Moment) -> Result<Message, String> {
    let domain = mailbox.from.email.domain();
    let thread = format!("<{}@{domain}>", Uuid::new_v5(&Uuid::NAMESPACE_URL, alert.episode_key().as_bytes()));
    let begin = Message::builder()
        .from(mailbox.from.clone())
        .message_id(Some(format!("<{}@{domain}>", alert.notice.key())))
        .references(thread.clone())
        .in_reply_to(thread)
        .date(std::time::UNIX_EPOCH + std::time::Duration::from_micros(u64::try_from(now.0).unwrap_or_default()))
        .subject(alert.title())
        .header(ContentType::TEXT_PLAIN);
    let to = |begin: MessageBuilder, to: &Address| begin.to(to.clone());
    let mut message = mailbox
        .to
        .iter()
        .fold(begin, to)
        .body(text(alert))
        .map_err(|error| format!("no mail can be made of it: {error}"))?;
    // So that nobody's absence note answers it.
    if let Ok(name) = HeaderName::new_from_ascii("Auto-Submitted".to_owned()) {
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    }
    Ok(message)
}

fn text(alert: &Alert) -> String {
    let mut text = alert.title();
    text.push_str("\r\n\r\n");
    for (name, fact) in alert.facts() {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(&fact);
        text.push_str("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::channel::Tls;
    use crate::alert::tests::{alert, incident};
    use crate::saga::incident::NoticeKind;

    fn told(alert: &Alert) -> String {
        let mailbox = Mailbox {
            host: "localhost".to_owned(),
            port: 25,
            tls: Tls::Plain,
            login: None,
            from: "Escrow <escrow@example.org>".parse().unwrap(),
            to: vec!["ada@example.org".parse().unwrap(), "bob@example.org".parse().unwrap()],
        };
        String::from_utf8(message(alert, &mailbox, Moment(1_800_000_000_000_000)).unwrap().formatted()).unwrap()
    }

    fn header(mail: &str, name: &str) -> String {
        let unfolded = mail.replace("\r\n ", " ");
        let line = unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {name} in {mail}"))
    }

    #[test]
    fn a_repeat_is_the_same_mail_and_an_episode_is_one_thread() {
        let trigger = told(&alert(NoticeKind::Trigger, incident()));
        let again = told(&alert(NoticeKind::Trigger, incident()));
        let mut ended = alert(NoticeKind::Resolve, incident());
        ended.notice.number = 2;
        let resolve = told(&ended);
        assert_eq!(header(&trigger, "Message-ID"), header(&again, "Message-ID"));
        assert_ne!(header(&trigger, "Message-ID"), header(&resolve, "Message-ID"));
        assert_eq!(header(&trigger, "References"), header(&resolve, "References"));
        assert_eq!(header(&trigger, "To"), "ada@example.org, bob@example.org");
        assert_eq!(header(&trigger, "Auto-Submitted"), "auto-generated");
    }

    #[test]
    fn nothing_inside_can_add_a_header() {
        let mut hostile = incident();
        hostile.about.cause = "x\r\nBcc: eve@example.org\r\n\r\nbody".to_owned();
        let mail = told(&alert(NoticeKind::Trigger, hostile));
        let head = mail.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{mail}");
    }
}
