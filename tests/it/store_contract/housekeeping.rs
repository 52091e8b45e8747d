//! Leases, forgetting, statistics.

use escrow::saga::batch::{Changes, Loaded, Lookup};
use escrow::saga::input::Verdict;
use escrow::saga::journal::Kind;
use escrow::saga::order::{Order, Sighting, Skipped, Status, StepStatus};
use escrow::saga::time::{Moment, Span};
use escrow::store::StepStats;
use uuid::Uuid;

use super::Bed;
use super::given::{Change, apply, begin, change, key, send, telling};

pub async fn a_lease_belongs_to_one_owner_until_it_ends(bed: Bed) {
    let (ada, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let ask = async |owner, lease| bed.store.lease("stats".to_owned(), owner, lease).await.unwrap();
    assert!(ask(ada, Span::from_secs(60)).await);
    assert!(!ask(bob, Span::from_secs(60)).await, "it is ada's");
    assert!(ask(ada, Span(0)).await, "ada may renew, or end it");
    assert!(ask(bob, Span::from_secs(60)).await, "it ran out");
    assert!(!ask(ada, Span::from_secs(60)).await);
    let other = bed.store.lease("purge".to_owned(), ada, Span::from_secs(60)).await.unwrap();
    assert!(other, "another name is another lease");
}

pub async fn purge_forgets_only_what_is_old_and_done(bed: Bed) {
    let store = &*bed.store;
    let rows = [telling(&key("a"), 1, 0), telling(&key("a"), 2, 0)];
    send(store, rows.to_vec()).await;
    let done = rows[0].key;
    let answered = move |_: &Loaded| Changes {
        settled: vec![(done, Verdict::Routed)],
        idempotency_key: Some("k".to_owned()),
        answers: vec![Ok(1)],
        ..Changes::default()
    };
    apply(store, Lookup::default(), answered).await.unwrap();
    assert_eq!(store.purge(Moment(0)).await.unwrap(), 0, "nothing is that old");
    let later = store.now().await.unwrap() + Span::from_secs(1);
    assert_eq!(store.purge(later).await.unwrap(), 2, "the settled row and the answer");
    assert_eq!(store.outbox_backlog().await.unwrap().rows, 1);
    let wanted = Lookup { idempotency_key: Some("k".to_owned()), ..Lookup::default() };
    let seen = apply(store, wanted, |loaded| {
        assert_eq!(loaded.answered, None);
        Changes::default()
    });
    seen.await.unwrap();
}

pub async fn stale_watermarks_are_forgotten_long_after_all_else(bed: Bed) {
    let store = &*bed.store;
    let until = store.accepting("http".to_owned(), Span::from_secs(5)).await.unwrap().accepting_until.unwrap();
    let day = Span::from_secs(86_400);
    let days = |count: i64| until + Span(day.0 * count);
    assert_eq!(store.purge(days(89)).await.unwrap(), 0, "an Escrow may be away for that long");
    assert_eq!(store.purge(days(91)).await.unwrap(), 1);
    assert_eq!(store.tap("http".to_owned()).await.unwrap().accepting_until, None);
}

/// An order whose payment took `took`, with something else about it.
fn paid(took: Span, more: impl Fn(&mut Order) + Send + Sync + 'static) -> impl Fn(&mut Order, Moment) + Send + Sync {
    move |order, now| {
        let step = &mut order.steps[1];
        step.status = StepStatus::Done;
        step.live = true;
        (step.opened_at, step.closed_at) = (Some(now - took), Some(now));
        step.event = Some(Sighting { sequence: 1, name: "PaymentProcessed".to_owned(), at: now });
        more(order);
    }
}

pub async fn statistics_count_only_steps_that_went_as_usual(bed: Bed) {
    let store = &*bed.store;
    let mut orders: Vec<(_, Change)> = (1..=100_i64)
        .map(|n| (key(&format!("usual-{n}")), Box::new(paid(Span::from_secs(n), |_| {})) as Change))
        .collect();
    let unusual: [fn(&mut Order); 6] = [
        |order| order.steps[1].live = false,
        |order| order.steps[1].late = true,
        |order| order.steps[1].early = true,
        |order| order.steps[1].inferred = true,
        |order| order.steps[1].attempts = 1,
        |order| order.steps[1].status = StepStatus::TimedOut,
    ];
    for (n, change) in unusual.into_iter().enumerate() {
        orders.push((key(&format!("unusual-{n}")), Box::new(paid(Span::from_secs(9_999), change))));
    }
    // Too few of their kind to say anything.
    orders.push((key("newer"), Box::new(paid(Span::from_secs(1), |order| order.version = 2))));
    begin(store, orders).await;
    // The step names are stored with the first batch; undone later counts as well.
    change(store, key("usual-7"), Kind::Event, |order| {
        order.life.status = Status::Compensated;
        order.steps[1].status = StepStatus::Compensated;
    })
    .await;
    store.refresh_stats(Moment(0)).await.unwrap();
    let mut stats = store.stats("order".to_owned(), None).await.unwrap();
    // The root step of each ended, too, and was not measured.
    stats.retain(|it| it.step == "payment");
    let shown: Vec<_> = stats.iter().map(|it| (it.version, it.step.as_str(), it.samples)).collect();
    assert_eq!(shown, [(2, "payment", 1), (1, "payment", 100)]);
    let [few, usual] = &stats[..] else { panic!("{stats:?}") };
    assert_eq!((usual.p50, usual.p95, usual.p99), (Span::from_secs(50), Span::from_secs(95), Span::from_secs(99)));
    assert_eq!((few.p50, few.p95, few.p99), (Span(0), Span(0), Span(0)), "too few of them");
    let later = store.now().await.unwrap() + Span::from_secs(1);
    store.refresh_stats(later).await.unwrap();
    assert!(store.stats("order".to_owned(), None).await.unwrap().is_empty(), "replaced, not added to");
    let measured = store.stats("order".to_owned(), Some(Span::from_secs(3_600))).await.unwrap();
    let measured = measured.iter().filter(|it| it.step == "payment");
    assert_eq!(measured.map(|it| it.samples).collect::<Vec<_>>(), [100, 1], "over a window, measured at once");
}

pub async fn statistics_count_how_steps_ended(bed: Bed) {
    let store = &*bed.store;
    let ends: [fn(&mut Order); 8] = [
        |_| {},
        |order| order.steps[1].late = true,
        |order| order.steps[1].status = StepStatus::TimedOut,
        |order| {
            order.steps[1].status = StepStatus::Skipped;
            order.steps[1].skipped = Some(Skipped::Timeout);
        },
        |order| {
            order.steps[1].status = StepStatus::Skipped;
            order.steps[1].skipped = Some(Skipped::Person);
        },
        |order| {
            order.steps[1].status = StepStatus::Compensated;
            order.steps[1].event = None;
        },
        |order| order.steps[1].status = StepStatus::Failed,
        |order| {
            order.steps[1].failure = order.steps[1].event.clone();
            order.steps[1].late = true;
        },
    ];
    let ended = ends.into_iter().enumerate();
    let orders = ended.map(|(n, end)| (key(&format!("end-{n}")), Box::new(paid(Span::from_secs(1), end)) as Change));
    begin(store, orders.chain([(key("open"), Box::new(|_: &mut Order, _| {}) as Change)]).collect()).await;
    let ends =
        |stats: &[StepStats]| stats.iter().map(|it| (it.step.clone(), it.closed, it.timed_out)).collect::<Vec<_>>();
    let expected = [("payment".to_owned(), 8, 4), ("placed".to_owned(), 9, 0)];
    let measured = store.stats("order".to_owned(), Some(Span::from_secs(3_600))).await.unwrap();
    assert_eq!(ends(&measured), expected);
    store.refresh_stats(Moment(0)).await.unwrap();
    assert_eq!(ends(&store.stats("order".to_owned(), None).await.unwrap()), expected, "kept as they were measured");
}
