//! Between bytes and events: how a message found on the bus becomes an input of the machine, and how a row of the outbox
//! becomes a message. Pure: no I/O, no clock, no randomness.
//!
//! ```text
//!   Delivery ──Message──▶ frame (preset) ──▶ selectors ──▶ event? ──▶ roles ──▶ order id, id, … ──▶ Reading
//!                                                            └─ named by no step: ignored, nothing else is read
//!   Outgoing ──publication──▶ Publication, marked as Escrow's own
//! ```
//!
//! Nothing a service sends can make this panic or recurse without bound; what cannot be read says why.

mod binding;
mod frame;
mod message;
mod own;
mod pointer;
mod preset;
mod read;
mod reader;
mod select;
mod stored;
mod write;

#[cfg(test)]
mod fixture;

pub use message::Message;
pub use own::{OWN, is_own, own_mark};
pub use read::{OrderRef, Reading, read};
pub use stored::{payload_view, stored_event};
pub use write::publication;
