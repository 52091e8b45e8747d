//! Many messages, gathered: which events there are, where their names stand, and what names the order. Pure.
//!
//! ```text
//!   deliveries ─▶ names each may have ─▶ ways that hold (few names for many messages) ─▶ one name each ─▶ events
//!                                                       └▶ preset of most ─▶ ids in each ─▶ ranked by how they link events
//! ```
//!
//! The id of an order is in most messages, and its values come again in other events; the id of a message comes once, and
//! what is the same everywhere names nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::guess::{self, Way};
use crate::bus::Delivery;
use crate::cli::output::plain;
use crate::saga::definition::Preset;
use crate::wire::is_own;

/// What is shown of a body.
const SAMPLE_BYTES_MAX: usize = 500;
/// With fewer messages than this, every name is different by chance.
const NAMED_MIN: usize = 8;
/// A value that is this short may be the same by chance in two places.
const TELLING_BYTES_MIN: usize = 4;
/// Selectors in a list for one id; more is no convention.
const CHOSEN_MAX: usize = 3;

/// What was seen on an exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// Escrow's own messages aside.
    pub messages: usize,
    pub own: usize,
    /// In order of first sight; without a name the last.
    pub events: Vec<EventSeen>,
    /// The preset by which most messages are named.
    pub preset: Option<Preset>,
    /// Selectors that find the names without a preset, in the order to be tried.
    pub event: Vec<String>,
    /// The likeliest first.
    pub order_ids: Vec<OrderIdSeen>,
    /// Selectors to write: the likeliest, and those for the messages that do not have it.
    pub chosen: Vec<String>,
}

/// One kind of event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventSeen {
    pub name: Option<String>,
    pub count: usize,
    pub routing_keys: BTreeSet<String>,
    pub content_types: BTreeSet<String>,
    /// How its name was found, with how often.
    pub found: BTreeMap<Way, usize>,
    /// Messages with the property `message_id`.
    pub with_message_id: usize,
    /// Selectors of the ids it has, the likeliest first.
    pub order_ids: Vec<String>,
    /// A body, cut, every control character shown.
    pub sample: String,
}

/// Something that may be the order id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderIdSeen {
    pub selector: String,
    /// Messages that have it.
    pub present: usize,
    /// Different values.
    pub distinct: usize,
    /// Values that came in more than one kind of event.
    pub linking: usize,
    messages: BTreeSet<usize>,
}

/// Gathers messages in the order they came.
pub fn gather(deliveries: &[Delivery]) -> Gathered {
    let seen: Vec<&Delivery> = deliveries.iter().filter(|delivery| !is_own(delivery)).collect();
    let named = name_all(&seen);
    let mut gathered = Gathered { messages: seen.len(), own: deliveries.len() - seen.len(), ..events(&seen, &named) };
    gathered.order_ids = order_ids(&seen, &named, gathered.preset);
    gathered.chosen = choose(&gathered.order_ids, seen.len());
    let of_name = |name: Option<&str>| -> BTreeSet<usize> {
        let is_it = |place: &usize| named[*place].as_ref().map(|(_, name)| name.as_str()) == name;
        (0..seen.len()).filter(is_it).collect()
    };
    for event in &mut gathered.events {
        let messages = of_name(event.name.as_deref());
        let has = gathered.order_ids.iter().filter(|id| !id.messages.is_disjoint(&messages));
        event.order_ids = has.map(|id| id.selector.clone()).take(CHOSEN_MAX).collect();
    }
    gathered
}

type Named = Option<(Way, String)>;

/// One name for each message, by the first way that holds.
fn name_all(seen: &[&Delivery]) -> Vec<Named> {
    let all: Vec<Vec<(Way, String)>> =
        seen.iter().map(|delivery| guess::names(delivery, &guess::message(delivery))).collect();
    let mut ways: BTreeMap<&Way, (usize, HashSet<&str>)> = BTreeMap::new();
    for (way, name) in all.iter().flatten() {
        let (present, names) = ways.entry(way).or_default();
        *present += 1;
        names.insert(name);
    }
    let holds: HashMap<Way, bool> = ways
        .into_iter()
        .map(|(way, (present, names))| {
            let few = present < NAMED_MIN || names.len() * 2 <= present;
            (way.clone(), few || matches!(way, Way::Preset(_)))
        })
        .collect();
    all.into_iter().map(|names| names.into_iter().find(|(way, _)| holds[way])).collect()
}

fn events(seen: &[&Delivery], named: &[Named]) -> Gathered {
    let mut events: Vec<EventSeen> = Vec::new();
    let mut places: HashMap<Option<&str>, usize> = HashMap::new();
    let mut ways: BTreeMap<&Way, usize> = BTreeMap::new();
    for (delivery, named) in seen.iter().zip(named) {
        let name = named.as_ref().map(|(_, name)| name.as_str());
        let place = *places.entry(name).or_insert_with(|| {
            let (name, sample) = (name.map(str::to_owned), sample(&delivery.body));
            events.push(EventSeen { name, sample, ..EventSeen::default() });
            events.len() - 1
        });
        let event = &mut events[place];
        event.count += 1;
        event.routing_keys.insert(delivery.routing_key.clone());
        event.content_types.extend(delivery.envelope.property("content_type").map(str::to_owned));
        event.with_message_id += usize::from(delivery.envelope.property("message_id").is_some());
        if let Some((way, _)) = named {
            *event.found.entry(way.clone()).or_default() += 1;
            *ways.entry(way).or_default() += 1;
        }
    }
    // A stable sort: first sight stays the order among those with a name.
    events.sort_by_key(|event| event.name.is_none());
    let (mut most, mut preset) = (0, None);
    for (way, count) in &ways {
        match way {
            Way::Preset(it) if *count > most => (most, preset) = (*count, Some(*it)),
            Way::Preset(_) | Way::Selector(_) => {}
        }
    }
    let preset = preset.filter(|_| most * 2 >= ways.values().sum());
    Gathered { events, preset, event: in_order(seen, named), ..Gathered::default() }
}

/// The selectors that gave names, in the order in which they are tried for any one message.
fn in_order(seen: &[&Delivery], named: &[Named]) -> Vec<String> {
    let used: HashSet<&Way> = named.iter().flatten().map(|(way, _)| way).collect();
    let mut ordered: Vec<String> = Vec::new();
    for delivery in seen {
        let mut at = 0;
        for (way, _) in guess::names(delivery, &guess::message(delivery)) {
            if let Way::Selector(selector) = &way
                && used.contains(&way)
            {
                if let Some(place) = ordered.iter().position(|it| it == selector) {
                    at = at.max(place + 1);
                } else {
                    ordered.insert(at, selector.clone());
                    at += 1;
                }
            }
        }
    }
    ordered
}

fn order_ids(seen: &[&Delivery], named: &[Named], preset: Option<Preset>) -> Vec<OrderIdSeen> {
    // Per selector and value, and per telling value alone, the names it came with.
    let mut by_selector: BTreeMap<String, HashMap<String, HashSet<&str>>> = BTreeMap::new();
    let mut anywhere: HashMap<String, HashSet<&str>> = HashMap::new();
    let mut messages: HashMap<String, BTreeSet<usize>> = HashMap::new();
    for (place, (delivery, named)) in seen.iter().zip(named).enumerate() {
        let name = named.as_ref().map_or("", |(_, name)| name.as_str());
        for (selector, value) in guess::ids(delivery, &guess::message(delivery), preset) {
            messages.entry(selector.clone()).or_default().insert(place);
            if value.len() >= TELLING_BYTES_MIN {
                anywhere.entry(value.clone()).or_default().insert(name);
            }
            by_selector.entry(selector).or_default().entry(value).or_default().insert(name);
        }
    }
    let mut found: Vec<OrderIdSeen> = Vec::new();
    for (selector, values) in by_selector {
        let several = |value: &String, names: &HashSet<&str>| {
            names.len() > 1 || anywhere.get(value).is_some_and(|names| names.len() > 1)
        };
        let linking = values.iter().filter(|(value, names)| several(value, names)).count();
        let messages = messages.remove(&selector).unwrap_or_default();
        found.push(OrderIdSeen { present: messages.len(), distinct: values.len(), linking, messages, selector });
    }
    found.sort_by_key(|id| {
        (std::cmp::Reverse((score(id, seen.len()), id.distinct)), id.selector.len(), id.selector.clone())
    });
    found
}

/// Up to 1000 for being in every message, as many for linking events, and half as many for the word.
fn score(id: &OrderIdSeen, messages: usize) -> usize {
    let share = |part: usize, whole: usize| part * 1000 / whole.max(1);
    let is_constant = id.distinct == 1 && id.present >= 4;
    let linking = if is_constant { 0 } else { share(id.linking, id.distinct) };
    let is_called_so = guess::words(&id.selector).iter().any(|word| word.starts_with("order"));
    share(id.present, messages) + linking + if is_called_so { 500 } else { 0 }
}

/// The likeliest, and what else it takes to have one in nearly every message.
fn choose(ranked: &[OrderIdSeen], messages: usize) -> Vec<String> {
    let mut without: BTreeSet<usize> = (0..messages).collect();
    let mut chosen = Vec::new();
    for id in ranked {
        let gain = id.messages.intersection(&without).count();
        let is_worth_it = gain > 0 && (chosen.is_empty() || (id.linking > 0 && gain * 10 >= messages));
        if chosen.len() < CHOSEN_MAX && is_worth_it {
            without.retain(|place| !id.messages.contains(place));
            chosen.push(id.selector.clone());
        }
    }
    chosen
}

fn sample(body: &[u8]) -> String {
    let cut = &body[..body.len().min(SAMPLE_BYTES_MAX)];
    let text = String::from_utf8_lossy(cut);
    // The cut may have gone through a character; what is broken before it stays to be seen.
    let text = if cut.len() < body.len() { text.trim_end_matches('\u{fffd}') } else { &text };
    let more = if cut.len() < body.len() { "…" } else { "" };
    plain(text) + more
}

#[cfg(test)]
mod tests;
