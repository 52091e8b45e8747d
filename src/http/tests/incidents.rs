//! Incidents, as people read and acknowledge them.

use serde_json::{Value, json};

use super::support::{Api, FakeDesk, FakeStore, ago};
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::{Standing, Told};
use crate::saga::incident::{About, Incident, IncidentStatus, NoticeKind};
use crate::saga::order::StuckReason;
use crate::store::{NoticeRow, NoticeVerdict};

fn standing(cause: Cause, step: Option<&str>, episode: u64, status: IncidentStatus) -> Standing {
    let incident = Incident {
        about: About::new(cause, "order", step),
        episode,
        status,
        count: 412,
        peak: 500,
        first_at: ago(60),
        last_at: ago(2),
        opened_at: ago(58),
        resolved_at: (status == IncidentStatus::Resolved).then(|| ago(1)),
        calm_since: None,
        samples: vec!["101".to_owned()],
        why: "412 orders of saga `order` stuck".to_owned(),
        parent: None,
        acked: None,
    };
    Standing { incident, told: Told { notices: 2, channels: vec!["pager".to_owned()], ..Told::default() } }
}

/// An open one.
pub fn silent() -> Standing {
    standing(Cause::ServiceSilent, Some("inventory"), 1, IncidentStatus::Open)
}

const TIMED_OUT: Cause = Cause::Stuck(StuckReason::TimedOut);

#[tokio::test]
async fn incidents_are_listed_with_what_they_explain() {
    let silent = silent();
    let mut stuck = standing(TIMED_OUT, Some("inventory"), 3, IncidentStatus::Open);
    stuck.incident.parent = Some(silent.incident.about.id());
    let (parent, child) = (silent.incident.about.id(), stuck.incident.about.id());
    let over = standing(TIMED_OUT, Some("payment"), 1, IncidentStatus::Resolved);
    let store = FakeStore { incidents: vec![silent, stuck, over], ..FakeStore::default() };
    let api = Api::new(store, FakeDesk::default());
    let list = api.get("/v1/incidents?limit=1").await.json();
    let first = &list["incidents"][0];
    assert_eq!((&first["id"], &first["children"], &first["count"]), (&json!(parent), &json!([child]), &json!(412)));
    assert_eq!((&first["told"], &first["told_to"], &first["acked_by"]), (&json!(2), &json!(["pager"]), &Value::Null));
    let cursor = list["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("/v1/incidents?status=open&cursor={cursor}")).await.json();
    let second = &rest["incidents"][0];
    assert_eq!((&second["id"], &second["parent"], &second["episode"]), (&json!(child), &json!(parent), &json!(3)));
    assert_eq!(rest["next_cursor"], Value::Null);
    let count = async |query: &str| {
        api.get(&format!("/v1/incidents?{query}")).await.json()["incidents"].as_array().unwrap().len()
    };
    assert_eq!((count("status=resolved").await, count("status=all").await, count("cause=timed_out").await), (1, 3, 1));
    assert!(api.get("/v1/incidents?status=opn").await.problem(400).contains("did you mean `open`"));
    assert!(api.get("/v1/incidents?cause=service_silnt").await.problem(400).contains("did you mean `service_silent`"));
    assert!(api.get("/v1/incidents?cursor=x").await.problem(400).contains("begin again"));
}

#[tokio::test]
async fn one_incident_is_shown_with_its_earlier_episodes_and_acknowledged() {
    let open = standing(TIMED_OUT, Some("payment"), 2, IncidentStatus::Open);
    let over = standing(TIMED_OUT, Some("payment"), 1, IncidentStatus::Resolved);
    let gone = standing(TIMED_OUT, Some("inventory"), 1, IncidentStatus::Resolved);
    let (id, gone_id) = (open.incident.about.id(), gone.incident.about.id());
    let desk = FakeDesk::default();
    desk.acked.lock().unwrap().extend([open.clone(), gone]);
    let api = Api::new(FakeStore { incidents: vec![open, over], ..FakeStore::default() }, desk);
    let shown = api.get(&format!("/v1/incidents/{id}")).await.json();
    assert_eq!((&shown["episode"], &shown["episodes"][0]["episode"]), (&json!(2), &json!(1)));
    assert_eq!(shown["episodes"][0]["resolved_at"], json!(ago(1).rfc3339()));
    assert!(api.get("/v1/incidents/nothing").await.problem(404).contains("no incident"));

    let ack = async |id: &str, body: Value| api.post(&format!("/v1/incidents/{id}/ack"), &body).await;
    let answer = ack(&id, json!({"reason": "on it"})).await.json();
    assert_eq!((&answer["acked_by"], &answer["acked_reason"]), (&json!("anonymous"), &json!("on it")));
    assert!(ack(&id, json!({})).await.problem(400).contains("say why"));
    assert!(ack("nothing", json!({"reason": "r"})).await.problem(404).contains("no incident"));
    assert!(ack(&gone_id, json!({"reason": "r"})).await.problem(409).contains("over since"));
}

#[tokio::test]
async fn the_orders_of_an_incident_are_those_that_are_stuck_or_wait_on_it() {
    let api = Api::of(vec![]);
    let asked = async |cause: Cause, step: Option<&str>, more: &str| {
        let id = About::new(cause, "order", step).id();
        let answer = api.get(&format!("/v1/orders?incident={id}{more}")).await;
        if answer.status == 200 { Ok(api.store.asked.lock().unwrap().pop().unwrap()) } else { Err(answer.problem(400)) }
    };
    let stuck = asked(TIMED_OUT, Some("inventory"), "").await.unwrap();
    assert_eq!((stuck.reasons, stuck.stuck_step.as_deref()), (vec![StuckReason::TimedOut], Some("inventory")));
    for cause in [Cause::ServiceSilent, Cause::StepStalled] {
        let waiting = asked(cause, Some("inventory"), "").await.unwrap();
        assert_eq!((waiting.sagas, waiting.waiting_on), (vec!["order".to_owned()], vec!["inventory".to_owned()]));
    }
    assert!(
        asked(Cause::StepStalled, Some("inventory"), "&waiting_on=payment").await.unwrap_err().contains("not of that")
    );
    assert!(asked(Cause::Blind, None, "").await.unwrap_err().contains("not about single ones"));
}

#[tokio::test]
async fn an_incident_says_who_was_told_and_who_could_not_be() {
    let silent = silent();
    let id = silent.incident.about.id();
    let notice = |channel: &str, verdict, tries, problem: Option<&str>| NoticeRow {
        key: uuid::Uuid::from_u128(1),
        channel: channel.to_owned(),
        number: 1,
        kind: NoticeKind::Trigger,
        settled_at: Option::as_ref(&verdict).map(|_| ago(1)),
        verdict,
        tries,
        problem: problem.map(str::to_owned),
        created_at: ago(5),
    };
    let notices = vec![
        notice("chat", Some(NoticeVerdict::Refused("it answered 404".to_owned())), 1, None),
        notice("mail", None, 7, Some("nobody answers")),
        notice("pager", Some(NoticeVerdict::Sent), 2, Some("it answered 503")),
    ];
    let api = Api::new(FakeStore { incidents: vec![silent], notices, ..FakeStore::default() }, FakeDesk::default());
    let shown = api.get(&format!("/v1/incidents/{id}")).await.json();
    let notices = shown["notices"].as_array().unwrap();
    let said: Vec<_> = notices.iter().map(|it| (&it["channel"], &it["state"], &it["tries"], &it["problem"])).collect();
    let expected = [
        (json!("chat"), json!("refused"), json!(1), json!("it answered 404")),
        (json!("mail"), json!("pending"), json!(7), json!("nobody answers")),
        (json!("pager"), json!("sent"), json!(2), json!("it answered 503")),
    ];
    assert_eq!(said, expected.iter().map(|it| (&it.0, &it.1, &it.2, &it.3)).collect::<Vec<_>>());
    assert_eq!((&notices[1]["settled_at"], &notices[2]["settled_at"]), (&Value::Null, &json!(ago(1).rfc3339())));
}
