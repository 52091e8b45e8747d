//! What the command line hands over to the whole program.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::cli::start::Start;
use crate::config::{DemoConfig, MigrateConfig, ServeConfig};
use crate::store::{self, Store};

/// This program.
pub struct Program;

impl Start for Program {
    fn serve(&self, config: ServeConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(super::serve(config))
    }

    fn demo(&self, config: DemoConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(crate::demo::run(config))
    }

    fn migrate(&self, config: MigrateConfig) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move {
            store::connect(&config.database_url).await?.close().await;
            Ok(())
        })
    }

    fn open(&self, database_url: String) -> BoxFuture<'_, anyhow::Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(store::connect(&database_url).await?) })
    }
}
