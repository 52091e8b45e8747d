//! People are told: by the real program, over the real words of each receiver, also when something dies in between.
//!
//! ```text
//!   rows of notices ─▶ escrow serve ─▶ receivers of the test, a mail server, a real Alertmanager
//! ```

mod alertmanager;
mod channels;
mod commands;
mod crash;
mod flood;
mod stage;
