//! The names Escrow may declare, consume, empty and delete: its own, and no others.
//!
//! Everything that changes the broker takes an `OwnName`, and only names that begin with `escrow` become one. The broker's
//! permissions say the same (`^escrow(\..*)?$`); this holds where they were forgotten.

use std::fmt;

use lapin::types::ShortString;

use crate::bus::BusError;

/// The durable topic exchange Escrow tells on.
pub const EXCHANGE: &str = "escrow";
/// Canaries go through it into the tap, routed by the tap's name.
pub const CANARY_EXCHANGE: &str = "escrow.canary";
/// Re-sent messages go through it to one queue, by an administrator's binding.
pub const RETRY_EXCHANGE: &str = "escrow.retry";
/// What a tap's bound drops goes through it, routed by the tap's name.
pub const LOST_EXCHANGE: &str = "escrow.lost";

/// A tap's name is part of longer ones, and AMQP ends those at 255 bytes.
const NAME_MAX_BYTES: usize = 200;

/// The tap of the Escrow called `name`.
pub fn tap_of(name: &str) -> String {
    format!("escrow.tap.{name}")
}

/// A name of Escrow's own: `escrow`, or `escrow.` and more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnName(ShortString);

impl OwnName {
    /// `None` for every name that is not Escrow's own.
    pub(super) fn new(name: &str) -> Option<Self> {
        let own = name == EXCHANGE || name.strip_prefix("escrow.").is_some_and(|rest| !rest.is_empty());
        own.then(|| ShortString::try_new(name).ok()).flatten().map(Self)
    }

    pub(super) fn short(&self) -> ShortString {
        self.0.clone()
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The objects of one Escrow on a virtual host.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What `--name` said: the routing key of canaries and of lost messages.
    pub(super) key: ShortString,
    pub(super) tap: OwnName,
    pub(super) lost: OwnName,
    pub(super) exchange: OwnName,
    pub(super) canary_exchange: OwnName,
    pub(super) retry_exchange: OwnName,
    pub(super) lost_exchange: OwnName,
}

impl Names {
    /// The names of the Escrow called `name`: letters, digits, `_`, `.` and `-`, up to 200 bytes.
    pub(super) fn new(name: &str) -> Result<Self, BusError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let wrong = || {
            BusError::Misconfigured(format!(
                "`{name}` cannot name a tap: use letters, digits, `_`, `.` and `-`, at most {NAME_MAX_BYTES}"
            ))
        };
        if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(plain) {
            return Err(wrong());
        }
        let own = |name: &str| OwnName::new(name).ok_or_else(wrong);
        Ok(Self {
            key: ShortString::try_new(name).map_err(|_| wrong())?,
            tap: own(&tap_of(name))?,
            lost: own(&format!("{LOST_EXCHANGE}.{name}"))?,
            exchange: own(EXCHANGE)?,
            canary_exchange: own(CANARY_EXCHANGE)?,
            retry_exchange: own(RETRY_EXCHANGE)?,
            lost_exchange: own(LOST_EXCHANGE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_escrow_are_own() {
        for name in ["escrow", "escrow.tap.default", "escrow.x"] {
            assert!(OwnName::new(name).is_some(), "{name}");
        }
        for name in ["", "escrow.", "escrows", "escrow-x", "orders", "Escrow", "amq.topic", "my.escrow"] {
            assert!(OwnName::new(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_tap_name_must_fit_in_a_queue_name() {
        assert!(Names::new("default").is_ok());
        for name in ["", "a b", "ä", &"x".repeat(201)] {
            assert!(Names::new(name).is_err(), "{name}");
        }
    }
}
