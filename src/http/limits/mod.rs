//! What keeps one caller, or a slow or a hostile one, from taking Escrow away from the others.
//!
//! ```text
//!   connection ─▶ few enough? ─▶ TLS in time ─▶ header in time, and small ─▶ host known ─▶ caller known ─▶ its share ─▶ time limit
//! ```
//!
//! Every number is a constant with its reason. What is refused is refused at once, with a word that says when to come again: nothing
//! is queued, because a queue only moves the waiting to where nobody sees it.

mod connections;
mod hosts;
mod share;

pub use self::connections::Bounded;
pub use self::hosts::{Hosts, host};
pub use self::share::{InHand, Refusal, Share, Shares};

use std::time::Duration;

/// Longest a client may take to send the head of a request; a usual one is a single packet.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Longest pause between two pieces of a body. The time limit of a call bounds the whole.
pub const BODY_PAUSE: Duration = Duration::from_secs(10);

/// Largest head: usual ones have one or two thousand bytes, and a large cookie of a neighbour must still fit.
pub const HEAD_BYTES_MAX: usize = 32 << 10;

/// Most header lines.
pub const HEADERS_MAX: usize = 64;

/// Most requests at once on one HTTP/2 connection: a page asks for a dozen.
pub const H2_STREAMS_MAX: u32 = 64;

/// Longest a TLS handshake may take.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
