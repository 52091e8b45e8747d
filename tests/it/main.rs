//! Everything that needs real neighbours: databases, a broker, processes. One binary, so that it links once, and so that all
//! tests share one server of each kind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../support/mod.rs"]
mod support;

mod adoption;
mod alerting;
mod bad_input;
mod brake;
mod bus_contract;
mod choreography;
mod compensation;
mod crash_loop;
mod crash_matrix;
mod dashboards;
mod doctor;
mod harmless;
mod outages;
mod peek;
mod poison_frames;
mod queues;
mod rabbit_plan;
mod rabbitmq;
mod rabbitmq_outages;
mod restarts;
mod store_contract;
mod tls;
mod unbind;

use support::postgres;
