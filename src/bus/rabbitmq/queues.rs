//! Whether a queue's consumers can take a re-sent message now.
//!
//! A passive look, at most one per queue and second, serves all retries that are due: a queue that cannot be seen, has nobody
//! reading it, or has messages waiting already would only get a copy of what it still holds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lapin::types::ShortString;
use tokio::sync::Mutex;

use super::connect::{Fault, Live};
use super::topology;

/// How long a look is good for.
const FRESH: Duration = Duration::from_secs(1);

/// `Err(why)` when the queue cannot take a message now.
type Word = Result<(), String>;

#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<String, (Instant, Word)>>);

impl Queues {
    /// The word on one queue, not older than a second.
    pub(super) async fn look_at(&self, live: &Live, queue: &str) -> Result<Word, Fault> {
        // Held while looking: whoever asks meanwhile wants the same answer.
        let mut seen = self.0.lock().await;
        seen.retain(|_, (at, _)| at.elapsed() < FRESH);
        if let Some((_, word)) = seen.get(queue) {
            return Ok(word.clone());
        }
        let Ok(name) = ShortString::try_new(queue) else { return Ok(Err("no queue has a name this long".into())) };
        let word = match topology::queue_state(live, name).await {
            Ok(state) if state.consumers == 0 => Err(format!("nobody consumes the queue `{queue}`")),
            Ok(state) if state.messages > 0 => {
                Err(format!("the queue `{queue}` has {} messages waiting already", state.messages))
            }
            Ok(_) => Ok(()),
            Err(Fault::Channel { code: 404, .. }) => Err(format!("there is no queue `{queue}`")),
            Err(Fault::Channel { text, .. }) => Err(format!("the queue `{queue}` is not ours to see: {text}")),
            Err(fault @ Fault::Gone(_)) => return Err(fault),
        };
        seen.insert(queue.to_owned(), (Instant::now(), word.clone()));
        Ok(word)
    }
}
