//! What the integration tests stand on: servers of their own, and the services they play.
pub mod rabbitmq;
pub mod services;
