//! Everything that needs real neighbours: databases, a broker, processes. One binary, so that it links once.

#[path = "../support/postgres.rs"]
mod postgres;
mod store_contract;
