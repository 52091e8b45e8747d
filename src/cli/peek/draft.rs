//! A starting definition from what was seen: valid, in mode `observe`, and with a comment wherever it guesses. Pure.
//!
//! Names come from messages, so everything but plain words is quoted, and what cannot be shown plainly is left out.

use std::fmt::Write as _;

use super::gather::Gathered;
use super::guess::{self, preset_word};
use crate::cli::output::plain;

/// More steps are not one saga.
const STEPS_MAX: usize = 50;
/// Names of sagas and steps may be 100 bytes; a number has to fit behind.
const NAME_BYTES_MAX: usize = 90;
/// Words YAML takes for something else than text.
const YAML_WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];

/// The definition; `None` when no event was seen that a definition could name.
pub fn draft(exchanges: &[String], keys: Option<&[String]>, seen: &Gathered) -> Option<String> {
    let names: Vec<&str> = seen.events.iter().filter_map(|event| event.name.as_deref()).collect();
    let (shown, left_out): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| is_writable(name));
    let event: Vec<String> = seen.event.iter().filter(|it| is_writable(it)).cloned().collect();
    if shown.is_empty() || !exchanges.iter().all(|it| is_writable(it)) || (event.is_empty() && seen.preset.is_none()) {
        return None;
    }
    let mut text = format!(
        "# A start, guessed from {} messages. Say what comes after what, and by when; then `escrow check` it.\n\
         saga: {}\nversion: 1\nmode: observe\n\nwatch:\n",
        seen.messages,
        scalar(&name_of(exchanges.first().map_or("", String::as_str), "saga"))
    );
    for exchange in exchanges {
        let _ = writeln!(text, "  - exchange: {}", scalar(exchange));
        if let Some(keys) = keys {
            let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
            let _ = writeln!(text, "    keys: [{}]", keys.join(", "));
        }
    }
    text += &read(seen, &event);
    text += "\n# In the order in which they were first seen, one after the other. Steps that do not wait for each other run beside\n\
             # each other; a name that tells of a failure belongs under `failed` of the step it ends.\nsteps:\n";
    text += &steps(&shown);
    let more = shown.len().saturating_sub(STEPS_MAX) + left_out.len();
    if more > 0 {
        let _ = writeln!(text, "# {more} more kinds of events were seen and are left out here.");
    }
    Some(text)
}

fn read(seen: &Gathered, event: &[String]) -> String {
    let mut text = String::from("\nread:\n");
    match seen.preset {
        Some(preset) => {
            let _ = writeln!(text, "  preset: {}", preset_word(preset));
            if !event.is_empty() {
                let others = event.join(", ");
                let _ = writeln!(text, "  # some messages are named otherwise: {others}");
            }
        }
        None => {
            let _ = writeln!(text, "  event: {}", list(event));
        }
    }
    let usable: Vec<String> = seen.chosen.iter().filter(|it| is_writable(it)).cloned().collect();
    if usable.is_empty() {
        text += "  order_id: /order_id   # nothing that looks like an id was seen: say where it stands, or `arrival`\n";
    } else {
        let others = seen.order_ids.iter().map(|id| id.selector.as_str());
        let others: Vec<&str> = others.filter(|it| !usable.iter().any(|used| used == it) && is_writable(it)).collect();
        let or = others.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let or = if or.is_empty() { or } else { format!("   # or {or}") };
        let _ = writeln!(text, "  order_id: {}{or}", list(&usable));
    }
    let with_id: usize = seen.events.iter().map(|event| event.with_message_id).sum();
    if with_id < seen.messages && seen.preset.is_none() {
        let _ = writeln!(
            text,
            "  # {} of {} messages carry no message_id. If something else tells one message from another, name it:\n  # id: /event_id",
            seen.messages - with_id,
            seen.messages
        );
    }
    text
}

fn steps(events: &[&str]) -> String {
    let mut text = String::new();
    let mut names: Vec<String> = Vec::new();
    for event in events.iter().take(STEPS_MAX) {
        let (base, mut number) = (name_of(event, "step"), 1);
        let mut name = base.clone();
        while names.contains(&name) {
            number += 1;
            name = format!("{base}_{number}");
        }
        let _ = writeln!(text, "  {}:", scalar(&name));
        if let Some(before) = names.last() {
            let _ = writeln!(text, "    after: {}", scalar(before));
        }
        let _ = writeln!(text, "    done: {}", scalar(event));
        if !names.is_empty() {
            text += "    # within: 1m\n";
        }
        names.push(name);
    }
    text
}

/// `OrderPlaced` as `order_placed`; `otherwise` where nothing of it can be in a name.
fn name_of(text: &str, otherwise: &str) -> String {
    let is_plain = |word: &String| word.chars().all(|it| it.is_ascii_alphanumeric());
    let name = guess::words(text).into_iter().filter(is_plain).collect::<Vec<_>>().join("_");
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    match name.chars().next() {
        Some(first) if first.is_ascii_lowercase() => name,
        Some(_) => format!("{otherwise}_{name}"),
        None => otherwise.to_owned(),
    }
}

/// Whether a definition can hold it as text: it shows as it is, and is no expression.
fn is_writable(text: &str) -> bool {
    plain(text) == text && !text.contains("{{")
}

/// One selector, or a list of them.
fn list(selectors: &[String]) -> String {
    match selectors {
        [one] => scalar(one),
        several => format!("[{}]", several.iter().map(|it| scalar(it)).collect::<Vec<_>>().join(", ")),
    }
}

/// Text as YAML takes it for text.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '/')
        && text.ends_with(|it: char| it.is_ascii_alphanumeric())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.' | '/' | ':'))
        && !YAML_WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// JSON's quoted text is YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
