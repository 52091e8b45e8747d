use super::*;
use crate::alert::channel::{Receiver, Tls};
use crate::alert::tests::incident;
use crate::saga::parse::Severity as Weight;

const FULL: &str = r#"
link: https://escrow.example.org/
runbook_url: https://wiki.example.org/escrow
channels:
  am: { alertmanager: { urls: ["http://am-1:9093", "http://am-2:9093"], every: 30s } }
  chat: { slack: { url: "https://hooks.slack.com/services/${SLACK}" } }
  pager: { pagerduty: { routing_key: "${PAGER}" } }
  hook: { webhook: { url: "https://hook.example.org", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } }
  mail:
    email: { smtp: mail.example.org, from: "Escrow <escrow@example.org>", to: [ada@example.org], user: escrow, password: "${PAGER}" }
routes:
  - { severity: critical, to: [pager, am] }
  - { cause: quarantine, saga: [order, parcel], to: mail }
  - { to: [chat, hook] }
causes:
  quarantine: { severity: critical, runbook_url: https://wiki.example.org/quarantine }
"#;

fn environment(name: &str) -> Option<String> {
    let held = [("SLACK", "T0/B0/s3cret"), ("PAGER", "R0UT1NG"), ("EMPTY", "")];
    held.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
}

fn rules(text: &str) -> Parsed {
    parse("alerts.yaml", text, &environment).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// Messages and hints of what is wrong, each with its line.
fn wrong(text: &str) -> Vec<String> {
    let findings = parse("alerts.yaml", text, &environment).expect_err("it has mistakes");
    let shown = findings.into_iter().filter(|it| it.severity == Weight::Error);
    shown.map(|it| format!("{}:{} {} ({})", it.line, it.column, it.message, it.hint.unwrap_or_default())).collect()
}

fn told(rules: &Rules, cause: &str, saga: &str) -> Vec<String> {
    let mut it = incident();
    (it.about.cause, it.about.saga) = (cause.to_owned(), saga.to_owned());
    rules.channels(&it)
}

#[test]
fn a_full_file_is_read() {
    let Parsed { rules, warnings } = rules(FULL);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(rules.link.as_deref(), Some("https://escrow.example.org"));
    let kinds: Vec<&str> = rules.channels.iter().map(|it| it.receiver.kind()).collect();
    assert_eq!(kinds, ["alertmanager", "slack", "pagerduty", "webhook", "email"]);
    let Some(Receiver::Slack { url }) = rules.channel("chat").map(|it| &it.receiver) else { panic!("{rules:?}") };
    assert_eq!(url.expose(), "https://hooks.slack.com/services/T0/B0/s3cret");
    let Some(Receiver::Email(mail)) = rules.channel("mail").map(|it| &it.receiver) else { panic!("{rules:?}") };
    assert_eq!((mail.host.as_str(), mail.port, mail.tls), ("mail.example.org", 587, Tls::Upgraded));
    let Some(Receiver::Alertmanager(am)) = rules.channel("am").map(|it| &it.receiver) else { panic!("{rules:?}") };
    assert_eq!((am.urls.len(), am.every.to_string().as_str()), (2, "30s"));
    let shown = format!("{rules:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("R0UT1NG"), "{shown}");
}

#[test]
fn an_incident_goes_to_every_route_that_fits() {
    let Parsed { rules, .. } = rules(FULL);
    assert_eq!(told(&rules, "blind", ""), ["am", "chat", "pager", "hook"]);
    assert_eq!(told(&rules, "timed_out", "order"), ["chat", "hook"]);
    assert_eq!(told(&rules, "quarantine", "order"), ["am", "chat", "pager", "hook", "mail"]);
    assert_eq!(told(&rules, "quarantine", "letter"), ["am", "chat", "pager", "hook"]);
    assert_eq!(rules.runbook_url("quarantine"), Some("https://wiki.example.org/quarantine"));
    assert_eq!(rules.runbook_url("blind"), Some("https://wiki.example.org/escrow"));
}

#[test]
fn without_routes_everything_goes_to_all() {
    let all = rules("channels: { a: { slack: { url: 'https://a' } }, b: { slack: { url: 'https://b' } } }").rules;
    assert_eq!(told(&all, "observe", "order"), ["a", "b"]);
}

#[test]
fn mistakes_have_a_place_and_a_hint() {
    let chat = "channels:\n  chat: { slack: { url: 'https://x' } }\n";
    for (text, expected) in [
        ("chanels: {}\n", "1:1 unknown key `chanels` in the file (did you mean `channels`?)"),
        ("channels:\n  chat: { slak: { url: x } }\n", "2:11 unknown key `slak` in a channel (did you mean `slack`?)"),
        ("channels:\n  chat: { slack: { urls: x } }\n", "2:20 unknown key `urls` in `slack` (did you mean `url`?)"),
        (
            "channels:\n  chat: { slack: { url: hooks.slack.com } }\n",
            "2:25 this is no address (it begins with https:// or http://)",
        ),
        (
            "channels:\n  chat: { slack: { url: 'https://${NONE}' } }\n",
            "2:25 the environment has no `NONE` (set NONE where Escrow is started, or take the channel out)",
        ),
        (
            "channels:\n  p: { pagerduty: { routing_key: '${EMPTY}' } }\n",
            "2:34 the environment has no `EMPTY` (set EMPTY where Escrow is started, or take the channel out)",
        ),
        (
            "channels:\n  p: { pagerduty: { routing_key: 12345 } }\n",
            "2:34 expected text, found a number (if it is meant as text, write '12345')",
        ),
        (
            "channels:\n  am: { alertmanager: { urls: 'http://am', every: 1h } }\n",
            "2:51 this is not often enough, or too often (between 1s and 1m; an Alertmanager takes what it does not hear of as over)",
        ),
        (
            "channels:\n  h: { webhook: { url: 'https://x', secret: 'whsec_!' } }\n",
            "2:45 this secret cannot be read (after `whsec_` stands base64; any other text is taken as it is)",
        ),
        (
            "channels:\n  m: { email: { smtp: 'smtp://x', from: a@x.org, to: b@x.org } }\n",
            "2:23 this is no mail server (write host or host:port, without `smtp://`)",
        ),
        (
            "channels:\n  m: { email: { smtp: x, from: nobody, to: b@x.org } }\n",
            "2:32 this is no mail address (write ada@example.org, or 'Ada <ada@example.org>')",
        ),
    ] {
        assert_eq!(wrong(text), [expected], "{text}");
    }
    for (more, expected) in [
        ("routes: [{ to: chart }]\n", "3:16 there is no channel `chart` (did you mean `chat`?)"),
        ("routes: [{ cause: blnd }]\n", "3:19 there is no cause `blnd` (did you mean `blind`?)"),
        ("causes: { hold: {} }\n", "3:11 there is no cause `hold` (did you mean `held`?)"),
        ("causes: { held: { severity: bad } }\n", "3:29 `bad` is not one of `critical`, `warning` or `info` ()"),
    ] {
        assert_eq!(wrong(&format!("{chat}{more}")), [expected], "{more}");
    }
}

#[test]
fn what_goes_untold_is_warned_of() {
    let text = "channels: { a: { slack: { url: 'https://a' } }, b: { slack: { url: 'https://b' } } }\nroutes: [{ severity: critical, to: a }]\n";
    let warnings: Vec<String> = rules(text).warnings.into_iter().map(|it| it.message).collect();
    assert_eq!(warnings, ["no route leads to this channel", "what fits no route is told to nobody"]);
}

#[test]
fn dollars_can_be_written() {
    let parsed = rules("channels: { a: { webhook: { url: 'https://a', secret: 'x$${PAGER}$y' } } }").rules;
    let Receiver::Webhook { secret, .. } = &parsed.channels[0].receiver else { panic!("{parsed:?}") };
    assert_eq!(secret.expose(), "x${PAGER}$y");
}

#[test]
fn the_example_is_valid() {
    let text = include_str!("../../../alerts.example.yaml");
    let parsed = parse("alerts.example.yaml", text, &|_| Some("https://example.org".to_owned()));
    let parsed = parsed.unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    assert_eq!(parsed.rules.channels.len(), 5, "one of each kind");
}
