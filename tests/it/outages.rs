//! Everything that can break around Escrow, with real servers and the real program.
//!
//! Each test lets orders run into a fault: some answered, some never answered, some answered in the midst of it while Escrow
//! cannot see. Each ends with one judgement (`support/judgement.rs`): every published event is in its trail once, nothing that
//! was answered in time was timed out or undone, everything else was, once and under one message id, and all trails verify.
//! A person must be able to see the fault while it lasts, `/livez` answers through all of it, and `/readyz` says when it ended.
//!
//! | fault | held by |
//! |---|---|
//! | broker restarted | `broker::a_broker_that_restarts_…`, `rabbitmq_outages::after_a_stopped_broker_…` |
//! | broker killed | `rabbitmq_outages::after_a_killed_broker_…`, `restarts` |
//! | publishing blocked by a memory alarm | `broker::under_a_memory_alarm_…`, `rabbitmq_outages::a_broker_that_blocks_…` |
//! | channel closed, 403 | `channels::permissions_taken_away_…`, `rabbitmq::a_forbidden_exchange_…` |
//! | channel closed, 404 | `channels::a_compensation_whose_exchange_is_gone_…`, `bus_contract::a_missing_exchange_…` |
//! | channel closed, 406 | `channels::a_tap_somebody_made_in_another_way_…`, `rabbitmq::a_tap_with_other_arguments_…` |
//! | consumer cancelled, tap deleted | `channels::a_tap_deleted_…`, `rabbitmq::a_tap_deleted_under_its_consumer_…` |
//! | broker behind a silent line (half-open) | `network::a_broker_behind_a_silent_line_…` |
//! | lines reset again and again, refused | `network::lines_that_are_cut_…` |
//! | slow lines | `network::slow_lines_…` |
//! | PostgreSQL restarted | `postgres::a_database_that_restarts_…`; killed: `restarts`, `store_contract::crash` |
//! | backends terminated | `postgres::backends_that_are_ended_…` |
//! | read-only (25006) | `postgres::a_database_that_only_reads_…`, `past::a_failover_…`, `store_contract::crash` |
//! | too many connections (53300) | `postgres::a_database_with_too_many_connections_…` |
//! | deadlock (40P01), lock timeout (55P03) | `locks::deadlocks_and_locked_rows_…` |
//! | disk full, PostgreSQL (53100) and SQLite | `disk::…` |
//! | database behind a silent line (half-open) | `network::a_database_behind_a_silent_line_…`, `replicas::…_database_is_silent_…`, `replicas::a_batch_cut_off_…` |
//! | a commit whose answer is lost | `network::a_commit_whose_answer_is_lost_…`, `embedded::outages::what_was_committed_…` |
//! | a replica stands still for a minute | `replicas::a_replica_that_stands_still_…` |
//! | a clock an hour off | `clock::on_postgresql_…`, `clock::on_sqlite_…` |
//! | database set back: failover, restore, file copied | `past::…`, `embedded::doubt::a_database_set_back_is_a_gap` |
//! | Escrow killed in the midst of it | `restarts` |

mod broker;
mod channels;
mod clock;
mod disk;
mod locks;
mod network;
mod past;
mod postgres;
mod replicas;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection};

use crate::support::rabbitmq::{self, Vhost};

/// A virtual host of the broker all share.
fn vhost() -> Vhost<'static> {
    tokio::task::block_in_place(|| rabbitmq::shared().vhost())
}

/// A connection of the test's own, past any proxy.
async fn connect(url: &str) -> PgConnection {
    url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// Runs statements as an administrator.
async fn sql(url: &str, statements: &str) {
    connect(url).await.execute(AssertSqlSafe(statements.to_owned())).await.unwrap();
}
