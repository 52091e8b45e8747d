//! The program is killed at every step of its loops, and between the statements of its transactions, on both databases, with
//! one and with two replicas.
//!
//! ```text
//!   one replica    dies ─▶ starts, and dies elsewhere ─▶ starts … ─▶ starts, and everything comes to its end
//!   two replicas   the one with everything in hand dies ─▶ the other takes over ─▶ …
//! ```
//!
//! Orders come and go meanwhile. Each start is the recovery from the death before it, in the middle of which the next one comes.
//! A step that is not reached fails the test.

pub mod points;
mod scenario;
mod stage;
mod verdict;

use points::deaths;
use stage::Stage;

use crate::support::database::Database;

/// With `ESCROW_MATRIX=relay,store.commit` only the deaths whose names begin so.
async fn matrix(database: Database, replicas: usize) {
    let mut stage = Stage::new(database, replicas).await;
    let all = deaths();
    assert!(all.len() > 150, "the steps were not found in the sources: {all:?}");
    let only = std::env::var("ESCROW_MATRIX").unwrap_or_default();
    let wanted = all.iter().filter(|death| only.split(',').any(|begins| death.at().starts_with(begins)));
    let (quiet, loud): (Vec<_>, Vec<_>) = wanted.partition(|death| death.way.needs_quiet());
    for deaths in [loud, quiet] {
        for death in deaths {
            stage.die(death).await;
        }
        stage.recover().await;
        stage.orders("after").await;
        stage.judge().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_on_postgres_dies_everywhere_and_nothing_is_lost_or_doubled() {
    matrix(Database::postgres().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_on_sqlite_dies_everywhere_and_nothing_is_lost_or_doubled() {
    matrix(Database::sqlite(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_on_postgres_die_everywhere_and_nothing_is_lost_or_doubled() {
    matrix(Database::postgres().await, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_on_sqlite_die_everywhere_and_nothing_is_lost_or_doubled() {
    matrix(Database::sqlite(), 2).await;
}
