//! A token: what is shown, and what is kept of it.
//!
//! ```text
//!   escrow_ + 32 random bytes  ──SHA-256──▶  what stands in the access file
//! ```
//!
//! A token is never stored, so a file that leaks opens nothing. A plain hash is enough: there is nothing to guess in 256 random
//! bits, and a slow hash would only slow down every call. What was not made here (a password somebody hashed) is refused by its
//! form, whatever the file holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::saga::journal::hex;

/// What every token begins with, so that people and scanners of secrets know one when they see it.
pub const PREFIX: &str = "escrow_";

const RANDOM_BYTES: usize = 32;

/// 32 bytes as base64 without padding.
const RANDOM_CHARS: usize = 43;

/// What is kept of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Digest {
    /// Of a token that was shown; `None` where that is none by its form.
    pub fn of(shown: &str) -> Option<Self> {
        let random = shown.strip_prefix(PREFIX)?;
        let is_token = random.len() == RANDOM_CHARS && URL_SAFE_NO_PAD.decode(random).is_ok();
        is_token.then(|| Self(Sha256::digest(shown.as_bytes()).into()))
    }

    /// As the access file has it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Takes the same time wherever the two differ.
    pub fn is(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

/// A new token. It is shown once; the digest is what is kept.
///
/// # Errors
/// The machine gives no random bytes.
pub fn make() -> Result<(String, Digest), getrandom::Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes)?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let digest = Digest(Sha256::digest(token.as_bytes()).into());
    Ok((token, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_alone() {
        let (token, digest) = make().unwrap();
        let (other, other_digest) = make().unwrap();
        assert_ne!(token, other);
        assert!(Digest::of(&token).unwrap().is(&digest) && !digest.is(&other_digest));
        assert!(Digest::parse(&digest.hex()).unwrap().is(&digest));
        assert_eq!(format!("{digest:?}"), "…");
    }

    #[test]
    fn what_was_not_made_here_is_no_token() {
        let (token, _) = make().unwrap();
        let not_base64 = format!("{}!", &token[..token.len() - 1]);
        for wrong in ["", "escrow_", "hunter2", "escrow_hunter2", &token[1..], &not_base64, &format!("{token}A")] {
            assert_eq!(Digest::of(wrong), None, "{wrong}");
        }
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }
}
