//! Escrow.
pub mod bus;
pub mod clock;
pub mod saga;
pub mod store;
