//! The live picture: a snapshot as lines of text. Pure: no terminal, no clock, no store.
//!
//! ```text
//!   ESCROW DEMO  0:12 of 0:30 · 4 orders a second · seed 42
//!   order ● ──┬─▶ payment ● ────┬─▶ notification ●
//!             └─▶ inventory ✖ ──┘   down for 6 s, back in 6 s
//!   ORDERS    one bar for each status
//!   STUCK     what, where, why, which
//!   ESCROW    what it did about it
//!   LATEST    the last things that went wrong, and what became of them
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use super::faults::Inventory;
use super::story::Story;
use crate::saga::order::{Status, StuckReason};

/// How a piece of text should look; what that means is the screen's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Around what matters.
    Dim,
    Heading,
    Good,
    /// Under way, or being mended.
    Busy,
    Bad,
}

/// A line, piece by piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(Tone, String)>);

impl Line {
    fn with(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// The text alone.
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The same, no wider than `width` columns; `…` says that something is missing.
    fn cut(self, width: usize) -> Self {
        if self.text().chars().count() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut pieces = Vec::new();
        for (tone, text) in self.0 {
            let kept: String = text.chars().take(left).collect();
            left -= kept.chars().count();
            pieces.push((tone, kept));
        }
        pieces.push((Tone::Dim, "…".to_owned()));
        Self(pieces)
    }
}

fn line() -> Line {
    Line::default()
}

/// Everything the picture shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub elapsed: Duration,
    pub run_for: Option<Duration>,
    pub rate: f64,
    pub seed: u64,
    pub address: Option<SocketAddr>,
    pub placed: u64,
    pub inventory: Inventory,
    /// In the order of [`Status::ALL`]; only those that occur.
    pub statuses: Vec<(Status, u64)>,
    pub stuck: Vec<Stuck>,
    pub deeds: Deeds,
    /// Oldest first.
    pub latest: Vec<Story>,
}

/// Orders stuck on the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub step: Option<String>,
    pub reason: StuckReason,
    pub count: u64,
    pub samples: Vec<String>,
}

/// What was seen and done, counted from the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Messages sent again to a silent service.
    pub retries: u64,
    /// Orders completed after such a retry.
    pub completed_after_retry: u64,
    /// Steps given up.
    pub timeouts: u64,
    /// Steps a service declined.
    pub declined: u64,
    pub compensations_asked: u64,
    /// Asked again, because nobody answered.
    pub compensations_repeated: u64,
    pub compensations_closed: u64,
    pub duplicates: u64,
    /// The same step done a second time by another message.
    pub repeated: u64,
    pub late: u64,
    /// Orders that were stuck and went on without a person.
    pub recovered: u64,
}

/// Widest picture; longer lines are no easier to read.
const WIDTH_MAX: usize = 110;
/// Narrowest bar that still tells something.
const BAR_MIN: usize = 8;
/// Columns of a line of `ORDERS` besides the bar.
const BAR_BESIDES: usize = 26;
/// Groups of stuck orders shown.
const STUCK_MAX: usize = 4;
/// Latest news shown, where there is room.
const LATEST_MAX: usize = 10;
/// And where there is not.
const LATEST_MIN: usize = 2;

/// The picture, for a terminal of this size.
pub fn render(snapshot: &Snapshot, width: usize, height: usize) -> Vec<Line> {
    let width = width.min(WIDTH_MAX);
    let mut lines = vec![title(snapshot), line()];
    lines.extend(services(snapshot));
    lines.push(line());
    lines.extend(orders(snapshot, width));
    lines.push(line());
    lines.extend(stuck(snapshot));
    lines.push(line());
    lines.extend(deeds(&snapshot.deeds));
    let room = height.saturating_sub(lines.len() + 3).clamp(LATEST_MIN, LATEST_MAX);
    if !snapshot.latest.is_empty() {
        lines.push(line());
        lines.push(line().with(Tone::Heading, "LATEST"));
        let skipped = snapshot.latest.len().saturating_sub(room);
        lines.extend(snapshot.latest.iter().skip(skipped).map(news));
    }
    lines.truncate(height.max(1));
    lines.into_iter().map(|line| line.cut(width)).collect()
}

/// The state in one line, for where nothing can be drawn.
pub fn one_line(snapshot: &Snapshot) -> String {
    let mut parts = vec![format!("{} placed", snapshot.placed)];
    parts.extend(snapshot.statuses.iter().map(|(status, count)| format!("{count} {}", status.word())));
    let deeds = &snapshot.deeds;
    parts.push(format!("{} retries", deeds.retries));
    parts.push(format!("{} timeouts", deeds.timeouts));
    parts.push(format!("compensations {} asked, {} closed", deeds.compensations_asked, deeds.compensations_closed));
    if let Inventory::Down { .. } = snapshot.inventory {
        parts.push("inventory is down".to_owned());
    }
    parts.extend(snapshot.stuck.iter().map(|it| format!("stuck: {} × {}", it.count, why(it))));
    format!("{:>5}  {}", clock(snapshot.elapsed), parts.join(" · "))
}

/// What is said at the end.
pub fn closing(snapshot: &Snapshot) -> Vec<Line> {
    let deeds = &snapshot.deeds;
    let open: u64 = snapshot.statuses.iter().filter(|(status, _)| !status.is_ended()).map(|(_, count)| count).sum();
    let mut lines = vec![
        line()
            .with(Tone::Heading, "THE END  ")
            .with(Tone::Plain, format!("{} orders placed in {}", snapshot.placed, clock(snapshot.elapsed))),
        line(),
    ];
    for (status, count) in &snapshot.statuses {
        let what = meaning(*status);
        lines.push(
            line().with(tone(*status), format!("  {count:>6}  {:<13}", status.word())).with(Tone::Dim, what.to_owned()),
        );
    }
    lines.push(line());
    let rows = [
        (deeds.retries, "messages sent again to a silent service"),
        (deeds.completed_after_retry, "orders completed after such a retry"),
        (deeds.timeouts, "steps given up because the answer never came"),
        (deeds.declined, "steps a service said no to"),
        (deeds.compensations_asked, "compensations asked for"),
        (deeds.compensations_repeated, "  of them asked for again"),
        (deeds.compensations_closed, "compensations seen through"),
        (deeds.duplicates, "messages that came twice, counted once"),
        (deeds.repeated, "steps done twice by a service, and noted"),
        (deeds.late, "answers that came after the decision"),
        (deeds.recovered, "stuck orders that went on by themselves"),
    ];
    for (count, what) in rows {
        lines.push(line().with(Tone::Plain, format!("  {count:>6}  {what}")));
    }
    lines.push(line());
    lines.push(match open {
        0 => line().with(Tone::Good, "  Every order was followed to its end."),
        1 => line().with(Tone::Busy, "  One order was still under way."),
        open => line().with(Tone::Busy, format!("  {open} orders were still under way.")),
    });
    lines
}

fn title(snapshot: &Snapshot) -> Line {
    let time = match snapshot.run_for {
        Some(run_for) => format!("{} of {}", clock(snapshot.elapsed), clock(run_for)),
        None => clock(snapshot.elapsed),
    };
    let api = snapshot.address.map(|address| format!(" · http://{address}")).unwrap_or_default();
    line()
        .with(Tone::Heading, "ESCROW DEMO  ")
        .with(Tone::Dim, format!("{time} · {} orders a second · seed {}{api}", snapshot.rate, snapshot.seed))
}

fn services(snapshot: &Snapshot) -> [Line; 2] {
    let up = |name: &str| format!("{name} ");
    let arrow = |text: &str| (Tone::Dim, text.to_owned());
    let dot = (Tone::Good, "●".to_owned());
    let first = vec![
        (Tone::Plain, up("  order")),
        dot.clone(),
        arrow(" ──┬─▶ "),
        (Tone::Plain, up("payment")),
        dot.clone(),
        arrow(" ────┬─▶ "),
        (Tone::Plain, up("notification")),
        dot.clone(),
    ];
    let mut second = vec![arrow("            └─▶ ")];
    match snapshot.inventory {
        Inventory::Up(_) => second.extend([(Tone::Plain, up("inventory")), dot, arrow(" ──┘")]),
        Inventory::Down { since, back_in } => second.extend([
            (Tone::Bad, "inventory ✖".to_owned()),
            arrow(" ──┘"),
            (Tone::Bad, format!("   down for {} s", since.as_secs())),
            (Tone::Dim, format!(", back in {} s; it does not hear what is ordered meanwhile", back_in.as_secs() + 1)),
        ]),
    }
    [Line(first), Line(second)]
}

fn orders(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut lines =
        vec![line().with(Tone::Heading, "ORDERS").with(Tone::Dim, format!("   {} placed", snapshot.placed))];
    let most = snapshot.statuses.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = width.saturating_sub(BAR_BESIDES).max(BAR_MIN);
    // A fixed set of rows, so that the picture does not jump.
    for status in Status::ALL {
        let count = snapshot.statuses.iter().find(|(it, _)| *it == status).map_or(0, |(_, count)| *count);
        let always = matches!(
            status,
            Status::Running | Status::Compensating | Status::Stuck | Status::Completed | Status::Compensated
        );
        if count == 0 && !always {
            continue;
        }
        let tone = if count == 0 { Tone::Dim } else { tone(status) };
        let bar = bar(count, most, room);
        lines.push(line().with(tone, format!("  {:<13}{count:>6}  ", status.word())).with(tone, bar));
    }
    lines
}

fn bar(count: u64, most: u64, room: usize) -> String {
    let share = u128::from(count) * room as u128;
    let cells = usize::try_from(share.div_ceil(u128::from(most))).unwrap_or(room);
    "█".repeat(cells.min(room))
}

fn stuck(snapshot: &Snapshot) -> Vec<Line> {
    if snapshot.stuck.is_empty() {
        return vec![line().with(Tone::Heading, "STUCK").with(Tone::Dim, "    nothing: no order needs a person")];
    }
    let mut lines =
        vec![line().with(Tone::Heading, "STUCK").with(Tone::Dim, "    these need a person, or a service to come back")];
    for group in snapshot.stuck.iter().take(STUCK_MAX) {
        let sample = group.samples.first().map(|id| format!("   e.g. {id}")).unwrap_or_default();
        lines.push(
            line()
                .with(Tone::Bad, format!("  {:>4} × ", group.count))
                .with(Tone::Plain, why(group))
                .with(Tone::Dim, sample),
        );
    }
    let hidden = snapshot.stuck.len().saturating_sub(STUCK_MAX);
    if hidden > 0 {
        lines.push(line().with(Tone::Dim, format!("         and {hidden} causes more")));
    }
    lines
}

fn why(group: &Stuck) -> String {
    let step = group.step.as_deref().unwrap_or("order");
    let reason = match group.reason {
        StuckReason::TimedOut => "the answer never came",
        StuckReason::Failed => "the service said no",
        StuckReason::OrderOverdue => "the order took too long as a whole",
        StuckReason::CompensationOverdue => "asked to undo it, and nobody answered",
        StuckReason::CompensationUnroutable => "nobody is there to undo it",
        StuckReason::CompensationRefused => "the broker would not take the request to undo it",
        StuckReason::CompensationFailed => "the service could not undo it",
        StuckReason::TemplateFailed => "a template in the definition failed",
        StuckReason::Held => "too many timeouts at once: the brake holds it until a person looks",
        StuckReason::Unproven => "something may have been missed, so nothing is done by itself",
        StuckReason::Observe => "it would act, and is told only to observe",
    };
    format!("{step}: {reason}")
}

fn deeds(deeds: &Deeds) -> [Line; 4] {
    let row = |label: &str, text: String| line().with(Tone::Plain, format!("  {label:<15}")).with(Tone::Plain, text);
    [
        line()
            .with(Tone::Heading, "WHAT ESCROW DID")
            .with(Tone::Dim, "    it only listens, until an answer does not come"),
        row(
            "silence",
            format!(
                "{} sent again ({} then completed) · {} given up",
                deeds.retries, deeds.completed_after_retry, deeds.timeouts
            ),
        ),
        row(
            "undoing",
            format!(
                "{} asked · {} asked again · {} seen through · after {} declined",
                deeds.compensations_asked, deeds.compensations_repeated, deeds.compensations_closed, deeds.declined
            ),
        ),
        row(
            "odd messages",
            format!("{} duplicates · {} done twice · {} late", deeds.duplicates, deeds.repeated, deeds.late),
        ),
    ]
}

fn news(story: &Story) -> Line {
    line()
        .with(Tone::Dim, format!("  {:>5}  ", clock(story.at)))
        .with(Tone::Plain, format!("{}  ", story.order_id))
        .with(story.tone, story.text.clone())
}

fn tone(status: Status) -> Tone {
    match status {
        Status::Running => Tone::Plain,
        Status::Stuck | Status::Failed => Tone::Bad,
        Status::Completed => Tone::Good,
        Status::Compensating | Status::Compensated | Status::Cancelled => Tone::Busy,
        Status::Closed => Tone::Dim,
    }
}

fn meaning(status: Status) -> &'static str {
    match status {
        Status::Running => "still waiting for an answer",
        Status::Compensating => "on the way back",
        Status::Stuck => "need a person",
        Status::Completed => "every step done",
        Status::Compensated => "turned back, and all that had happened was undone",
        Status::Cancelled => "cancelled before anything happened",
        Status::Failed => "failed before anything happened that needs undoing",
        Status::Closed => "closed by a person",
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let secs = time.as_secs();
    if secs >= 3_600 {
        format!("{}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60)
    } else {
        format!("{}:{:02}", secs / 60, secs % 60)
    }
}
