//! Slack's words: an incoming webhook that takes `{"text": …}`, as its like do.
//!
//! `&`, `<` and `>` are escaped, so nothing in an order id can be a link or a mention; an `@` that begins a word is parted from it,
//! because others than Slack look for `@channel` in plain text.

use serde_json::json;

use super::call::Call;
use super::render::Alert;
use super::secret::Secret;
use crate::saga::incident::NoticeKind;

/// The call that tells it.
pub(super) fn call(alert: &Alert, url: &Secret) -> Call {
    Call::post(url.clone(), &json!({"text": text(alert)}))
}

fn text(alert: &Alert) -> String {
    let sign = if alert.notice.kind == NoticeKind::Resolve { ":white_check_mark:" } else { ":rotating_light:" };
    let mut lines = vec![format!("{sign} *{}*", escape(&alert.title()).replace('*', "∗"))];
    for (name, fact) in alert.facts() {
        lines.push(match name {
            "Page" => format!("<{}|Open it in Escrow>", address(&fact)),
            "Runbook" => format!("<{}|What to do>", address(&fact)),
            "Samples" => {
                let quoted: Vec<String> = alert.samples().iter().map(|it| code(it)).collect();
                format!("*{name}:* {}", quoted.join(" "))
            }
            _ => format!("*{name}:* {}", escape(&fact)),
        });
    }
    lines.join("\n")
}

/// As an address between `<` and `|`.
fn address(text: &str) -> String {
    text.replace('|', "%7C").replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E")
}

fn code(text: &str) -> String {
    format!("`{}`", escape(text).replace('`', "'"))
}

fn escape(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut parted = String::with_capacity(escaped.len());
    let mut before = ' ';
    for c in escaped.chars() {
        parted.push(c);
        if c == '@' && !before.is_alphanumeric() {
            parted.push('\u{200b}');
        }
        before = c;
    }
    parted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{alert, incident};

    #[test]
    fn a_person_can_act_on_it() {
        let text = text(&alert(NoticeKind::Trigger, incident()));
        assert!(text.starts_with(":rotating_light: *[CRITICAL] service silent: saga order"), "{text}");
        assert!(text.contains("*Samples:* `order-0` `order-1`"), "{text}");
        assert!(text.contains("|Open it in Escrow>") && text.contains("|What to do>"), "{text}");
    }

    #[test]
    fn nothing_inside_can_call_people_or_be_a_link() {
        let mut hostile = incident();
        hostile.why =
            "<!channel> <@U123> @here @channel (@everyone) ada@example.org <http://evil|click> & `x`".to_owned();
        hostile.samples = vec!["<!here>`@channel`".to_owned()];
        let text = text(&alert(NoticeKind::Trigger, hostile));
        for mention in ["<!", "<@", "@here", "@channel", "@everyone", "<http://evil"] {
            assert!(!text.contains(mention), "{mention}: {text}");
        }
        assert!(text.contains("ada@example.org") && text.contains("&amp; `x`"), "{text}");
        assert!(text.contains("`&lt;!here&gt;'@\u{200b}channel'`"), "{text}");
    }
}
