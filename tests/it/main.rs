//! Everything that needs real neighbours: databases, a broker, processes. One binary, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

#[path = "../support/postgres.rs"]
mod postgres;
mod store_contract;
