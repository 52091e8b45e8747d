//! The audit trail as somebody may have changed it: entries that fold to an order, or a reason why they do not.

use escrow::http::audit;
use escrow::saga::catalog::Catalog;
use escrow::saga::journal::{Entry, EntryBody, Kind, chain, fold, same};
use escrow::saga::order::{Order, OrderKey};
use escrow::saga::time::Moment;
use escrow::store::JournalRow;

const KINDS: [Kind; 4] = [Kind::Event, Kind::Deadline, Kind::Command, Kind::Late];

/// Lines: each an entry's JSON. The first byte of the input moves the sequence numbers.
pub fn run(data: &[u8]) {
    let Some((&skew, text)) = data.split_first() else { return };
    let key = OrderKey { saga: "order".to_owned(), order_id: "1".to_owned() };
    let (mut order, mut head): (Option<Order>, _) = (None, [0; 32]);
    for (ix, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let sequence = (ix as u64 + 1).wrapping_add(if skew > 250 { u64::from(skew) } else { 0 });
        let (at, kind) = (Moment(i64::from(skew) << 40), KINDS[ix % KINDS.len()]);
        let text = String::from_utf8_lossy(line).into_owned();
        let hash = chain(&head, &key, sequence, at, kind, None, &text);
        let row = JournalRow {
            position: 1,
            key: key.clone(),
            sequence,
            at,
            kind,
            actor: None,
            text: text.clone(),
            hash,
            version: 1,
        };
        // Shown, or refused in words.
        let _ = audit::entry(&Catalog::default(), &row);
        let Ok(body) = serde_json::from_str::<EntryBody>(&text) else { return };
        let written = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<EntryBody>(&written).ok().as_ref(), Some(&body));
        let entry = Entry { sequence, at, kind, actor: None, body };
        match fold(order.take(), &key, &entry) {
            Ok(mut folded) => {
                folded.head = hash;
                assert!(same(&folded, &folded).is_ok());
                (order, head) = (Some(folded), hash);
            }
            Err(broken) => return assert!(!broken.to_string().is_empty()),
        }
    }
}
