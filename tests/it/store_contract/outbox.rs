//! The outbox: in order for each order, one relay for each row.

use std::collections::BTreeSet;
use std::sync::Arc;

use escrow::saga::batch::{Changes, Loaded, Lookup};
use escrow::saga::definition::RetryTo;
use escrow::saga::input::Verdict;
use escrow::saga::outgoing::Content;
use escrow::saga::time::Span;
use serde_json::{Map, json};
use uuid::Uuid;

use super::Bed;
use super::given::{apply, begin_one, key, outgoing, send, telling};

const LEASE: Span = Span::from_secs(60);

async fn claim(bed: &Bed, lease: Span) -> Vec<escrow::store::Claimed> {
    bed.store.claim_outbox(Uuid::new_v4(), lease, 100).await.unwrap()
}

async fn settle(bed: &Bed, row: Uuid) {
    let settled = move |_: &Loaded| Changes { settled: vec![(row, Verdict::Routed)], ..Changes::default() };
    apply(&*bed.store, Lookup::default(), settled).await.unwrap();
}

pub async fn rows_of_one_order_leave_one_after_the_other(bed: Bed) {
    // Saved out of order, and beside another order's.
    let rows = [telling(&key("a"), 2, 0), telling(&key("a"), 1, 1), telling(&key("a"), 1, 0), telling(&key("b"), 9, 0)];
    send(&*bed.store, rows.to_vec()).await;
    let first = claim(&bed, LEASE).await;
    let claimed: Vec<_> = first.iter().map(|it| it.outgoing.clone()).collect();
    assert_eq!(claimed, [rows[2].clone(), rows[3].clone()]);
    assert!(claim(&bed, LEASE).await.is_empty(), "the others wait for them");
    assert_eq!(bed.store.outbox_backlog().await.unwrap().rows, 4);
    settle(&bed, rows[2].key).await;
    let second: Vec<_> = claim(&bed, LEASE).await.into_iter().map(|it| it.outgoing).collect();
    assert_eq!(second, [rows[1].clone()]);
    settle(&bed, rows[1].key).await;
    settle(&bed, rows[3].key).await;
    assert_eq!(claim(&bed, LEASE).await[0].outgoing, rows[0]);
    settle(&bed, rows[0].key).await;
    let empty = bed.store.outbox_backlog().await.unwrap();
    assert_eq!((empty.rows, empty.oldest_at), (0, None));
}

pub async fn a_lease_that_runs_out_is_free_again(bed: Bed) {
    let row = telling(&key("a"), 1, 0);
    send(&*bed.store, vec![row.clone()]).await;
    assert_eq!(claim(&bed, Span(0)).await[0].tries, 0);
    assert_eq!(claim(&bed, LEASE).await[0].tries, 1, "it ran out at once");
    assert!(claim(&bed, LEASE).await.is_empty(), "it is running");
    bed.store.release_outbox(vec![row.key], LEASE).await.unwrap();
    assert!(claim(&bed, LEASE).await.is_empty(), "given back for later");
    bed.store.release_outbox(vec![row.key], Span(0)).await.unwrap();
    assert_eq!(claim(&bed, LEASE).await[0].tries, 2);
    settle(&bed, row.key).await;
    bed.store.release_outbox(vec![row.key], Span(0)).await.unwrap();
    assert!(claim(&bed, LEASE).await.is_empty(), "what is settled stays settled");
}

pub async fn two_claimers_never_share_a_row(bed: Bed) {
    let rows: Vec<_> = (0..300).map(|n| telling(&key(&format!("o{n}")), 1, 0)).collect();
    send(&*bed.store, rows).await;
    let claimers: Vec<_> = [Arc::clone(&bed.store), Arc::clone(&bed.store), bed.another().await, bed.another().await]
        .into_iter()
        .map(|store| {
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claimed = store.claim_outbox(Uuid::new_v4(), LEASE, 7).await.unwrap();
                    if claimed.is_empty() {
                        return mine;
                    }
                    mine.extend(claimed.into_iter().map(|it| it.outgoing.key));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    // A claimer may end while others hold locks on the rest; what is left is claimed now, and none twice.
    all.extend(claim(&bed, LEASE).await.into_iter().chain(claim(&bed, LEASE).await).map(|it| it.outgoing.key));
    assert_eq!(all.len(), 300);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 300);
}

fn retry(of: u64) -> Content {
    Content::Retry { of, to: RetryTo::Queue("inventory".to_owned()), attempt: 1 }
}

fn compensation() -> Content {
    Content::Compensation {
        exchange: "payments".to_owned(),
        routing_key: "refund".to_owned(),
        headers: Map::new(),
        properties: Map::new(),
        body: json!({ "order": "\0" }),
    }
}

pub async fn withdrawn_orders_ask_nothing_more(bed: Bed) {
    let on_its_way = outgoing(&key("a"), 1, 0, retry(1));
    let asked = outgoing(&key("a"), 2, 0, retry(1));
    let told = telling(&key("a"), 3, 0);
    let elsewhere = outgoing(&key("b"), 1, 0, compensation());
    send(&*bed.store, vec![on_its_way.clone(), asked, told.clone(), elsewhere.clone()]).await;
    let limit_one = bed.store.claim_outbox(Uuid::new_v4(), LEASE, 100).await.unwrap();
    assert!(limit_one.iter().any(|it| it.outgoing.key == on_its_way.key));
    let undo = outgoing(&key("a"), 4, 0, compensation());
    let turned = {
        let undo = undo.clone();
        move |_: &Loaded| Changes { withdrawn: vec![key("a")], outbox: vec![undo.clone()], ..Changes::default() }
    };
    apply(&*bed.store, Lookup::default(), turned).await.unwrap();
    assert_eq!(bed.store.outbox_backlog().await.unwrap().rows, 4, "only the retry that was not on its way is gone");
    settle(&bed, on_its_way.key).await;
    assert_eq!(claim(&bed, LEASE).await[0].outgoing.key, told.key);
    settle(&bed, told.key).await;
    let last = claim(&bed, LEASE).await;
    assert_eq!(last[0].outgoing, undo, "what was decided in the same batch stays");
}

pub async fn a_retry_comes_with_its_message(bed: Bed) {
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    let kept = outgoing(&key("a"), 1, 0, retry(1));
    let erased = outgoing(&key("b"), 1, 0, retry(1));
    send(&*bed.store, vec![kept.clone(), erased.clone()]).await;
    let claimed = claim(&bed, LEASE).await;
    let original = |row: &escrow::saga::outgoing::Outgoing| {
        claimed.iter().find(|it| it.outgoing == *row).expect("it was claimed").original.clone()
    };
    assert_eq!(original(&kept), bed.store.payload(key("a"), 1).await.unwrap());
    assert!(original(&kept).is_some());
    assert_eq!(original(&erased), None);
}
