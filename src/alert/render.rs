//! What a person reads, whatever the channel: a title, and the facts in the order they are needed at three in the morning.
//!
//! ```text
//!   [CRITICAL] service silent: saga order, step inventory, 10,000 orders (escrow prod)
//!   Why       InventoryReserved has not come since 02:14; queue inventory has no consumer
//!   Orders    10,000 now, 10,000 at most
//!   Since     2026-11-21T02:14:00Z
//!   Samples   4711, 4712, …
//!   Page      https://escrow.example.org/incidents/…
//! ```
//!
//! Everything is cut to a length and made one line: a name or an order id is whatever the services put there.

use super::severity::Severity;
use crate::saga::incident::{Notice, NoticeKind, SAMPLES_MAX};
use crate::saga::time::Moment;

/// No sentence that helps is longer.
const WHY_CHARS_MAX: usize = 2_000;
/// Order ids are at most 256 bytes.
const SAMPLE_CHARS_MAX: usize = 256;
/// Names of sagas and steps.
const NAME_CHARS_MAX: usize = 128;
/// People, reasons and addresses.
const OTHER_CHARS_MAX: usize = 500;

/// What one channel is told of one incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub notice: Notice,
    pub severity: Severity,
    /// The name of this Escrow.
    pub instance: String,
    /// The incident on Escrow's page.
    pub link: Option<String>,
    pub runbook_url: Option<String>,
    /// Nothing has happened: somebody tries the channel.
    pub is_test: bool,
}

impl Alert {
    /// One line.
    pub fn title(&self) -> String {
        let incident = &self.notice.incident;
        let mark = match self.notice.kind {
            NoticeKind::Trigger => self.severity.word().to_uppercase(),
            NoticeKind::Update => format!("{}, STILL OPEN", self.severity.word().to_uppercase()),
            NoticeKind::Resolve => "RESOLVED".to_owned(),
        };
        let test = if self.is_test { "[TEST] " } else { "" };
        let cause = line(&incident.about.cause.replace('_', " "), NAME_CHARS_MAX);
        let mut where_and_what: Vec<String> = Vec::new();
        if !incident.about.saga.is_empty() {
            where_and_what.push(format!("saga {}", line(&incident.about.saga, NAME_CHARS_MAX)));
        }
        where_and_what.extend(incident.about.step.iter().map(|step| format!("step {}", line(step, NAME_CHARS_MAX))));
        let held = if self.notice.kind == NoticeKind::Resolve { incident.peak } else { incident.count };
        if held > 0 {
            where_and_what.push(orders(held));
        }
        let about = if where_and_what.is_empty() { String::new() } else { format!(": {}", where_and_what.join(", ")) };
        format!("{test}[{mark}] {cause}{about} (escrow {})", line(&self.instance, NAME_CHARS_MAX))
    }

    /// What is known, each with its name.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let incident = &self.notice.incident;
        let mut facts = vec![("Why", self.why())];
        if self.is_test {
            facts.insert(0, ("Test", "nothing has happened; somebody tries this channel".to_owned()));
        }
        if incident.peak > 0 || incident.count > 0 {
            let peak = incident.peak.max(incident.count);
            facts.push(("Orders", format!("{} now, {} at most", thousands(incident.count), thousands(peak))));
        }
        facts.push(("Since", incident.first_at.rfc3339()));
        if incident.last_at > incident.first_at {
            facts.push(("Last", incident.last_at.rfc3339()));
        }
        if let (NoticeKind::Resolve, Some(resolved_at)) = (self.notice.kind, incident.resolved_at) {
            let lasted = resolved_at.since(incident.opened_at);
            facts.push(("Resolved", format!("{} after {lasted}", resolved_at.rfc3339())));
        }
        let samples = self.samples();
        if !samples.is_empty() {
            facts.push(("Samples", samples.join(", ")));
        }
        if let Some(acked) = &incident.acked {
            let (by, reason) = (line(&acked.by, OTHER_CHARS_MAX), line(&acked.reason, OTHER_CHARS_MAX));
            facts.push(("In hand", format!("{by}, since {}: {reason}", acked.at.rfc3339())));
        }
        facts.extend(self.link.iter().map(|link| ("Page", line(link, OTHER_CHARS_MAX))));
        facts.extend(self.runbook_url.iter().map(|url| ("Runbook", line(url, OTHER_CHARS_MAX))));
        facts
    }

    /// One sentence.
    pub fn why(&self) -> String {
        line(&self.notice.incident.why, WHY_CHARS_MAX)
    }

    /// Up to ten orders.
    pub fn samples(&self) -> Vec<String> {
        self.notice.incident.samples.iter().take(SAMPLES_MAX).map(|it| line(it, SAMPLE_CHARS_MAX)).collect()
    }

    /// The same for all that is told of one episode, and different from everything else, also of another Escrow.
    pub fn episode_key(&self) -> String {
        let incident = &self.notice.incident;
        format!("escrow/{}/{}/{}", line(&self.instance, NAME_CHARS_MAX), incident.about.id(), incident.episode)
    }

    /// When what is told happened.
    pub fn at(&self) -> Moment {
        let incident = &self.notice.incident;
        match self.notice.kind {
            NoticeKind::Trigger => incident.opened_at,
            NoticeKind::Update => incident.last_at,
            NoticeKind::Resolve => incident.resolved_at.unwrap_or(incident.last_at),
        }
    }
}

fn orders(count: u64) -> String {
    if count == 1 { "1 order".to_owned() } else { format!("{} orders", thousands(count)) }
}

/// `10,000`
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|it| std::str::from_utf8(it).ok()).collect();
    groups.join(",")
}

/// `text` as one line of at most `chars_max` characters, without what steers terminals or turns text around.
pub(super) fn line(text: &str, chars_max: usize) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut cut: String = text.chars().map(|c| if steers(c) { ' ' } else { c }).take(chars_max).collect();
    if text.chars().nth(chars_max).is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{alert, incident};

    #[test]
    fn a_title_says_what_where_and_how_many() {
        let title = |kind| alert(kind, incident()).title();
        let about = "service silent: saga order, step inventory, 10,000 orders (escrow prod)";
        assert_eq!(title(NoticeKind::Trigger), format!("[CRITICAL] {about}"));
        assert_eq!(title(NoticeKind::Update), format!("[CRITICAL, STILL OPEN] {about}"));
        assert_eq!(title(NoticeKind::Resolve), format!("[RESOLVED] {about}"));
        let mut blind = incident();
        (blind.about.saga, blind.about.step, blind.count) = (String::new(), None, 0);
        assert_eq!(alert(NoticeKind::Trigger, blind).title(), "[CRITICAL] service silent (escrow prod)");
    }

    #[test]
    fn the_facts_come_in_the_order_they_are_needed() {
        let mut ended = incident();
        ended.resolved_at = Some(Moment(ended.opened_at.0 + 90_000_000));
        let facts = alert(NoticeKind::Resolve, ended).facts();
        let names: Vec<&str> = facts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Why", "Orders", "Since", "Last", "Resolved", "Samples", "Page", "Runbook"]);
        assert!(facts[4].1.ends_with("after 1m30s"), "{}", facts[4].1);
        assert_eq!(facts[5].1.split(", ").count(), SAMPLES_MAX);
    }

    #[test]
    fn what_services_put_there_stays_one_line_of_bounded_length() {
        let mut hostile = incident();
        hostile.why = "a\nb\u{1b}[31m\u{202e}".repeat(10_000);
        hostile.samples = vec!["x\r\n".repeat(1_000); 50];
        hostile.about.step = Some("s\n".repeat(10_000));
        let alert = alert(NoticeKind::Trigger, hostile);
        assert!(alert.title().chars().count() < 400);
        for (name, text) in alert.facts() {
            assert!(text.chars().count() <= 10 * (SAMPLE_CHARS_MAX + 2), "{name}");
            assert!(!text.contains(['\n', '\r', '\u{1b}', '\u{202e}']), "{name}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
