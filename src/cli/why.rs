//! `escrow order why`: where an order is and why, on one screen that a person under pressure can act on.
//!
//! ```text
//!   verdict · where · since · waiting for · due · what happens then · only this one? · what is not known · what can be done
//! ```
//!
//! The first line says it all and fits 100 columns. Only facts are said: which event did not come, never who is to blame.

use std::fmt::Write as _;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::client::Client;
use super::failure::Failure;
use super::output::{at, plain, when};
use super::rabbit::quoted;
use super::watch::cut;
use crate::saga::time::Moment;

/// Widest first line.
const VERDICT_COLUMNS: usize = 100;
/// Columns of the headings.
const HEADING: usize = 15;
/// No line of text gets narrower, however narrow the terminal.
const TEXT_COLUMNS_MIN: usize = 20;

/// Everything the screen says, with the names of the API.
pub async fn look(client: &Client, saga: &str, order_id: &str) -> Result<Value, Failure> {
    let order = client.get(&["v1", "sagas", saga, "orders", order_id], &[]).await?;
    let step = step_of(&order);
    let incident = at(&order, "/stuck/incident");
    let beside: Vec<(&str, &str)> = match (incident.as_str(), step.as_deref()) {
        ("", None) => Vec::new(),
        ("", Some(step)) => vec![("saga", saga), ("waiting_on", step), ("count", "true"), ("limit", "1")],
        (incident, _) => vec![("incident", incident), ("count", "true"), ("limit", "1")],
    };
    let beside =
        async { if beside.is_empty() { Ok(Value::Null) } else { client.get(&["v1", "orders"], &beside).await } };
    let (sagas, status) = (["v1", "sagas", saga], ["v1", "status"]);
    let definition = client.get(&sagas, &[]);
    let (beside, definition, status) = tokio::try_join!(beside, definition, client.get(&status, &[]))?;
    Ok(gathered(&order, &definition, &status, beside["count"].as_u64()))
}

/// The step it is about: that which needs a person, else that which has waited longest.
fn step_of(order: &Value) -> Option<String> {
    let step = order.pointer("/stuck/step").or_else(|| order.pointer("/waiting_on/0/step"));
    step.and_then(Value::as_str).map(str::to_owned)
}

fn gathered(order: &Value, definition: &Value, status: &Value, alike: Option<u64>) -> Value {
    let step = step_of(order);
    let steps = definition["definition"].as_array().into_iter().flatten();
    let step_defined = steps.into_iter().find(|it| it["step"].as_str() == step.as_deref()).cloned().unwrap_or_default();
    let now = Moment::parse(&at(status, "/now"));
    json!({
        "verdict": cut(&plain(&verdict(order, now)), VERDICT_COLUMNS),
        "saga": order["saga"], "order_id": order["order_id"], "version": order["version"],
        "status": order["status"], "why": order["why"], "progress": order["progress"], "stuck": order["stuck"],
        "waiting_on": order["waiting_on"], "next": order["next"], "unproven": order["unproven"],
        "then": then(order, &step_defined, definition["mode"] == "observe"),
        // How many orders stand like this one, itself not counted.
        "others": alike.map(|count| count.saturating_sub(1)),
        "not_known": not_known(order, definition, now),
        "actions": actions(order, &step_defined),
        "now": status["now"], "as_of": order["as_of"],
    })
}

/// One line: what it is, since when, and what is missing.
fn verdict(order: &Value, now: Option<Moment>) -> String {
    let step = step_of(order).map(|step| format!(" (step {step})")).unwrap_or_default();
    let wait = &order["waiting_on"][0];
    let events = match at(wait, "/events") {
        none if none.is_empty() => "an event".to_owned(),
        events => events.replace(", ", " or "),
    };
    let status = at(order, "/status");
    match status.as_str() {
        "stuck" => {
            let what = match at(order, "/stuck/reason").as_str() {
                "timed_out" => format!("{events} did not come in time{step}"),
                "failed" => format!("a failure was seen{step}"),
                "order_overdue" => "the order did not end in time".to_owned(),
                "compensation_overdue" => format!("{events}, the answer to its undoing, did not come in time{step}"),
                "compensation_unroutable" => format!("no queue receives its compensation{step}"),
                "compensation_refused" => format!("the broker refused its compensation{step}"),
                "compensation_failed" => format!("its compensation was answered with a failure{step}"),
                "template_failed" => format!("an expression of the definition failed{step}"),
                "held" => "the brake holds its turning back".to_owned(),
                "unproven" => format!("something may have been missed, so nothing was done{step}"),
                "observe" => format!("mode `observe`, so nothing was sent{step}"),
                other => format!("{other}{step}"),
            };
            format!("stuck{}: {what}", ago(order, "/stuck/since", now))
        }
        "running" | "compensating" => {
            let word = if status == "running" { "running" } else { "turning back" };
            if wait.is_null() {
                return format!("{word}: nothing is awaited at the moment");
            }
            let late = match (wait["overdue"] == true, wait["due"] == true) {
                (true, _) => ", overdue",
                (false, true) => ", due",
                (false, false) => "",
            };
            format!("{word}: waiting{} for {events}{step}{late}", ago(wait, "/since", now))
        }
        ended => format!("{ended} at {}", when(order, "/ended_at")),
    }
}

/// What happens next by itself.
fn then(order: &Value, step: &Value, observes: bool) -> String {
    let acts = match at(order, "/next/action").as_str() {
        "" => return if order["ended_at"].is_null() { "nothing by itself".to_owned() } else { String::new() },
        "retry" => "the message is sent again".to_owned(),
        "time_out" => match at(step, "/on_timeout").as_str() {
            "compensate" => "the step times out and the order turns back".to_owned(),
            "skip" => return "the step is skipped and the order goes on".to_owned(),
            _ => return "the order becomes stuck and people are told".to_owned(),
        },
        "retry_compensation" => "the compensation is asked for again".to_owned(),
        "compensation_overdue" => return "the order becomes stuck: its compensation is overdue".to_owned(),
        "turn_back" => "the order turns back".to_owned(),
        "order_overdue" => return "the order as a whole is overdue and becomes stuck".to_owned(),
        other => other.to_owned(),
    };
    if observes {
        return format!("the order becomes stuck: in mode `observe` nothing is sent, else {acts}");
    }
    if order["unproven"].as_array().is_some_and(|reasons| !reasons.is_empty()) {
        return format!("the order becomes stuck: it is unproven, else {acts}");
    }
    acts
}

/// What Escrow knows that it does not know.
fn not_known(order: &Value, saga: &Value, now: Option<Moment>) -> Vec<String> {
    let reasons = order["unproven"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut doubts: Vec<String> = reasons
        .map(|reason| {
            let what = match reason {
                "beginning" => "its beginning was not seen",
                "gap" => "messages may have been missed",
                "quarantine" => "a message for it could not be read",
                "inferred" => "events were placed by their order of arrival",
                "evidence" => "a later step is already done",
                "completed" => "it was completed once before",
                other => other,
            };
            format!("{what} ({reason})")
        })
        .collect();
    let sight = at(saga, "/sight");
    if matches!(sight.as_str(), "behind" | "blind") {
        let detail = at(saga, "/sight_detail");
        let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
        let read = match Moment::parse(&at(order, "/as_of")).zip(now) {
            Some((as_of, now)) => format!(", read up to {} ago", now.since(as_of)),
            None => String::new(),
        };
        doubts.push(format!("Escrow is {sight}{read}{detail}"));
    }
    doubts
}

/// The commands that fit where it stands.
fn actions(order: &Value, step: &Value) -> Vec<String> {
    let has_turned = order["steps"].as_array().into_iter().flatten().any(|it| !it["compensation"].is_null());
    let can_retry = step["retries"].as_u64().is_some_and(|retries| retries > 0);
    let verbs: &[&str] = match (at(order, "/status").as_str(), at(order, "/stuck/reason").as_str()) {
        ("stuck", "timed_out") if has_turned => &["skip", "close"],
        ("stuck", "timed_out") if can_retry => &["retry", "extend", "skip", "compensate"],
        ("stuck", "timed_out") => &["extend", "skip", "compensate"],
        ("stuck", "failed") if can_retry => &["retry", "skip", "compensate"],
        ("stuck", "failed") => &["skip", "compensate"],
        ("stuck", "order_overdue") => &["extend", "compensate", "close"],
        ("stuck", "held" | "unproven") => &["release", "drop"],
        ("stuck", "observe") => &["release", "close"],
        ("stuck", "template_failed") => &["skip", "close"],
        ("stuck", reason) if reason.starts_with("compensation_") => &["retry", "skip"],
        ("stuck", _) => &["close"],
        ("running", _) => &["extend", "compensate", "note"],
        ("compensating", _) => &["note"],
        _ => &[],
    };
    let name = shown(&format!("{}/{}", at(order, "/saga"), at(order, "/order_id")));
    let takes_step = |verb: &str| matches!(verb, "retry" | "skip" | "extend");
    verbs
        .iter()
        .map(|&verb| {
            let step = step["step"].as_str().filter(|_| takes_step(verb));
            let step = step.map(|step| format!(" --step {step}")).unwrap_or_default();
            let by = if verb == "extend" { " --by 30m" } else { "" };
            format!("escrow order {verb} {name}{step}{by} --reason …")
        })
        .collect()
}

/// A word as a shell takes it.
fn shown(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '/' | '-' | '_' | '.' | ':');
    if word.chars().all(is_plain) { word.to_owned() } else { quoted(word) }
}

/// The screen, its lines no wider than `width`.
pub fn screen(known: &Value, width: Option<usize>) -> String {
    let now = Moment::parse(&at(known, "/now"));
    let wait = &known["waiting_on"][0];
    let since = if known["stuck"].is_null() { moment(wait, "/since", now) } else { moment(known, "/stuck/since", now) };
    let texts = |name: &str| -> Vec<String> {
        known[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let not_known = match texts("not_known") {
        none if none.is_empty() => vec!["nothing that matters here".to_owned()],
        some => some,
    };
    let lines = [
        ("order", vec![format!("{}/{}", at(known, "/saga"), at(known, "/order_id"))]),
        ("where", vec![place(known)]),
        ("since", vec![since]),
        ("waiting for", waits(known)),
        ("due", vec![due(wait, now)]),
        ("then", vec![at(known, "/then") + &in_time(known, now)]),
        ("only this one", vec![alone(known)]),
        ("not known", not_known),
        ("in full", vec![at(known, "/why")]),
        ("you can", texts("actions")),
    ];
    let mut text = format!("{}\n\n", at(known, "/verdict"));
    for (heading, said) in lines {
        let pieces = said.iter().filter(|it| !it.is_empty()).flat_map(|it| wrapped(&plain(it), width));
        for (number, piece) in pieces.enumerate() {
            let heading = if number == 0 { heading } else { "" };
            let _ = writeln!(text, "{heading:HEADING$}{piece}");
        }
    }
    text
}

/// ` 12m`: how long since the moment at `pointer`.
fn ago(value: &Value, pointer: &str, now: Option<Moment>) -> String {
    let moment = Moment::parse(&at(value, pointer)).zip(now);
    moment.map(|(moment, now)| format!(" {}", now.since(moment))).unwrap_or_default()
}

fn moment(value: &Value, pointer: &str, now: Option<Moment>) -> String {
    let at = when(value, pointer);
    if at.is_empty() { at } else { format!("{at} ({} ago)", ago(value, pointer, now).trim_start()) }
}

fn place(known: &Value) -> String {
    let step = step_of(known).map(|step| format!("step {step}, ")).unwrap_or_default();
    let (done, total) = (at(known, "/progress/done"), at(known, "/progress/total"));
    format!("{step}{done} of {total} steps done, version {}", at(known, "/version"))
}

fn waits(known: &Value) -> Vec<String> {
    let all = known["waiting_on"].as_array().into_iter().flatten();
    all.map(|wait| {
        let events = at(wait, "/events").replace(", ", " or ");
        let undoing = if wait["compensation"] == true { "undoing " } else { "" };
        let events = if events.is_empty() { "the broker's word".to_owned() } else { events };
        format!("{events} ({undoing}step {})", at(wait, "/step"))
    })
    .collect()
}

fn due(wait: &Value, now: Option<Moment>) -> String {
    let deadline = when(wait, "/deadline");
    let Some((at, now)) = Moment::parse(&deadline).zip(now) else { return deadline };
    if wait["overdue"] == true {
        return format!("{deadline}, overdue since {}", now.since(at));
    }
    if at <= now {
        return format!("{deadline}, {} ago; it may still be among what is not read yet", now.since(at));
    }
    format!("{deadline}, in {}", at.since(now))
}

fn in_time(known: &Value, now: Option<Moment>) -> String {
    let next = Moment::parse(&at(known, "/next/at")).zip(now).filter(|(at, now)| at > now);
    next.map(|(at, now)| format!(", in {}", at.since(now))).unwrap_or_default()
}

fn alone(known: &Value) -> String {
    let like = match (known["stuck"].is_null(), step_of(known)) {
        (false, _) => {
            format!("stuck for the same reason: escrow order list --incident {}", at(known, "/stuck/incident"))
        }
        (true, Some(step)) => {
            format!("waiting in the same step: escrow order list --saga {} --waiting-on {step}", at(known, "/saga"))
        }
        (true, None) => return String::new(),
    };
    match known["others"].as_u64() {
        None => String::new(),
        Some(0) => "yes".to_owned(),
        Some(1) => format!("no, 1 other is {like}"),
        Some(others) => format!("no, {others} others are {like}"),
    }
}

/// Text in lines of at most `width` columns with the heading before them; whole words where they fit.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let width = width.saturating_sub(HEADING).max(TEXT_COLUMNS_MIN);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(cut(word, width)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T09:30:00Z";

    fn stuck() -> Value {
        json!({"saga": "order", "order_id": "4711", "version": 1, "status": "stuck", "progress": {"done": 2, "total": 4},
            "waiting_on": [{"step": "inventory", "events": ["InventoryReserved"], "since": "2026-11-21T09:17:00Z",
                "deadline": "2026-11-21T09:18:00Z", "overdue": true, "due": false, "compensation": false}],
            "steps": [{"step": "inventory", "compensation": null}],
            "stuck": {"reason": "timed_out", "step": "inventory", "since": "2026-11-21T09:18:00Z", "incident": "i1"},
            "next": null, "unproven": ["gap"], "ended_at": null, "as_of": "2026-11-21T09:29:00Z", "why": "stuck for 12m: …"})
    }

    fn saga() -> Value {
        json!({"mode": "act", "sight": "behind", "sight_detail": null,
            "definition": [{"step": "inventory", "on_timeout": "compensate", "retries": 3}]})
    }

    #[test]
    fn a_stuck_order_says_everything_on_one_screen() {
        let known = gathered(&stuck(), &saga(), &json!({"now": NOW}), Some(412));
        let screen = screen(&known, None);
        let expected = "\
stuck 12m: InventoryReserved did not come in time (step inventory)

order          order/4711
where          step inventory, 2 of 4 steps done, version 1
since          2026-11-21T09:18:00Z (12m ago)
waiting for    InventoryReserved (step inventory)
due            2026-11-21T09:18:00Z, overdue since 12m
then           nothing by itself
only this one  no, 411 others are stuck for the same reason: escrow order list --incident i1
not known      messages may have been missed (gap)
               Escrow is behind, read up to 1m ago
in full        stuck for 12m: …
you can        escrow order retry order/4711 --step inventory --reason …
               escrow order extend order/4711 --step inventory --by 30m --reason …
               escrow order skip order/4711 --step inventory --reason …
               escrow order compensate order/4711 --reason …
";
        assert_eq!(screen, expected);
    }

    #[test]
    fn a_running_order_says_what_happens_and_when() {
        let order = json!({"status": "running", "stuck": null, "unproven": [], "ended_at": null,
            "next": {"action": "time_out", "step": "inventory", "at": "2026-11-21T09:30:18Z"},
            "waiting_on": [{"step": "inventory", "events": ["A", "B"], "since": "2026-11-21T09:29:18Z",
                "deadline": "2026-11-21T09:30:18Z", "overdue": false, "due": false}]});
        let mut live = saga();
        live["sight"] = "live".into();
        let known = gathered(&order, &live, &json!({"now": NOW}), Some(1));
        assert_eq!(known["verdict"], "running: waiting 42s for A or B (step inventory)");
        let shown = screen(&known, None);
        for line in [
            "then           the step times out and the order turns back, in 18s",
            "due            2026-11-21T09:30:18Z, in 18s",
            "only this one  yes",
            "not known      nothing that matters here",
        ] {
            assert!(shown.lines().any(|it| it == line), "{line}: {shown}");
        }
        live["mode"] = "observe".into();
        let known = gathered(&order, &live, &json!({"now": NOW}), None);
        assert!(known["then"].as_str().unwrap().starts_with("the order becomes stuck: in mode `observe`"));
    }

    #[test]
    fn nothing_of_an_order_is_obeyed_and_the_first_line_stays_short() {
        let mut order = stuck();
        order["order_id"] = format!("a b\u{1b}[2J'{}", "x".repeat(300)).into();
        order["waiting_on"][0]["events"] = json!(["E\u{202e}".repeat(90)]);
        let known = gathered(&order, &saga(), &json!({"now": NOW}), Some(1));
        assert!(known["verdict"].as_str().unwrap().width() <= VERDICT_COLUMNS);
        for width in [None, Some(80), Some(1)] {
            let shown = screen(&known, width);
            assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
            let widest = shown.lines().skip(1).map(UnicodeWidthStr::width).max().unwrap();
            assert!(width.is_none_or(|width| widest <= width.max(HEADING + TEXT_COLUMNS_MIN)), "{shown}");
        }
        assert!(known["actions"][0].as_str().unwrap().contains(r"'order/a b"), "quoted for a shell");
        let ended = json!({"status": "completed", "ended_at": NOW, "waiting_on": [], "stuck": null, "next": null});
        let known = gathered(&ended, &Value::Null, &json!({"now": NOW}), None);
        assert_eq!(
            (known["verdict"].as_str(), known["actions"].as_array().map(Vec::len)),
            (Some("completed at 2026-11-21T09:30:00Z"), Some(0))
        );
    }
}
