//! `escrow peek` over the real broker: a look that ends by itself, or with what it has when it is interrupted.

use super::wait_for_signal;
use crate::bus::{Peek, Peeked, rabbitmq};
use crate::config::PeekConfig;

/// What is kept of bodies in memory: thousands of usual ones, dozens of the largest.
const BYTES_MAX: usize = 64 << 20;

/// Looks at what passes through exchanges.
///
/// # Errors
/// A `PeekError`.
pub async fn peek(config: PeekConfig) -> anyhow::Result<Vec<Peeked>> {
    let look = Peek {
        exchanges: config.exchanges,
        keys: config.keys,
        beside: config.beside,
        wait: config.run_for,
        messages_max: config.messages_max,
        bytes_max: BYTES_MAX,
    };
    Ok(rabbitmq::peek(&config.amqp_url, &look, wait_for_signal()).await?)
}
