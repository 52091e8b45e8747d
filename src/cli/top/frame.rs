//! The board as lines of text. Pure: no terminal, no clock.
//!
//! ```text
//!   escrow shop 0.1.0 · 2026-11-21T09:30:00Z · http://127.0.0.1:8080
//!   in 180 and out 22 a minute · outbox empty · doubts none
//!   SAGAS          mode, sight, how far read, brake, orders by status
//!   INCIDENTS      how many orders, since when, why
//!   DUE NEXT       what happens when, unless an event comes first
//!   LONGEST        what stands longest, one line for each order; one of them is chosen
//! ```

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::board::Board;
use super::looker::{Picture, key, since};
use crate::cli::output::{at, plain, when};
use crate::cli::status::{brake, broker, doubts, outbox};
use crate::cli::watch::cut;
use crate::cli::why;
use crate::saga::time::Moment;

/// How a line should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Heading,
    Good,
    Busy,
    Bad,
    /// The order the keys are on.
    Chosen,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub tone: Tone,
    pub text: String,
}

impl Line {
    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// Rows of a section on a terminal with less than [`TALL`] rows, and on one with more.
const ROWS: (usize, usize) = (3, 6);
const TALL: usize = 32;
/// Orders in a frame that has no height.
const ORDERS_WHOLE: usize = 20;
/// What can be typed.
const KEYS: &str = "q leave · j k ↑ ↓ choose · Enter why · Esc back";

/// Everything, as wide as it is.
pub fn whole(board: &Board) -> String {
    let mut lines = above(board, usize::MAX);
    lines.extend(orders(board, ORDERS_WHOLE, false));
    lines.iter().fold(String::new(), |text, line| text + line.text.trim_end() + "\n")
}

/// What fits a terminal: at most `height` lines of at most `width` columns.
pub fn fitted(board: &Board, width: usize, height: usize) -> Vec<Line> {
    let mut lines = match board.picture.as_ref().and_then(|picture| picture.open.as_ref()) {
        Some(open) if board.open().is_some_and(|it| it == key(open)) => {
            let mut lines = head(board);
            lines.push(Line::new(Tone::Plain, ""));
            let screen = why::screen(open, Some(width));
            lines.extend(
                screen
                    .lines()
                    .enumerate()
                    .map(|(number, text)| Line::new(if number == 0 { Tone::Heading } else { Tone::Plain }, text)),
            );
            lines
        }
        Some(_) | None => {
            let mut lines = above(board, if height < TALL { ROWS.0 } else { ROWS.1 });
            let room = height.saturating_sub(lines.len() + 2);
            lines.extend(orders(board, room, true));
            lines
        }
    };
    lines.truncate(height.saturating_sub(1));
    lines.push(Line::new(Tone::Plain, KEYS));
    for line in &mut lines {
        line.text = cut(&line.text, width);
    }
    lines
}

fn head(board: &Board) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(Picture { status, per_minute, .. }) = &board.picture {
        let name = format!("escrow {} {}", at(status, "/name"), at(status, "/version"));
        let now = when(status, "/now");
        lines.push(Line::new(Tone::Heading, plain(&format!("{name} · {now} · {}", board.address))));
        let rates = match per_minute {
            Some(rates) => format!("in {} and out {} a minute", rates.received, rates.sent),
            None => "in and out: being counted".to_owned(),
        };
        let rest = format!("outbox {} · doubts {}", outbox(&status["outbox"]), doubts(&status["doubts"]));
        lines.push(Line::new(Tone::Plain, plain(&format!("{rates} · {rest}"))));
        lines.push(Line::new(Tone::Plain, plain(&format!("broker: {}", broker(&status["bus"])))));
        let problems = status["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(problems.map(|problem| Line::new(Tone::Bad, plain(problem))));
    } else {
        lines.push(Line::new(Tone::Heading, plain(&format!("escrow · {}", board.address))));
    }
    match (&board.away, &board.picture) {
        (Some(why), _) => lines.push(Line::new(Tone::Bad, plain(&format!("{why}; trying again")))),
        (None, None) => lines.push(Line::new(Tone::Plain, "asking")),
        (None, Some(_)) => {}
    }
    lines
}

/// What stands above the orders.
fn above(board: &Board, rows: usize) -> Vec<Line> {
    let mut lines = head(board);
    let Some(picture) = &board.picture else { return lines };
    let now = picture.now();
    let sagas = picture.status["sagas"].as_array().cloned().unwrap_or_default();
    let cells = |saga: &Value| {
        let sight = format!("{} {}", at(saga, "/sight"), at(saga, "/sight_detail"));
        let read = Moment::parse(&at(saga, "/watermark")).zip(now);
        let read = read.map_or_else(|| "nothing yet".to_owned(), |(to, now)| format!("{} ago", now.since(to)));
        vec![
            at(saga, "/saga"),
            at(saga, "/mode"),
            sight.trim_end().to_owned(),
            read,
            brake(&saga["brake"]),
            at(saga, "/orders"),
        ]
    };
    let tone = |saga: &Value| match at(saga, "/sight").as_str() {
        "live" if saga["brake"]["latched_at"].is_null() => Tone::Good,
        "behind" => Tone::Busy,
        _ => Tone::Bad,
    };
    lines.extend(section(
        &["SAGA", "MODE", "SIGHT", "READ UP TO", "BRAKE", "ORDERS"],
        &sagas,
        rows,
        false,
        cells,
        tone,
    ));
    if picture.incidents.is_empty() {
        lines.extend([Line::new(Tone::Plain, ""), Line::new(Tone::Good, "no incident")]);
    } else {
        let cells = |it: &Value| vec![at(it, "/count"), ago(it, "/first_at", now), at(it, "/why")];
        let headings = ["INCIDENTS", "SINCE", "WHY"];
        lines.extend(section(&headings, &picture.incidents, rows, picture.has_more_incidents, cells, |_| Tone::Bad));
    }
    if !picture.due.is_empty() {
        let cells = |it: &Value| {
            let step = at(it, "/next/step");
            let step = if step.is_empty() { step } else { format!(" ({step})") };
            vec![due(it, now), name(it), format!("{}{step}", at(it, "/next/action"))]
        };
        lines.extend(section(&["DUE NEXT", "ORDER", "ACTION"], &picture.due, rows, false, cells, |_| Tone::Plain));
    }
    lines
}

/// The orders that stand longest, the chosen one among them.
fn orders(board: &Board, room: usize, has_choice: bool) -> Vec<Line> {
    let Some(picture) = &board.picture else { return Vec::new() };
    let now = picture.now();
    if picture.orders.is_empty() {
        return vec![Line::new(Tone::Plain, ""), Line::new(Tone::Good, "no order waits")];
    }
    let place = board.place();
    let shown = room.saturating_sub(2).max(1);
    let first = if has_choice { place.saturating_sub(shown.saturating_sub(1)) } else { 0 };
    let cells = |order: &Value| {
        let reason = at(order, "/stuck/reason");
        let status = at(order, "/status");
        let status = if reason.is_empty() { status } else { format!("{status} ({reason})") };
        let events = at(order, "/waiting_on/0/events");
        let step = at(order, "/waiting_on/0/step");
        let step = if step.is_empty() { at(order, "/stuck/step") } else { step };
        let waits = if events.is_empty() { String::new() } else { format!("for {}", events.replace(", ", " or ")) };
        let age = now.map(|now| now.since(since(order)).to_string()).unwrap_or_default();
        vec![age, name(order), status, step, waits]
    };
    let window: Vec<Value> = picture.orders.iter().skip(first).take(shown).cloned().collect();
    let headings = ["LONGEST", "ORDER", "STATUS", "STEP", "WAITS"];
    let mut lines = section(&headings, &window, shown, picture.orders.len() > first + shown, cells, |_| Tone::Plain);
    if has_choice {
        // After the empty line and the headings.
        for (number, line) in lines.iter_mut().enumerate().skip(1) {
            let is_chosen = number >= 2 && number - 2 + first == place;
            line.text = format!("{} {}", if is_chosen { ">" } else { " " }, line.text);
            if is_chosen {
                line.tone = Tone::Chosen;
            }
        }
    }
    lines
}

/// An empty line, headings, and rows in columns.
fn section(
    headings: &[&str],
    rows: &[Value],
    most: usize,
    goes_on: bool,
    cells: impl Fn(&Value) -> Vec<String>,
    tone: impl Fn(&Value) -> Tone,
) -> Vec<Line> {
    let shown = &rows[..rows.len().min(most)];
    let heading = headings.iter().map(|&text| text.to_owned()).collect();
    let table: Vec<Vec<String>> = std::iter::once(heading)
        .chain(shown.iter().map(|row| cells(row).iter().map(|cell| plain(cell)).collect()))
        .collect();
    let widths: Vec<usize> =
        (0..headings.len()).map(|at| table.iter().map(|row| row[at].width()).max().unwrap_or(0)).collect();
    let tones = std::iter::once(Tone::Heading).chain(shown.iter().map(tone));
    let mut lines = vec![Line::new(Tone::Plain, "")];
    for (tone, row) in tones.zip(&table) {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        lines.push(Line::new(tone, padded.collect::<Vec<_>>().join("  ")));
    }
    let missing = rows.len() - shown.len();
    if goes_on || missing > 0 {
        let count = if goes_on { String::new() } else { format!("{missing} ") };
        lines.push(Line::new(Tone::Plain, format!("… {count}more")));
    }
    lines
}

fn name(order: &Value) -> String {
    let (saga, id) = key(order);
    format!("{saga}/{id}")
}

fn ago(value: &Value, pointer: &str, now: Option<Moment>) -> String {
    let moment = Moment::parse(&at(value, pointer)).zip(now);
    moment.map(|(moment, now)| now.since(moment).to_string()).unwrap_or_default()
}

/// `in 12s`, or `now` where only the watermark is waited for.
fn due(order: &Value, now: Option<Moment>) -> String {
    match Moment::parse(&at(order, "/next/at")).zip(now) {
        Some((at, now)) if at > now => format!("in {}", at.since(now)),
        Some(_) => "now".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rates::PerMinute;
    use super::*;

    fn order(id: &str, since: &str) -> Value {
        json!({"saga": "order", "order_id": id, "status": "running", "stuck": null,
            "waiting_on": [{"step": "paid", "events": ["Paid"], "since": since}],
            "next": {"action": "time_out", "step": "paid", "at": "2026-11-21T09:30:12Z"}})
    }

    fn board() -> Board {
        let mut stuck = order("4711", "2026-11-21T09:00:00Z");
        stuck["status"] = "stuck".into();
        stuck["stuck"] = json!({"reason": "timed_out", "since": "2026-11-21T09:18:00Z", "step": "paid"});
        stuck["next"] = Value::Null;
        let saga = json!({"saga": "order", "mode": "act", "sight": "live", "sight_detail": null,
            "watermark": "2026-11-21T09:29:59Z", "orders": {"running": 1, "stuck": 1},
            "brake": {"orders": 50, "per": "1m", "counted": 3, "latched_at": null}});
        let status = json!({"name": "shop", "version": "0.1.0", "now": "2026-11-21T09:30:00.5Z", "bus": null,
            "sagas": [saga], "outbox": {"rows": 0, "oldest_at": null}, "doubts": {"gaps": 0, "quarantine": 0},
            "problems": []});
        let incident = json!({"count": 1, "first_at": "2026-11-21T09:18:00Z", "why": "1 order of saga `order` stuck"});
        let running = order("4712", "2026-11-21T09:29:00Z");
        let picture = Picture {
            status,
            incidents: vec![incident],
            has_more_incidents: false,
            orders: vec![stuck, running.clone()],
            due: vec![running],
            per_minute: Some(PerMinute { received: 180, sent: 22 }),
            open: None,
        };
        Board::of(picture, "http://127.0.0.1:8080".to_owned())
    }

    #[test]
    fn one_frame_says_it_all() {
        let expected = "\
escrow shop 0.1.0 · 2026-11-21T09:30:00Z · http://127.0.0.1:8080
in 180 and out 22 a minute · outbox empty · doubts none
broker: none: events come over HTTP

SAGA   MODE  SIGHT  READ UP TO  BRAKE  ORDERS
order  act   live   1.5s ago    3      running 1, stuck 1

INCIDENTS  SINCE  WHY
1          12m    1 order of saga `order` stuck

DUE NEXT  ORDER       ACTION
in 11s    order/4712  time_out (paid)

LONGEST  ORDER       STATUS             STEP  WAITS
12m      order/4711  stuck (timed_out)  paid  for Paid
1m       order/4712  running            paid  for Paid
";
        assert_eq!(whole(&board()), expected);
    }

    #[test]
    fn every_frame_fits_its_terminal_and_keeps_the_chosen_order_in_sight() {
        let mut board = board();
        let mut picture = board.picture.clone().unwrap();
        picture.orders = (0..500).map(|id| order(&format!("{id:03}漢"), "2026-11-21T09:00:00Z")).collect();
        picture.open = Some(
            json!({"saga": "order", "order_id": "499漢", "verdict": "running", "why": "a long story ".repeat(99)}),
        );
        board.show(picture);
        for (width, height) in [(120, 40), (80, 24), (40, 10), (10, 3), (1, 1)] {
            for is_open in [false, true] {
                board.key(crossterm::event::KeyCode::End.into());
                if is_open {
                    board.key(crossterm::event::KeyCode::Enter.into());
                }
                let lines = fitted(&board, width, height);
                assert!(lines.len() <= height, "{} of {height}", lines.len());
                assert!(lines.iter().all(|line| line.text.width() <= width), "{width}: {lines:?}");
                let chosen = lines.iter().find(|line| line.tone == Tone::Chosen);
                if !is_open && height >= 24 {
                    assert!(chosen.unwrap().text.contains("499漢"), "{lines:?}");
                }
                if is_open && height >= 24 {
                    assert!(lines.iter().any(|line| line.text == "running" && line.tone == Tone::Heading), "{lines:?}");
                }
                board.key(crossterm::event::KeyCode::Esc.into());
            }
        }
    }

    #[test]
    fn nothing_of_an_order_is_obeyed_and_an_escrow_that_is_away_is_said() {
        let mut board = board();
        let mut picture = board.picture.clone().unwrap();
        picture.orders[0]["order_id"] = "\u{1b}[2J\u{7}\n".into();
        picture.incidents[0]["why"] = "\u{202e}why\r".into();
        picture.status["problems"] = json!(["\u{9b}2J"]);
        board.show(picture);
        board.is_away("no answer\u{1b}[2J");
        let text = whole(&board);
        assert!(!text.chars().any(|it| (it.is_control() && it != '\n') || it == '\u{202e}'), "{text:?}");
        assert!(
            text.contains("no answer\\u{1b}[2J; trying again") && text.contains("order/\\u{1b}[2J\\u{7}\\n"),
            "{text}"
        );
        let empty = Board::new("http://x".to_owned());
        assert_eq!(fitted(&empty, 80, 24).len(), 3, "{:?}", fitted(&empty, 80, 24));
    }
}
