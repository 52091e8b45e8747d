//! Storms of observations, and what people are told of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::cause::Cause;
use super::decide::{Changes, Knobs, Observed, Seen, Standing, decide};
use super::{About, Acked, Incident, IncidentStatus, Notice, NoticeKind, Routes};
use crate::saga::order::StuckReason;
use crate::saga::time::{Moment, Span};

const TIMED_OUT: Cause = Cause::Stuck(StuckReason::TimedOut);

/// Every incident goes to these.
struct To(&'static [&'static str]);

impl Routes for To {
    fn channels(&self, _incident: &Incident) -> Vec<String> {
        self.0.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// The rows, as a store keeps them.
struct World {
    rows: Vec<Standing>,
    told: Vec<Notice>,
    routes: To,
    now: Moment,
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1_000_000)
}

fn about(cause: Cause) -> About {
    let step = matches!(cause, Cause::ServiceSilent | Cause::StepStalled | Cause::Stuck(_)).then_some("inventory");
    let saga = if step.is_some() { "order" } else { "" };
    About::new(cause, saga, step.filter(|_| cause != Cause::Stuck(StuckReason::Held)))
}

fn seen(cause: Cause, count: u64, now: Moment) -> Observed {
    let samples = (0..count.min(30)).map(|it| it.to_string()).collect();
    Observed { about: about(cause), count, first_at: now, last_at: now, samples, why: "so".to_owned() }
}

impl World {
    fn new(channels: &'static [&'static str]) -> Self {
        Self { rows: Vec::new(), told: Vec::new(), routes: To(channels), now: at(0) }
    }

    fn open(&self) -> Vec<Standing> {
        self.rows.iter().filter(|it| it.incident.status == IncidentStatus::Open).cloned().collect()
    }

    fn decide(&self, observed: &[Observed]) -> Changes {
        let mut episodes = BTreeMap::new();
        for row in &self.rows {
            let last = episodes.entry(row.incident.about.id()).or_insert(0);
            *last = row.incident.episode.max(*last);
        }
        let seen = Seen { observed: observed.to_vec(), unjudged: BTreeSet::new() };
        decide(&self.open(), &episodes, seen, &Knobs::default(), &self.routes, self.now)
    }

    /// Decides at this second and saves.
    fn look(&mut self, second: i64, causes: &[(Cause, u64)]) {
        self.now = at(second);
        let observed: Vec<Observed> = causes.iter().map(|(cause, count)| seen(*cause, *count, self.now)).collect();
        let changes = self.decide(&observed);
        assert_eq!(keys(&changes), keys(&self.decide(&observed)), "what is decided again is the same");
        for saved in changes.saved {
            let same = |it: &&mut Standing| {
                (&it.incident.about, it.incident.episode) == (&saved.incident.about, saved.incident.episode)
            };
            match self.rows.iter_mut().find(same) {
                Some(row) => *row = saved,
                None => self.rows.push(saved),
            }
        }
        self.told.extend(changes.notices);
    }

    /// `trigger service_silent 1` for each notice.
    fn said(&self) -> Vec<String> {
        let said = |it: &Notice| format!("{} {} {}", it.kind.word(), it.incident.about.cause, it.number);
        self.told.iter().map(said).collect()
    }

    fn row(&self, cause: Cause) -> &Incident {
        &self.rows.iter().rev().find(|it| it.incident.about == about(cause)).unwrap().incident
    }
}

fn keys(changes: &Changes) -> Vec<uuid::Uuid> {
    changes.notices.iter().map(Notice::key).collect()
}

#[test]
fn ten_thousand_orders_stuck_within_a_minute_are_one_incident_one_trigger_and_one_resolve() {
    let mut world = World::new(&["pager", "chat"]);
    for second in 1..=60 {
        world.look(second, &[(TIMED_OUT, 167 * u64::try_from(second).unwrap())]);
    }
    let row = world.row(TIMED_OUT).clone();
    assert_eq!((world.rows.len(), row.count, row.samples.len()), (1, 10_020, 10));
    assert_eq!((row.first_at, row.last_at), (at(1), at(60)));
    assert_eq!(world.said(), ["trigger timed_out 1"; 2], "one for each channel, after the wait");
    for second in 61..=331 {
        world.look(second, &[(TIMED_OUT, 10_020)]);
    }
    assert_eq!(world.said()[2..], ["update timed_out 2"; 2], "five minutes later, with the count of now");
    for second in 332..=632 {
        world.look(second, &[]);
    }
    let row = world.row(TIMED_OUT);
    assert_eq!((row.status, row.resolved_at, row.peak), (IncidentStatus::Resolved, Some(at(332)), 10_020));
    assert_eq!(world.said()[4..], ["resolve timed_out 3"; 2]);
}

#[test]
fn what_flaps_is_one_incident_and_what_comes_again_after_a_calm_is_the_next_episode() {
    let mut world = World::new(&["pager"]);
    for round in 0..20 {
        for second in 0..100 {
            let causes = [(TIMED_OUT, 7)];
            world.look(round * 100 + second, if second < 40 { &causes } else { &[] });
        }
    }
    assert_eq!((world.rows.len(), world.said()), (1, vec!["trigger timed_out 1".to_owned()]));
    world.look(3_000, &[]);
    world.look(3_001, &[(TIMED_OUT, 1)]);
    world.look(3_040, &[(TIMED_OUT, 1)]);
    assert_eq!(world.row(TIMED_OUT).episode, 2);
    assert_eq!(world.said()[1..], ["resolve timed_out 2", "trigger timed_out 1"]);
    assert_ne!(world.told[0].key(), world.told[2].key());
}

#[test]
fn what_is_over_before_the_wait_is_told_to_nobody() {
    let mut world = World::new(&["pager"]);
    world.look(0, &[(TIMED_OUT, 1)]);
    for second in 5..400 {
        world.look(second, &[]);
    }
    assert_eq!((world.row(TIMED_OUT).status, world.said().len()), (IncidentStatus::Resolved, 0));
}

#[test]
fn a_parent_is_told_in_place_of_its_children_and_what_outlasts_it_is_told_then() {
    let mut world = World::new(&["pager"]);
    world.look(0, &[(TIMED_OUT, 5)]);
    let storm = [(Cause::BrokerAway, 0), (Cause::Blind, 0), (Cause::ServiceSilent, 9), (TIMED_OUT, 50)];
    for second in 10..100 {
        world.look(second, &storm);
    }
    let broker = about(Cause::BrokerAway).id();
    for child in [Cause::Blind, Cause::ServiceSilent, TIMED_OUT] {
        assert_eq!(world.row(child).parent.as_ref(), Some(&broker), "{child:?}");
    }
    assert_eq!(world.said(), ["trigger broker_away 1"]);
    for second in 100..=401 {
        world.look(second, &[(TIMED_OUT, 50)]);
    }
    assert_eq!(world.said()[1..], ["resolve broker_away 2", "trigger timed_out 1"]);
    assert_eq!(world.row(TIMED_OUT).parent, None);
}

#[test]
fn a_child_that_was_told_speaks_for_its_own_service_and_is_silent_under_anything_wider() {
    let mut world = World::new(&["pager"]);
    world.look(0, &[(TIMED_OUT, 1)]);
    world.look(30, &[(TIMED_OUT, 2)]);
    world.look(150, &[(TIMED_OUT, 9), (Cause::ServiceSilent, 9)]);
    assert_eq!(world.row(TIMED_OUT).parent, Some(about(Cause::ServiceSilent).id()));
    assert_eq!(world.said(), ["trigger timed_out 1"], "people know already");
    world.look(331, &[(TIMED_OUT, 12), (Cause::ServiceSilent, 12)]);
    assert_eq!(world.said()[1..], ["update timed_out 2"]);
    world.look(340, &[(TIMED_OUT, 13), (Cause::ServiceSilent, 12), (Cause::BrokerAway, 0)]);
    world.look(900, &[(TIMED_OUT, 99), (Cause::ServiceSilent, 99), (Cause::BrokerAway, 0)]);
    assert_eq!(world.said()[2..], ["trigger broker_away 1"]);
}

#[test]
fn whatever_takes_the_sight_first_explains_the_rest() {
    for (first, second) in [(Cause::Blind, Cause::BrokerAway), (Cause::BrokerAway, Cause::Blind)] {
        let mut world = World::new(&["pager"]);
        world.look(0, &[(first, 0)]);
        for at in 5..60 {
            world.look(at, &[(first, 0), (second, 0), (Cause::Stuck(StuckReason::Held), 4)]);
        }
        assert_eq!((world.row(first).parent.clone(), world.said().len()), (None, 1));
        for child in [second, Cause::Stuck(StuckReason::Held)] {
            assert_eq!(world.row(child).parent, Some(about(first).id()), "{child:?}");
        }
    }
}

#[test]
fn a_services_own_word_is_not_explained_by_blindness() {
    let mut world = World::new(&["pager"]);
    world.look(0, &[(Cause::Blind, 0), (Cause::Stuck(StuckReason::Failed), 3)]);
    assert_eq!(world.row(Cause::Stuck(StuckReason::Failed)).parent, None);
}

#[test]
fn an_acknowledged_incident_is_told_no_more_but_its_end() {
    let mut world = World::new(&["pager"]);
    world.look(0, &[(TIMED_OUT, 1)]);
    world.look(31, &[(TIMED_OUT, 1)]);
    let acked = Acked { by: "ann".to_owned(), at: at(32), reason: "on it".to_owned() };
    world.rows[0].incident.acked = Some(acked.clone());
    for second in [400, 800, 1_200] {
        world.look(second, &[(TIMED_OUT, 5_000)]);
    }
    assert_eq!(world.said(), ["trigger timed_out 1"]);
    world.look(1_300, &[]);
    world.look(1_700, &[]);
    assert_eq!(world.said()[1..], ["resolve timed_out 2"]);
    assert_eq!(world.row(TIMED_OUT).acked, Some(acked));
}

#[test]
fn a_channel_that_is_added_later_hears_of_what_is_open() {
    let mut world = World::new(&[]);
    world.look(0, &[(Cause::ServiceSilent, 3), (TIMED_OUT, 3)]);
    world.look(60, &[(Cause::ServiceSilent, 3), (TIMED_OUT, 3)]);
    assert!(world.told.is_empty());
    world.routes = To(&["pager"]);
    world.look(61, &[(Cause::ServiceSilent, 3), (TIMED_OUT, 3)]);
    assert_eq!(world.said(), ["trigger service_silent 1"]);
}

#[test]
fn what_nobody_can_judge_stays_as_it_is() {
    let mut world = World::new(&["pager"]);
    world.look(0, &[(Cause::ServiceSilent, 3)]);
    let unjudged = BTreeSet::from([about(Cause::ServiceSilent)]);
    let seen = Seen { observed: Vec::new(), unjudged };
    let changes = decide(&world.open(), &BTreeMap::new(), seen, &Knobs::default(), &world.routes, at(9_999));
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn every_cause_has_a_word_of_its_own() {
    let words: BTreeSet<&str> = Cause::all().map(Cause::word).collect();
    assert_eq!(words.len(), Cause::all().count());
    assert!(Cause::all().all(|cause| Cause::from_word(cause.word()) == Some(cause)));
}

fn some_causes() -> impl Strategy<Value = Vec<(usize, u64)>> {
    proptest::collection::vec((0..Cause::all().count(), 1_u64..5_000), 0..6)
}

proptest! {
    #[test]
    fn whatever_comes_each_channel_gets_one_trigger_first_and_one_resolve_last(
        looks in proptest::collection::vec((1_i64..200, some_causes(), any::<bool>()), 1..60)
    ) {
        let mut world = World::new(&["pager", "chat"]);
        let mut second = 0;
        for (pause, causes, acks) in looks {
            second += pause;
            let causes: BTreeMap<usize, u64> = causes.into_iter().collect();
            let causes: Vec<(Cause, u64)> =
                causes.into_iter().map(|(at, count)| (Cause::all().nth(at).unwrap(), count)).collect();
            world.look(second, &causes);
            if let Some(row) = world.rows.first_mut().filter(|_| acks) {
                row.incident.acked = Some(Acked { by: "a".to_owned(), at: at(second), reason: "r".to_owned() });
            }
        }
        // The end: calm.
        world.look(second + 1, &[]);
        world.look(second + 1 + 300, &[]);
        prop_assert!(world.open().is_empty());
        let all: BTreeSet<uuid::Uuid> = world.told.iter().map(Notice::key).collect();
        prop_assert_eq!(all.len(), world.told.len(), "no key twice");
        let mut lines: BTreeMap<(String, String, u64), Vec<&Notice>> = BTreeMap::new();
        for notice in &world.told {
            let line = (notice.channel.clone(), notice.incident.about.id(), notice.incident.episode);
            lines.entry(line).or_default().push(notice);
        }
        for notices in lines.values() {
            let kinds: Vec<NoticeKind> = notices.iter().map(|it| it.kind).collect();
            let (first, last) = (kinds.first().copied(), kinds.last().copied());
            prop_assert_eq!((first, last), (Some(NoticeKind::Trigger), Some(NoticeKind::Resolve)));
            prop_assert!(kinds[1..kinds.len() - 1].iter().all(|kind| *kind == NoticeKind::Update));
            prop_assert!(notices.windows(2).all(|pair| pair[0].number < pair[1].number));
            let updates = notices.windows(2).filter(|pair| pair[1].kind == NoticeKind::Update);
            for pair in updates {
                prop_assert!(pair[0].incident.count != pair[1].incident.count);
            }
        }
        for row in &world.rows {
            prop_assert!(row.incident.samples.len() <= 10 && row.incident.peak >= row.incident.count);
            prop_assert!(row.incident.parent.as_ref() != Some(&row.incident.about.id()));
        }
    }

    #[test]
    fn no_two_incidents_explain_each_other(order in proptest::collection::vec(0..Cause::all().count(), 1..20)) {
        let mut world = World::new(&[]);
        let mut causes = Vec::new();
        for (second, cause) in (0..).zip(order) {
            let cause = Cause::all().nth(cause).unwrap();
            if !causes.iter().any(|(known, _)| *known == cause) {
                causes.push((cause, 1));
            }
            world.look(second, &causes);
        }
        let parents: BTreeMap<String, Option<String>> =
            world.rows.iter().map(|it| (it.incident.about.id(), it.incident.parent.clone())).collect();
        for parent in parents.values().flatten() {
            prop_assert_eq!(parents.get(parent), Some(&None), "a parent is itself explained by none");
        }
    }
}

#[test]
fn an_update_comes_no_sooner_than_five_minutes_after_what_was_told() {
    let mut world = World::new(&["pager"]);
    let mut last = None;
    for second in 0..2_000 {
        let before = world.told.len();
        world.look(second, &[(TIMED_OUT, u64::try_from(second).unwrap() + 1)]);
        for _ in before..world.told.len() {
            assert!(last.is_none_or(|last| at(second).since(last) >= Span::from_secs(300)), "at {second}");
            last = Some(at(second));
        }
    }
    assert_eq!(world.told.len(), 7, "{:?}", world.said());
}

#[test]
fn every_word_is_found_and_no_other_is_one() {
    let kinds = [NoticeKind::Trigger, NoticeKind::Update, NoticeKind::Resolve];
    assert_eq!(kinds.map(NoticeKind::word), ["trigger", "update", "resolve"]);
    assert!(kinds.iter().all(|kind| NoticeKind::from_word(kind.word()) == Some(*kind)));
    assert_eq!(IncidentStatus::ALL.map(IncidentStatus::word), ["open", "resolved"]);
    assert!(IncidentStatus::ALL.iter().all(|status| IncidentStatus::from_word(status.word()) == Some(*status)));
    assert_eq!((NoticeKind::from_word("told"), IncidentStatus::from_word("told")), (None, None));
    let world = World::new(&[]);
    let changes = world.decide(&[seen(TIMED_OUT, 1, at(0))]);
    assert!(super::Untold.channels(&changes.saved[0].incident).is_empty(), "nobody is told without alerts");
}

#[test]
fn changes_are_empty_only_when_there_is_nothing_to_save_and_nobody_to_tell() {
    let world = World::new(&["a"]);
    assert!(world.decide(&[]).is_empty());
    let mut changes = world.decide(&[seen(TIMED_OUT, 1, at(0))]);
    assert!(!changes.is_empty());
    changes.notices.clear();
    assert!(!changes.is_empty() && !changes.saved.is_empty(), "a row is enough");
}

#[test]
fn an_incident_keeps_its_samples_where_a_look_names_none() {
    let mut world = World::new(&[]);
    world.look(0, &[(TIMED_OUT, 3)]);
    assert_eq!(world.rows[0].incident.samples, ["0", "1", "2"]);
    world.look(5, &[(TIMED_OUT, 0)]);
    assert_eq!(world.rows[0].incident.samples, ["0", "1", "2"]);
    world.look(10, &[(TIMED_OUT, 30)]);
    assert_eq!(world.rows[0].incident.samples.len(), super::SAMPLES_MAX);
}
