//! Escrow's own messages, seen again in the tap (rule 4).
//!
//! Each carries `x-escrow-own: <outbox key>.<hash of its body>`. Services that answer by copying all headers of what they
//! got copy the mark too, but not the body: with another body the mark does not hold, and the answer counts.

use sha2::Digest as _;

use crate::bus::Delivery;
use crate::saga::journal::{hex, unhex};

/// The header that marks Escrow's own messages.
pub const OWN: &str = "x-escrow-own";

/// Bytes of SHA-256 in the mark: enough that no two bodies share it, and the header stays short.
const HASH_BYTES: usize = 16;

/// Whether Escrow published the message itself.
pub fn is_own(delivery: &Delivery) -> bool {
    let Some((_, hash)) = delivery.envelope.header(OWN).and_then(|mark| mark.rsplit_once('.')) else { return false };
    unhex::<HASH_BYTES>(hash).is_some_and(|hash| hash == body_hash(&delivery.body))
}

/// The value of the mark for a message of the outbox row `key`.
pub fn own_mark(key: &str, body: &[u8]) -> String {
    format!("{key}.{}", hex(&body_hash(body)))
}

fn body_hash(body: &[u8]) -> [u8; HASH_BYTES] {
    let whole: [u8; 32] = sha2::Sha256::digest(body).into();
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&whole[..HASH_BYTES]);
    hash
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn marked(mark: Value, body: &[u8]) -> Delivery {
        let mut delivery = Delivery { body: body.to_vec(), ..crate::wire::fixture::delivery("escrow", "") };
        delivery.envelope.headers.insert(OWN.to_owned(), mark);
        delivery
    }

    #[test]
    fn a_marked_message_is_own_and_an_answer_that_copies_its_headers_is_not() {
        let mark = Value::from(own_mark("0b5e7e5e-0000-5000-8000-000000000000", b"{\"a\":1}"));
        assert!(is_own(&marked(mark.clone(), b"{\"a\":1}")));
        assert!(!is_own(&marked(mark, b"{\"a\":2}")));
    }

    #[test]
    fn a_mark_that_is_none_is_not_own() {
        for mark in ["", ".", "key", "key.", "key.zz", "é.é", "key.0123456789abcdef0123456789abcdeé"] {
            assert!(!is_own(&marked(Value::from(mark), b"x")), "{mark}");
        }
        assert!(!is_own(&marked(Value::from(7), b"x")));
        assert!(!is_own(&crate::wire::fixture::delivery("escrow", "")));
    }
}
