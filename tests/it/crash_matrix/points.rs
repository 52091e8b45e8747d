//! The points at which the program dies: read from its sources, so that none can be forgotten.

use std::fs;
use std::path::{Path, PathBuf};

/// Which commits and transactions of a process are died at: the first are those of its start, the later ones of any loop.
const COMMITS: [u32; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

/// What has to happen for a step to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Orders come and go.
    Orders,
    /// The database refuses a message.
    Refused,
    /// A message cannot be read.
    Unread,
    /// A person writes a note on an order.
    Note,
    /// A person asks for an action on all that a filter names.
    Bulk,
    /// A person closes an order.
    Close,
    /// A person drops a message in quarantine.
    Drop,
    /// The first event over HTTP.
    FirstOverHttp,
    /// A definition has another text.
    NewText,
    /// A watched exchange appears.
    ExchangeAppears,
    /// Escrow's own exchange is gone.
    NoOwnExchange,
    /// The broker cannot be reached.
    NoBroker,
    /// No broker is configured. From here on nothing may be open: the doubt is about all orders there are.
    HttpAlone,
    /// The tap is deleted.
    TapGone,
    /// The database is set back.
    SetBack,
}

impl Way {
    fn to(point: &str) -> Self {
        match point {
            "applying.quarantine" | "store.rollback" => Self::Refused,
            "store.quarantine_ids" | "store.insert_quarantine" | "store.insert_doubts" => Self::Unread,
            "commands.find_order" | "commands.commit" | "store.save_answer" => Self::Note,
            "bulk.act" | "bulk.settle" => Self::Bulk,
            "store.withdraw_outbox" => Self::Close,
            "commands.quarantined" | "commands.resolve" | "store.resolve" => Self::Drop,
            "ingest.accepting" => Self::FirstOverHttp,
            "definitions.save" => Self::NewText,
            "looks.record_gaps" => Self::ExchangeAppears,
            "relay.release_unknown" => Self::NoOwnExchange,
            "relay.release_all" => Self::NoBroker,
            "pulse.now_without_tap" | "pulse.next_due_without_tap" => Self::HttpAlone,
            "ingest.probe" => Self::TapGone,
            "pulse.record_loss" => Self::SetBack,
            _ => Self::Orders,
        }
    }

    /// Whether it may be tried often.
    pub fn is_cheap(self) -> bool {
        matches!(self, Self::Note | Self::Bulk | Self::Close | Self::Drop | Self::FirstOverHttp | Self::NoBroker)
    }

    /// Whether it puts every open order in doubt, or treats it as there was no broker.
    pub fn needs_quiet(self) -> bool {
        self >= Self::HttpAlone
    }
}

/// One death.
#[derive(Clone, Debug)]
pub struct Death {
    pub point: String,
    pub edge: &'static str,
    /// When the step is passed for this time.
    pub count: u32,
    pub way: Way,
}

impl Death {
    /// As `ESCROW_CRASH_AT` says it.
    pub fn at(&self) -> String {
        format!("{}:{}:{}", self.point, self.edge, self.count)
    }
}

/// Every death of the matrix, those that need quiet last.
pub fn deaths() -> Vec<Death> {
    let mut deaths = Vec::new();
    // Alerting needs receivers, and dies beside them: `alerting/crash.rs`.
    for point in named_in_the_sources().into_iter().filter(|point| !point.starts_with("alerting.")) {
        let counts: &[u32] = if point == "store.commit" { &COMMITS } else { &[1] };
        for edge in ["before", "after"] {
            for count in counts {
                deaths.push(Death { way: Way::to(&point), point: point.clone(), edge, count: *count });
            }
        }
    }
    deaths.sort_by_key(|death| death.way);
    deaths
}

/// The names of all steps in the sources, sorted.
pub fn named_in_the_sources() -> Vec<String> {
    let mut points = Vec::new();
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with(Path::new("faults/mod.rs")) {
                let text = fs::read_to_string(&path).unwrap();
                points.extend(text.split(".at(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    points.sort();
    points.dedup();
    points
}
