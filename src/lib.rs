//! Escrow.
pub mod bus;
pub mod http;
pub mod saga;
pub mod store;
pub mod telemetry;
