//! What the integration tests stand on: servers of their own, the services they play, and Escrow as its users run it.
pub mod choreography;
pub mod database;
pub mod escrow;
pub mod postgres;
pub mod rabbitmq;
pub mod services;
