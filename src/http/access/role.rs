//! What a caller may do, in four words.
//!
//! ```text
//!   viewer ──▶ reads                     sender ──▶ sends events, and sees nothing
//!   operator ──▶ also acts on orders, incidents and quarantine
//!   admin ──▶ also changes how a saga is treated as a whole
//! ```

use serde::Deserialize;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
    /// For programs that send events over HTTP: they need to see no order.
    Sender,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Sender];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Sender => "sender",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}
