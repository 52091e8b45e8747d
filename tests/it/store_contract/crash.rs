//! A server that is killed, stopped, or only reads: what was acknowledged is there, and the store comes back by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use escrow::saga::batch::Changes;
use escrow::store::{self, Store, StoreError};
use sqlx::{ConnectOptions as _, Executor as _};

use super::given::{apply, begun, key, lookup};
use crate::postgres::Server;

async fn begin(store: &dyn Store, id: String) -> Result<(), StoreError> {
    let done = apply(store, lookup([key(&id)]), move |loaded| {
        // The same again after a lost answer finds the order there.
        if loaded.orders.contains_key(&key(&id)) {
            return Changes::default();
        }
        let (order, payload) = begun(&key(&id), loaded.now, |_| {});
        Changes { orders: vec![order], payloads: vec![payload], ..Changes::default() }
    });
    done.await.map(drop)
}

/// Begins the order as soon as the server lets it.
async fn begin_at_last(store: &dyn Store, id: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = begin(store, id.to_owned()).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(Instant::now() < deadline, "the store does not come back: {error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_killed_server() {
    let server = Arc::new(tokio::task::spawn_blocking(Server::dedicated).await.unwrap());
    let store = store::connect(&server.database().await).await.unwrap();
    for round in 0..3 {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for n in 0.. {
                        let id = format!("r{round}-w{writer}-{n}");
                        match begin(&*store, id.clone()).await {
                            Ok(()) => acknowledged.push(id),
                            Err(StoreError::Unavailable(_)) => return acknowledged,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        begin_at_last(&*store, &format!("before-{round}")).await;
        let killed = Arc::clone(&server);
        tokio::task::spawn_blocking(move || if round == 1 { killed.stop() } else { killed.kill_9() }).await.unwrap();
        let mut acknowledged = vec![format!("before-{round}")];
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        let started = Arc::clone(&server);
        tokio::task::spawn_blocking(move || started.start()).await.unwrap();
        begin_at_last(&*store, &format!("after-{round}")).await;
        for id in acknowledged {
            assert_eq!(store.verify(key(&id)).await.unwrap(), Ok(1), "{id} was acknowledged");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_unavailable() {
    let url = crate::postgres::shared().database().await;
    let store = store::connect(&url).await.unwrap();
    let mut conn = url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().connect().await.unwrap();
    let name = url.rsplit('/').next().unwrap().to_owned();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    conn.execute(sqlx::AssertSqlSafe(read_only)).await.unwrap();
    assert!(matches!(store::connect(&url).await.map(drop), Err(StoreError::Unavailable(_))));
    // A connection made before the server changed finds out by writing.
    store.close().await;
    assert!(matches!(begin(&*store, "a".to_owned()).await, Err(StoreError::Unavailable(_))));
}
