//! Where the command line hands over to the program itself: the composition root implements this, so that nothing here has to
//! know concrete stores and buses.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::bus::Peeked;
pub use crate::bus::Unbinding;
pub use crate::bus::plan::Plan;
use crate::config::{
    BindConfig, DemoConfig, DoctorConfig, MigrateConfig, PeekConfig, PlanConfig, ServeConfig, UnbindConfig,
};
pub use crate::doctor::Finding;
use crate::store::Store;

/// What a look at exchanges saw, in the order of arrival.
pub type Seen = Vec<Peeked>;

/// What only the whole program can do.
pub trait Start: Sync {
    /// Runs the service until it is told to stop.
    fn serve(&self, config: ServeConfig) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Runs the demo.
    fn demo(&self, config: DemoConfig) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Brings the database up to date.
    fn migrate(&self, config: MigrateConfig) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Looks at what passes through exchanges. An error that holds a `PeekError` says what was missing.
    fn peek(&self, config: PeekConfig) -> BoxFuture<'_, anyhow::Result<Seen>>;

    /// Says what Escrow needs on a broker, for an administrator.
    fn rabbit_plan(&self, config: PlanConfig) -> BoxFuture<'_, anyhow::Result<Plan>>;

    /// Takes the tap from the services' exchanges and keeps it away; or, on a dry run or where an exchange would surely be deleted
    /// with its last binding, says only what would be done. An error that holds a `BusError` is the broker's.
    fn rabbit_unbind(&self, config: UnbindConfig) -> BoxFuture<'_, anyhow::Result<Vec<Unbinding>>>;

    /// Lets the tap be bound again.
    fn rabbit_bind(&self, config: BindConfig) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Looks at broker, database and definitions, and changes nothing.
    fn doctor(&self, config: DoctorConfig) -> BoxFuture<'_, anyhow::Result<Vec<Finding>>>;

    /// Opens a database.
    fn open(&self, database_url: String) -> BoxFuture<'_, anyhow::Result<Arc<dyn Store>>>;
}
