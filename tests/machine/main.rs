//! The machine against the fifteen rules: one file per rule, tables through one helper (`given`, `when`, `then`), the
//! properties that hold for every saga, and the table of every state × every input.
//!
//! Each input of each test also passes the laws of `laws.rs`, so a table only says what is special about it.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test there")]

mod laws;
mod migrating;
mod properties;
mod run;
mod when;

mod rule_01_events;
mod rule_02_identity;
mod rule_03_opening;
mod rule_06_deadlines;
mod rule_07_turning;
mod rule_08_unproven;
mod rule_09_observe;
mod rule_10_retries;
mod rule_11_turning_back;
mod rule_12_undoing;
mod rule_13_late;
mod rule_14_brake;
mod rule_15_actions;
mod standing;
mod state_table;
mod tellings;
mod trail;
