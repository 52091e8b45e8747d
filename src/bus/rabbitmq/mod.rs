//! RabbitMQ, 3.10 and later, by AMQP 0-9-1.
//!
//! Three connections. A broker in alarm stops reading from one that publishes, and acknowledgements must not wait for that; and
//! refused calls wear a connection out (see `connect`), which the other two must not feel. Each has a supervisor of its own that makes it again for ever; nothing inside a connection is recovered: channels,
//! consumers and everything in hand end with it, and their owners begin anew.
//!
//! ```text
//!   escrow-consume: tap ─▶ RabbitSource ─▶ batches
//!   escrow-publish: RabbitSink ─▶ exchanges, and canaries
//!   escrow-look:    declares what is Escrow's, binds, looks at exchanges, and at queues for retries
//! ```
//!
//! What a person asks for ([`peek()`], [`unbind()`]) has a short connection of its own, without a supervisor.
//!
//! Never: changes, consumes or empties anything whose name does not begin with `escrow` (see [`names`]); nacks or cancels;
//! unbinds by itself. [`plan()`] only says what an administrator may put in force.

mod connect;
mod convert;
mod examine;
pub mod frames;
mod gaps;
mod look;
pub mod management;
pub mod names;
mod peek;
mod plan;
mod publisher;
mod queues;
mod services;
mod source;
mod tap;
mod topology;
mod unbind;

use std::sync::Arc;

use lapin::uri::AMQPUri;

use super::BusError;
pub use convert::{TYPES, to_envelope, to_properties};
pub use examine::examine;
pub use peek::peek;
pub use plan::plan;
pub use publisher::RabbitSink;
pub use services::RabbitServices;
pub use tap::RabbitTap;
pub use topology::Bound;
pub use unbind::unbind;

/// How the tap is kept and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the tap may hold; more drops its oldest, and that is told as a gap.
    pub bound: Bound,
    /// A batch is not larger than this many messages.
    pub batch_messages: usize,
    /// A batch takes no further message once it holds this many bytes of bodies.
    pub batch_bytes: usize,
}

/// Begins to connect to `url` (`amqp://` or `amqps://`) as the Escrow called `name`. Returns at once; both halves wait for
/// their connections by themselves. Needs a tokio runtime.
///
/// # Errors
/// `Misconfigured` when the URL or the name cannot be right.
pub fn start(url: &str, name: &str, options: Options) -> Result<(Arc<RabbitTap>, Arc<RabbitSink>), BusError> {
    let uri = read_url(url)?;
    let names = names::Names::new(name)?;
    let consume = connect::Link::start(uri.clone(), "escrow-consume");
    let publish = Arc::new(connect::Link::start(uri.clone(), "escrow-publish"));
    let look = Arc::new(connect::Link::start(uri, "escrow-look"));
    let sink = Arc::new(RabbitSink::new(names.clone(), Arc::clone(&publish), Arc::clone(&look)));
    Ok((Arc::new(RabbitTap::new(names, options, consume, publish, look)), sink))
}

fn read_url(url: &str) -> Result<AMQPUri, BusError> {
    // The text of the error may hold the password, so it is not repeated.
    url.parse()
        .map_err(|_| BusError::Misconfigured("the AMQP URL is not like amqp://user:password@host:5672/vhost".into()))
}
