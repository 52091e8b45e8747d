//! The whole of Escrow in one process, without servers: the loops, the API, SQLite, and a bus in memory. The database's clock is
//! held by the test, so an hour passes when the test says so.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test there")]

mod access;
mod acting;
mod bed;
mod bindings;
mod brake;
mod bulk;
mod coverage;
mod doubt;
mod faulty;
mod http;
mod incidents;
mod lasting;
mod migrating;
mod observe;
mod outages;
mod queues;
mod replicas;
mod terminal;
mod traces;
mod versions;
