//! Escrow: a passive observer beside choreographed services. It follows every order by the events they already publish, keeps one
//! persisted state machine for each, and acts when an expected event does not come.
//!
//! ```text
//!  message ──▶ wire ──▶ batch ──▶ saga machine (pure) ──▶ ONE transaction: journal + order + deadlines + outbox ──▶ ack
//!                                         ▲
//!  due deadline (watermark passed) ───────┤
//!  operator's command ────────────────────┘
//!  outbox ──▶ publish, confirm, not returned ──▶ confirmation is one more input
//!  journal ──▶ live stream, metrics, incidents
//! ```
//!
//! In reading order: [`saga`] decides and knows no I/O; [`wire`] stands between bytes and events; [`store`], [`bus`] and [`alert`]
//! are the seams; [`worker`] holds the loops; [`http`] is how people ask. `app` alone names concrete stores and buses.

pub mod faults;

pub mod saga;

pub mod wire;

pub mod alert;
pub mod bus;
pub mod clock;
pub mod store;

pub mod worker;

pub mod http;
pub mod telemetry;

pub mod app;
pub mod cli;
pub mod config;

pub mod demo;
pub mod doctor;
