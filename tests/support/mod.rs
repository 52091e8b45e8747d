//! What the integration tests stand on: servers of their own, the services they play, and Escrow as its users run it.
pub mod alertmanager;
pub mod choreography;
pub mod database;
pub mod escrow;
pub mod incidents;
pub mod judgement;
pub mod mail_server;
pub mod postgres;
pub mod proxy;
pub mod rabbitmq;
pub mod raw_amqp;
pub mod receiver;
pub mod scene;
pub mod services;
pub mod traffic;
