//! Incidents as rows: who may save them, what comes back, and what is forgotten.

use std::collections::BTreeSet;

use escrow::saga::incident::cause::Cause;
use escrow::saga::incident::decide::{Changes, Standing, Told};
use escrow::saga::incident::{About, Incident, IncidentStatus, Notice, NoticeKind};
use escrow::saga::order::StuckReason;
use escrow::saga::time::{Moment, Span};
use escrow::store::{INCIDENTS_LEASE, IncidentFilter, Page, Store};
use uuid::Uuid;

use super::Bed;

const LONG: Span = Span::from_secs(3_600);

fn at(seconds: i64) -> Moment {
    Moment(1_795_253_400_000_000) + Span::from_secs(seconds)
}

fn standing(step: &str, episode: u64, opened: i64) -> Standing {
    let incident = Incident {
        about: About::new(Cause::Stuck(StuckReason::TimedOut), "order", Some(step)),
        episode,
        status: IncidentStatus::Open,
        count: 7,
        peak: 9,
        first_at: at(opened - 5),
        last_at: at(opened + 5),
        opened_at: at(opened),
        resolved_at: None,
        calm_since: Some(at(opened + 6)),
        samples: vec!["a".to_owned(), "ü \"b\"".to_owned()],
        why: "7 orders; it's so".to_owned(),
        parent: Some("p".to_owned()),
        acked: None,
    };
    let told = Told { notices: 2, at: Some(at(opened)), count: 6, channels: vec!["pager".to_owned()] };
    Standing { incident, told }
}

fn resolved(mut standing: Standing, over: i64) -> Standing {
    standing.incident.status = IncidentStatus::Resolved;
    standing.incident.resolved_at = Some(at(over));
    standing
}

async fn save(store: &dyn Store, owner: Uuid, saved: Vec<Standing>, notices: Vec<Notice>) -> bool {
    store.save_incidents(owner, Changes { saved, notices }).await.unwrap()
}

async fn leased(store: &dyn Store) -> Uuid {
    let owner = Uuid::new_v4();
    assert!(store.lease(INCIDENTS_LEASE.to_owned(), owner, LONG).await.unwrap());
    owner
}

pub async fn incidents_come_back_as_they_were_saved_by_whoever_holds_the_lease(bed: Bed) {
    let store = &*bed.store;
    let (owner, other) = (leased(store).await, Uuid::new_v4());
    let one = standing("payment", 1, 10);
    assert!(!save(store, other, vec![one.clone()], Vec::new()).await, "it is another's lease");
    assert_eq!(store.open_incidents().await.unwrap(), []);
    let notice =
        Notice { channel: "pager".to_owned(), kind: NoticeKind::Trigger, number: 1, incident: one.incident.clone() };
    assert!(save(store, owner, vec![one.clone()], vec![notice.clone()]).await);
    assert!(save(store, owner, vec![one.clone()], vec![notice.clone()]).await, "the same again is the same row");
    assert_eq!(store.open_incidents().await.unwrap(), std::slice::from_ref(&one));
    let keys = bed.lines("SELECT CAST(key AS text) AS key FROM notices", "key").await;
    assert_eq!(keys, [notice.key().to_string()]);
    assert!(store.lease(INCIDENTS_LEASE.to_owned(), owner, Span(0)).await.unwrap());
    assert!(!save(store, owner, vec![one], Vec::new()).await, "the lease has ended");
}

pub async fn what_a_person_acknowledged_stays_when_the_loop_saves(bed: Bed) {
    let store = &*bed.store;
    let owner = leased(store).await;
    let one = standing("payment", 1, 10);
    let id = one.incident.about.id();
    let ack = async |by: &str| store.ack_incident(id.clone(), by.to_owned(), "on it".to_owned()).await.unwrap();
    assert_eq!(ack("ann").await, None, "there is none yet");
    save(store, owner, vec![one.clone()], Vec::new()).await;
    ack("ann").await;
    let acked = ack("bob").await.unwrap().incident.acked.unwrap();
    assert_eq!((acked.by.as_str(), acked.reason.as_str()), ("bob", "on it"), "the last word counts");
    save(store, owner, vec![one.clone()], Vec::new()).await;
    assert_eq!(store.open_incidents().await.unwrap()[0].incident.acked, Some(acked));
    save(store, owner, vec![resolved(one, 20), standing("payment", 2, 30)], Vec::new()).await;
    let episodes = store.incident_episodes(id.clone(), 10).await.unwrap();
    let shown: Vec<_> = episodes.iter().map(|it| (it.incident.episode, it.incident.acked.is_some())).collect();
    assert_eq!(shown, [(2, false), (1, true)], "each episode is known by itself");
    let last = store.last_episodes(vec![id.clone(), "none".to_owned()]).await.unwrap();
    assert_eq!(last.into_iter().collect::<Vec<_>>(), [(id, 2)]);
}

pub async fn incidents_are_listed_opened_last_first_by_every_filter(bed: Bed) {
    let store = &*bed.store;
    let owner = leased(store).await;
    let saved: Vec<Standing> = (0..10)
        .map(|n| {
            let it = standing(&format!("step{n}"), 1, 10 * (n / 2));
            if n % 3 == 0 { resolved(it, 100) } else { it }
        })
        .collect();
    save(store, owner, saved, Vec::new()).await;
    let pages = async |filter: IncidentFilter| {
        let (mut all, mut page) = (Vec::new(), Page { limit: 3, cursor: None });
        loop {
            let listed = store.incidents(filter.clone(), page.clone()).await.unwrap();
            all.extend(listed.items.into_iter().map(|it| (it.incident.opened_at, it.incident.about.id())));
            match listed.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => return all,
            }
        }
    };
    let all = pages(IncidentFilter::default()).await;
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (10, 10));
    assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
    let count = async |status, saga: Option<&str>, cause: Option<&str>| {
        let text = |it: Option<&str>| it.map(str::to_owned);
        pages(IncidentFilter { status, saga: text(saga), cause: text(cause) }).await.len()
    };
    assert_eq!(count(Some(IncidentStatus::Open), Some("order"), Some("timed_out")).await, 6);
    assert_eq!(count(Some(IncidentStatus::Resolved), None, None).await, 4);
    assert_eq!((count(None, Some("other"), None).await, count(None, None, Some("held")).await), (0, 0));
}

pub async fn incidents_are_forgotten_after_they_are_over_and_told(bed: Bed) {
    let store = &*bed.store;
    let owner = leased(store).await;
    let over = resolved(standing("payment", 1, 10), 20);
    let notice =
        Notice { channel: "pager".to_owned(), kind: NoticeKind::Resolve, number: 3, incident: over.incident.clone() };
    save(store, owner, vec![over, standing("inventory", 1, 10)], vec![notice]).await;
    assert_eq!(store.purge(at(20)).await.unwrap(), 0, "it is not that old");
    assert_eq!(store.purge(at(21)).await.unwrap(), 0, "its end has to be told yet");
    bed.raw(&format!("UPDATE notices SET state = 'settled', settled_at = {}", at(20).0)).await.unwrap();
    assert_eq!(store.purge(at(21)).await.unwrap(), 2, "the notice and the incident");
    assert_eq!(store.open_incidents().await.unwrap().len(), 1);
}
