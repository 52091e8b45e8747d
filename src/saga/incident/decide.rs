//! From the incidents that are open and what is observed now: what changes, and what is told.
//!
//! ```text
//!   observed, not open      ▶ opens, as the next episode
//!   observed, open          ▶ stays open; a calm that had begun is over
//!   not observed, open      ▶ calm; resolved when that has lasted [`Knobs::calm`]
//!   explained by another    ▶ has a parent, and is told of by that one alone
//! ```
//!
//! Each channel gets at most one trigger and one resolve of an episode. What is decided depends on nothing but the arguments, and
//! notices are named by episode and number: deciding again after a crash gives the same rows.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::{Cause, parent_of};
use super::{About, Incident, IncidentStatus, Notice, NoticeKind, Routes, SAMPLES_MAX};
use crate::saga::time::{Moment, Span};

/// An open or resolved incident with what was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub incident: Incident,
    pub told: Told,
}

/// What was told of an episode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The number of the last notice; the same for every channel.
    pub notices: u64,
    pub at: Option<Moment>,
    /// The count it told.
    pub count: u64,
    /// The channels that got a trigger: they get what follows, whatever the routes say by then.
    pub channels: Vec<String>,
}

/// A cause that lasts now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub about: About,
    pub count: u64,
    pub first_at: Moment,
    pub last_at: Moment,
    pub samples: Vec<String>,
    pub why: String,
}

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub observed: Vec<Observed>,
    /// Open ones about which nothing can be known now: they stay as they are.
    pub unjudged: BTreeSet<About>,
}

/// How patient people are to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Not seen for this long, an incident is over.
    pub calm: Span,
    /// What may be explained by something else is told only after this.
    pub wait: Span,
    /// Between two notices of one episode lies at least this, the resolve aside.
    pub update_every: Span,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            // As long as what flaps in the field does (a service that restarts over and over, a broker that fails over twice):
            // shorter, and one cause is told several times; longer, and people learn of the end too late.
            calm: Span::from_secs(300),
            // Every cause that explains others is found within this: the last is blindness, after 15 s.
            wait: Span::from_secs(30),
            // What Alertmanager calls `group_interval`, and its default.
            update_every: Span::from_secs(300),
        }
    }
}

/// What is to be saved, in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub saved: Vec<Standing>,
    pub notices: Vec<Notice>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.saved.is_empty() && self.notices.is_empty()
    }
}

/// Decides. `episodes`: the last episode of each id that is observed and not open, where there was one.
pub fn decide(
    open: &[Standing],
    episodes: &BTreeMap<String, u64>,
    seen: Seen,
    knobs: &Knobs,
    routes: &dyn Routes,
    now: Moment,
) -> Changes {
    let before: BTreeMap<About, &Standing> = open.iter().map(|it| (it.incident.about.clone(), it)).collect();
    let mut all: BTreeMap<About, Standing> = before.iter().map(|(about, it)| (about.clone(), (*it).clone())).collect();
    let mut lasting = seen.unjudged;
    for observed in seen.observed {
        lasting.insert(observed.about.clone());
        if let Some(standing) = all.get_mut(&observed.about) {
            goes_on(&mut standing.incident, observed);
        } else {
            let episode = episodes.get(&observed.about.id()).copied().unwrap_or(0) + 1;
            let incident = opened(observed, episode, now);
            all.insert(incident.about.clone(), Standing { incident, told: Told::default() });
        }
    }
    for (about, standing) in &mut all {
        if !lasting.contains(about) {
            calms(&mut standing.incident, knobs, now);
        }
    }
    explain(&mut all);
    let notices = tell(&mut all, knobs, routes, now);
    let saved = all.into_iter().filter(|(about, it)| before.get(about).is_none_or(|was| *was != it));
    Changes { saved: saved.map(|(_, it)| it).collect(), notices }
}

fn opened(observed: Observed, episode: u64, now: Moment) -> Incident {
    let mut samples = observed.samples;
    samples.truncate(SAMPLES_MAX);
    Incident {
        about: observed.about,
        episode,
        status: IncidentStatus::Open,
        count: observed.count,
        peak: observed.count,
        first_at: observed.first_at,
        last_at: observed.last_at,
        opened_at: now,
        resolved_at: None,
        calm_since: None,
        samples,
        why: observed.why,
        parent: None,
        acked: None,
    }
}

fn goes_on(incident: &mut Incident, observed: Observed) {
    incident.count = observed.count;
    incident.peak = incident.peak.max(observed.count);
    incident.first_at = incident.first_at.min(observed.first_at);
    incident.last_at = incident.last_at.max(observed.last_at);
    incident.calm_since = None;
    incident.why = observed.why;
    if !observed.samples.is_empty() {
        incident.samples = observed.samples;
        incident.samples.truncate(SAMPLES_MAX);
    }
}

/// It was over when it was last seen, not when that was certain.
fn calms(incident: &mut Incident, knobs: &Knobs, now: Moment) {
    let since = *incident.calm_since.get_or_insert(now);
    incident.count = 0;
    if now.since(since) >= knobs.calm {
        incident.status = IncidentStatus::Resolved;
        incident.resolved_at = Some(since);
    }
}

fn explain(all: &mut BTreeMap<About, Standing>) {
    let lasting: Vec<Incident> = all.values().map(|it| &it.incident).filter(|it| is_open(it)).cloned().collect();
    for standing in all.values_mut().filter(|it| is_open(&it.incident)) {
        standing.incident.parent = parent_of(&standing.incident, &lasting).map(|it| it.about.id());
    }
}

fn is_open(incident: &Incident) -> bool {
    incident.status == IncidentStatus::Open
}

/// Who tells which channel, before anything is told now.
struct Voices {
    /// By id of the open incidents.
    by_id: BTreeMap<String, Voice>,
}

struct Voice {
    saga: String,
    parent: Option<String>,
    told: BTreeSet<String>,
    routed: BTreeSet<String>,
}

impl Voices {
    fn of(all: &BTreeMap<About, Standing>, routes: &dyn Routes) -> Self {
        let open = all.values().filter(|it| is_open(&it.incident));
        let voice = |it: &Standing| Voice {
            saga: it.incident.about.saga.clone(),
            parent: it.incident.parent.clone(),
            told: it.told.channels.iter().cloned().collect(),
            routed: routes.channels(&it.incident).into_iter().collect(),
        };
        Self { by_id: open.map(|it| (it.incident.about.id(), voice(it))).collect() }
    }

    /// Whether a channel hears of this incident from another one. One that was told before its parent opened goes on to speak
    /// until the parent does; and the parent of one that speaks of the same saga need not.
    fn silences(&self, incident: &Incident, channel: &String) -> bool {
        let id = incident.about.id();
        let Some(own) = self.by_id.get(&id) else { return false };
        match own.parent.as_ref().and_then(|parent| self.by_id.get(parent)) {
            Some(parent) if own.told.contains(channel) => parent.told.contains(channel),
            Some(parent) => parent.told.contains(channel) || parent.routed.contains(channel),
            None if own.told.contains(channel) => false,
            None => self.by_id.values().any(|child| {
                child.parent.as_ref() == Some(&id) && child.saga == own.saga && child.told.contains(channel)
            }),
        }
    }
}

fn tell(all: &mut BTreeMap<About, Standing>, knobs: &Knobs, routes: &dyn Routes, now: Moment) -> Vec<Notice> {
    let voices = Voices::of(all, routes);
    let mut notices = Vec::new();
    for standing in all.values_mut() {
        let (kind, channels) = match standing.incident.status {
            IncidentStatus::Resolved => (NoticeKind::Resolve, standing.told.channels.clone()),
            IncidentStatus::Open => to_tell(standing, &voices, knobs, now),
        };
        if channels.is_empty() {
            continue;
        }
        let told = &mut standing.told;
        told.notices += 1;
        (told.at, told.count) = (Some(now), standing.incident.count);
        if kind == NoticeKind::Trigger {
            told.channels.extend(channels.iter().cloned());
        }
        let number = told.notices;
        let incident = &standing.incident;
        notices.extend(channels.into_iter().map(|channel| Notice {
            channel,
            kind,
            number,
            incident: incident.clone(),
        }));
    }
    notices
}

/// What is told of an open incident now, and to whom: to nobody, often.
fn to_tell(standing: &Standing, voices: &Voices, knobs: &Knobs, now: Moment) -> (NoticeKind, Vec<String>) {
    let nothing = (NoticeKind::Update, Vec::new());
    let Standing { incident, told } = standing;
    // A person knows; or it seems to be over.
    if incident.acked.is_some() || incident.calm_since.is_some() {
        return nothing;
    }
    let is_parent = Cause::from_word(&incident.about.cause).is_some_and(Cause::is_parent);
    if !is_parent && now.since(incident.opened_at) < knobs.wait {
        return nothing;
    }
    let speaks = |channel: &&String| !voices.silences(incident, channel);
    let routed = voices.by_id.get(&incident.about.id()).map(|voice| &voice.routed);
    let fresh = routed.into_iter().flatten().filter(|channel| !told.channels.contains(channel));
    let fresh: Vec<String> = fresh.filter(speaks).cloned().collect();
    if !fresh.is_empty() {
        return (NoticeKind::Trigger, fresh);
    }
    let is_due = told.at.is_some_and(|at| now.since(at) >= knobs.update_every);
    if is_due && incident.count != told.count {
        return (NoticeKind::Update, told.channels.iter().filter(speaks).cloned().collect());
    }
    nothing
}
