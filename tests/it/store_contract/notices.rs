//! Notices: in order for each incident and channel, one sender for each row, and nothing forgotten that lasts.

use escrow::saga::incident::{Incident, NoticeKind};
use escrow::saga::time::{Moment, Span};
use escrow::store::{ClaimedNotice, NoticeVerdict};
use uuid::Uuid;

use super::Bed;
use crate::support::incidents::{over, silent, tell};

const LEASE: Span = Span::from_secs(60);

async fn claim(bed: &Bed, channel: &str) -> Option<ClaimedNotice> {
    bed.store.claim_notice(channel.to_owned(), Uuid::new_v4(), LEASE).await.unwrap()
}

/// Claims and settles the next, and says which it was.
async fn send(bed: &Bed, channel: &str) -> Option<(u64, NoticeKind)> {
    let claimed = claim(bed, channel).await?.notice;
    bed.store.settle_notice(claimed.key(), NoticeVerdict::Sent).await.unwrap();
    Some((claimed.incident.episode, claimed.kind))
}

async fn write(bed: &Bed, incident: &Incident, number: u64, kind: NoticeKind, channels: &[&str]) {
    tell(bed, incident, (number, kind), channels).await;
}

pub async fn notices_of_one_incident_leave_one_after_the_other(bed: Bed) {
    let (first, second) = (over(silent(1)), silent(2));
    // Written in the wrong sequence.
    write(&bed, &second, 1, NoticeKind::Trigger, &["pager"]).await;
    write(&bed, &first, 3, NoticeKind::Resolve, &["pager"]).await;
    write(&bed, &first, 1, NoticeKind::Trigger, &["pager"]).await;
    write(&bed, &first, 2, NoticeKind::Update, &["pager"]).await;
    let trigger = claim(&bed, "pager").await.expect("it is the first");
    assert_eq!((trigger.notice.kind, trigger.tries), (NoticeKind::Trigger, 0));
    assert_eq!(trigger.notice.incident, first);
    assert_eq!(claim(&bed, "pager").await, None, "all others wait for it");
    bed.store.settle_notice(trigger.notice.key(), NoticeVerdict::Sent).await.unwrap();
    let mut rest = Vec::new();
    while let Some(sent) = send(&bed, "pager").await {
        rest.push(sent);
    }
    assert_eq!(rest, [(1, NoticeKind::Update), (1, NoticeKind::Resolve), (2, NoticeKind::Trigger)]);
}

pub async fn channels_know_nothing_of_each_other(bed: Bed) {
    let mut other = silent(1);
    other.about.step = Some("payment".to_owned());
    for incident in [&silent(1), &other] {
        write(&bed, incident, 1, NoticeKind::Trigger, &["dead", "pager"]).await;
    }
    let (ada, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let dead = bed.store.claim_notice("dead".to_owned(), ada, LEASE).await.unwrap().expect("there is one");
    let key = dead.notice.key();
    assert!(send(&bed, "pager").await.is_some() && send(&bed, "pager").await.is_some());
    assert!(claim(&bed, "dead").await.is_some(), "the other incident");
    assert_eq!(claim(&bed, "dead").await, None, "both are leased");
    bed.store.release_notice(key, bob, Span(0), "not his".to_owned()).await.unwrap();
    assert_eq!(claim(&bed, "dead").await, None, "it is not bob's to give back");
    bed.store.release_notice(key, ada, LEASE, "it is\0away".to_owned()).await.unwrap();
    assert_eq!(claim(&bed, "dead").await, None, "given back for later");
    let rows = bed.store.incident_notices(silent(1).about.id(), 1, 100).await.unwrap();
    let problems: Vec<_> = rows.iter().map(|it| (it.channel.as_str(), it.tries, it.problem.as_deref())).collect();
    assert_eq!(problems, [("dead", 1, Some("it is\u{fffd}away")), ("pager", 1, None)]);
    bed.raw("UPDATE notices SET available_at = 0 WHERE channel = 'dead'").await.unwrap();
    assert!(claim(&bed, "dead").await.is_some_and(|again| again.tries == 1), "a lease that ran out");
}

pub async fn a_notice_is_settled_once_and_says_how(bed: Bed) {
    let incident = silent(1);
    write(&bed, &incident, 1, NoticeKind::Trigger, &["chat", "pager"]).await;
    write(&bed, &incident, 2, NoticeKind::Update, &["chat"]).await;
    let chat = claim(&bed, "chat").await.unwrap().notice.key();
    let pager = claim(&bed, "pager").await.unwrap().notice.key();
    let refused = NoticeVerdict::Refused("it answered 404: no\0such channel".to_owned());
    bed.store.settle_notice(chat, refused).await.unwrap();
    bed.store.settle_notice(chat, NoticeVerdict::Sent).await.unwrap();
    bed.store.settle_notice(pager, NoticeVerdict::Sent).await.unwrap();
    let rows = bed.store.incident_notices(incident.about.id(), 1, 100).await.unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| (row.channel.as_str(), row.number, row.kind, row.verdict.clone())).collect();
    let refused = NoticeVerdict::Refused("it answered 404: no\u{fffd}such channel".to_owned());
    assert_eq!(
        shown,
        [
            ("chat", 1, NoticeKind::Trigger, Some(refused)),
            ("pager", 1, NoticeKind::Trigger, Some(NoticeVerdict::Sent)),
            ("chat", 2, NoticeKind::Update, None),
        ]
    );
    assert!(rows[0].settled_at.is_some() && rows[0].tries == 1 && rows[2].settled_at.is_none());
    assert_eq!(send(&bed, "chat").await, Some((1, NoticeKind::Update)), "what is refused holds nothing up");
}

pub async fn what_a_channel_knows_to_last_is_told_again(bed: Bed) {
    let lasting = async |within| bed.store.standing_notices("am".to_owned(), within).await.unwrap();
    let mut incident = silent(1);
    write(&bed, &incident, 1, NoticeKind::Trigger, &["am", "pager"]).await;
    assert!(lasting(LEASE).await.is_empty(), "it was not told yet");
    send(&bed, "am").await;
    assert_eq!(lasting(LEASE).await, [incident.clone()]);
    incident.count = 20_000;
    write(&bed, &incident, 2, NoticeKind::Update, &["am"]).await;
    send(&bed, "am").await;
    assert_eq!(lasting(LEASE).await, [incident.clone()], "as it was told last");
    let ended = over(incident);
    write(&bed, &ended, 3, NoticeKind::Resolve, &["am"]).await;
    assert!(lasting(LEASE).await.is_empty(), "it is over, and that was not told yet");
    send(&bed, "am").await;
    assert_eq!(lasting(LEASE).await, [ended]);
    assert!(lasting(Span(-1)).await.is_empty(), "that was told long ago");
    write(&bed, &silent(2), 1, NoticeKind::Trigger, &["am"]).await;
    assert!(lasting(LEASE).await.is_empty(), "the end of the one before would end the new one");
    send(&bed, "am").await;
    assert_eq!(lasting(LEASE).await, [silent(2)]);
}

pub async fn what_still_lasts_is_not_forgotten(bed: Bed) {
    let later = async || bed.store.now().await.unwrap() + Span::from_secs(1);
    write(&bed, &silent(1), 1, NoticeKind::Trigger, &["am", "gone"]).await;
    send(&bed, "am").await;
    assert_eq!(bed.store.purge(later().await).await.unwrap(), 0, "it is open");
    write(&bed, &over(silent(1)), 2, NoticeKind::Resolve, &["am", "gone"]).await;
    send(&bed, "am").await;
    assert_eq!(bed.store.purge(Moment(0)).await.unwrap(), 0, "nothing is that old");
    bed.store.purge(later().await).await.unwrap();
    assert!(
        bed.store.incident_notices(silent(1).about.id(), 1, 100).await.unwrap().is_empty(),
        "told, or of no use any more"
    );
}

pub async fn claiming_reads_no_more_than_its_channel(bed: Bed) {
    let (series, key) = if bed.is_postgres() {
        ("generate_series(1, 20000) AS n (n)", "gen_random_uuid()")
    } else {
        (
            "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT n FROM s)",
            "'k' || n",
        )
    };
    bed.raw(&format!(
        "INSERT INTO notices (key, channel, incident, episode, number, kind, content, state, available_at, created_at, settled_at)
         SELECT {key}, CASE n % 2 WHEN 0 THEN 'dead' ELSE 'pager' END, 'i' || n, 1, 1, 'trigger', '{{}}',
             CASE WHEN n % 4 = 1 THEN 'settled' ELSE 'pending' END, n, n, CASE WHEN n % 4 = 1 THEN n END
         FROM {series};
         INSERT INTO incidents (id, episode, cause, saga, status, count, peak, first_at, last_at, opened_at, samples, why)
         SELECT 'i' || n, 1, 'quarantine', '', CASE WHEN n % 1000 = 0 THEN 'open' ELSE 'resolved' END, 1, 1, n, n, n, '[]', ''
         FROM {series};
         ANALYZE"
    ))
    .await
    .unwrap();
    let owner = "'6f2d1b9c-0000-4000-8000-000000000000'";
    for (file, values) in [
        ("claim_notice", ["'pager'", owner, "60", "30000"].as_slice()),
        ("settle_notice", &[owner, "'sent'", "30000"]),
        ("release_notice", &[owner, owner, "60", "'away'", "30000"]),
        ("standing_notices", &["'pager'", "60", "30000"]),
        ("incident_notices", &["'i5'", "1", "20"]),
        ("purge_notices", &["10", "5000"]),
    ] {
        let (dialect, mark, explain, column) = if bed.is_postgres() {
            ("postgres", '$', "EXPLAIN", "QUERY PLAN")
        } else {
            ("sqlite", '?', "EXPLAIN QUERY PLAN", "detail")
        };
        let path = format!("{}/src/store/sql/{dialect}/{file}.sql", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let filled = values.iter().enumerate().rev();
        let sql = filled.fold(text, |text, (at, value)| text.replace(&format!("{mark}{}", at + 1), value));
        let plan = bed.lines(&format!("{explain} {sql}"), column).await;
        let scans = |line: &&String| line.contains("Seq Scan") || (line.starts_with("SCAN") && !line.contains("INDEX"));
        let scanned: Vec<_> = plan.iter().filter(scans).collect();
        assert!(scanned.is_empty(), "{file} scans:\n{}", plan.join("\n"));
    }
}
