//! How services' queues are, by passive looks.
//!
//! At most one look per queue and second serves all retries that are due, and everybody who asks why an answer does not come.
//! A look has a channel nobody else needs ([`Live::ask`]): a refusal closes it, and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use lapin::types::ShortString;
use tokio::sync::Mutex;

use super::connect::{Fault, Live};
use super::topology::{self, QueueState};
use crate::saga::queue::Found;

/// How long a look is good for.
const FRESH: Duration = Duration::from_secs(1);

/// How the broker says that there is no such queue. By the same code it tells of queues whose node is down or whose process failed.
const NO_SUCH_QUEUE: &str = "no queue '";

#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<String, (Instant, Found)>>);

impl Queues {
    /// How one queue is, not older than a second.
    pub(super) async fn look_at(&self, live: &Live, queue: &str) -> Result<Found, Fault> {
        // Held while looking: whoever asks meanwhile wants the same answer.
        let mut seen = self.0.lock().await;
        seen.retain(|_, (at, _)| at.elapsed() < FRESH);
        if let Some((_, found)) = seen.get(queue) {
            return Ok(found.clone());
        }
        // No queue has a name that AMQP cannot say.
        let Ok(name) = ShortString::try_new(queue) else { return Ok(Found::Missing) };
        let found = found(topology::queue_state(live, name).await)?;
        seen.insert(queue.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }
}

/// What the broker's answer means; a fault of the connection says nothing about the queue.
fn found(answer: Result<QueueState, Fault>) -> Result<Found, Fault> {
    match answer {
        Ok(state) => Ok(Found::counted(state.messages.into(), state.consumers.into())),
        Err(Fault::Channel { code: 404, text }) if text.contains(NO_SUCH_QUEUE) => Ok(Found::Missing),
        Err(Fault::Channel { text, .. }) => Ok(Found::Forbidden { why: text }),
        Err(fault @ Fault::Gone(_)) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_broker_is_told_apart() {
        let refused = |code: u16, text: &str| found(Err(Fault::Channel { code, text: text.to_owned() })).unwrap();
        assert_eq!(refused(404, "NOT_FOUND - no queue 'q' in vhost '/'"), Found::Missing);
        for (code, text) in [
            (403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'escrow'"),
            (405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'"),
            (404, "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible"),
        ] {
            assert_eq!(refused(code, text), Found::Forbidden { why: text.to_owned() });
        }
        assert!(found(Err(Fault::Gone("reset".to_owned()))).is_err(), "the connection says nothing about the queue");
        assert_eq!(found(Ok(QueueState { messages: 3, consumers: 0 })).unwrap(), Found::NoConsumer { messages: 3 });
    }
}
