//! Escrow.
pub mod bus;
pub mod cli;
pub mod config;
pub mod http;
pub mod saga;
pub mod store;
pub mod telemetry;
