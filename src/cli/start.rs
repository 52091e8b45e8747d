//! Where the command line hands over to the program itself.
//!
//! SEAM: each of these calls `crate::app` or `crate::demo` once they are here. Until then they say that they cannot.

use std::sync::Arc;

use anyhow::bail;

use crate::config::{DemoConfig, MigrateConfig, ServeConfig};
use crate::store::Store;

/// Runs the service until it is told to stop. → `crate::app::serve(config)`
#[expect(clippy::unused_async, reason = "the signature of the function this hands over to")]
pub async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    bail!("serving on {} is not built in", config.listen)
}

/// Runs the demo. → `crate::demo::run(config)`
#[expect(clippy::unused_async, reason = "the signature of the function this hands over to")]
pub async fn demo(config: DemoConfig) -> anyhow::Result<()> {
    bail!("the demo on {} is not built in", config.listen)
}

/// Brings the database up to date. → `crate::app::migrate(config)`
#[expect(clippy::unused_async, reason = "the signature of the function this hands over to")]
pub async fn migrate(config: MigrateConfig) -> anyhow::Result<()> {
    bail!("migrating {} is not built in", config.database_url.split(':').next().unwrap_or("a database"))
}

/// Opens the database as it is. → `crate::app::open_store(&url)`
#[expect(clippy::unused_async, reason = "the signature of the function this hands over to")]
pub async fn open(database_url: String) -> anyhow::Result<Arc<dyn Store>> {
    bail!("opening {} is not built in", database_url.split(':').next().unwrap_or("a database"))
}
