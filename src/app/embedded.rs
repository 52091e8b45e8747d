//! What a demo needs to run an Escrow inside itself: a bus with both its sides, and a database that goes with the run.
//!
//! ```text
//!   in memory:     MemoryBus ──▶ tap and sink for Escrow, a link for the services
//!   over a broker: two connections for Escrow, one for the services
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::Bus;
use crate::bus::memory::{MemoryBus, MemoryServices};
use crate::bus::rabbitmq::{self, RabbitServices};
use crate::bus::services::ServiceLink;

/// A bus inside the process: Escrow's side, and the services'.
pub fn bus_in_memory(name: &str) -> (Bus, Arc<dyn ServiceLink>) {
    let bus = MemoryBus::default();
    let services = MemoryServices::new(bus.clone());
    (Bus { tap: bus.tap(name), sink: Arc::new(bus) }, services)
}

/// Escrow's side of a broker. Needs a tokio runtime.
///
/// # Errors
/// The URL or the name cannot be right.
pub fn bus_on_broker(amqp_url: &str, name: &str) -> anyhow::Result<Bus> {
    let (tap, sink) = rabbitmq::start(amqp_url, name, rabbitmq::Options::default())?;
    Ok(Bus { tap, sink })
}

/// The services' side of a broker. Needs a tokio runtime.
///
/// # Errors
/// The URL cannot be right.
pub fn services_on_broker(amqp_url: &str) -> anyhow::Result<Arc<dyn ServiceLink>> {
    Ok(RabbitServices::start(amqp_url)?)
}

/// A database file in a folder of its own; dropping this removes both.
#[derive(Debug)]
pub struct PassingDatabase {
    folder: PathBuf,
}

impl PassingDatabase {
    /// Makes the folder.
    ///
    /// # Errors
    /// The machine's folder for temporary files cannot be written to.
    pub fn create() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("escrow-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).with_context(|| format!("no folder for the database at {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// What to open.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.folder.join("escrow.db").display())
    }
}

impl Drop for PassingDatabase {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "a temporary folder stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_database_leaves_nothing_behind() {
        let database = PassingDatabase::create().unwrap();
        let folder = database.folder.clone();
        std::fs::write(folder.join("escrow.db"), "x").unwrap();
        drop(database);
        assert!(!folder.exists());
    }
}
