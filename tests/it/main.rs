//! The integration tests, one binary: contract suites over every implementation of a seam, and what only real servers show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../support/mod.rs"]
mod support;

mod bus_contract;
mod rabbitmq;
mod rabbitmq_outages;
