//! Everything that can break around Escrow, with real servers and the real program.

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
