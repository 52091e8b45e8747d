//! Escrow.
pub mod bus;
pub mod saga;
pub mod store;
pub mod wire;
pub mod worker;
