//! The publishing side: every message gets the broker's word, or is `Unknown`.
//!
//! Messages go out in chunks on one confirming channel. The client library hands returned messages to whichever confirm
//! completes next, so a return is matched by the header Escrow sets and never by the promise it came with:
//!
//! ```text
//!   chunk ──publish all──▶ confirms + returns, until all are in or 30 s have passed
//!     returned, by header ─────────────▶ Unroutable
//!     acked, and all returns explained ▶ Confirmed        nacked ▶ Refused
//!     the channel was closed (403, 404, 406) ▶ the rest again, exchange by exchange, then one by one: the culprit is Refused
//!     no word ─────────────────────────▶ Unknown
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::connect::{Fault, Link, Live};
use super::names::Names;
use super::queues::Queues;
use super::{convert, topology};
use crate::bus::{BusError, Publication, Published, Sink, Target};
use crate::saga::queue::Found;

/// Names a message as Escrow's own; the part before the dot is the publication's key.
const OWN: &str = "x-escrow-own";
/// Messages in flight: enough to hide the round trip, few enough to send again.
const CHUNK: usize = 256;
/// The broker's word is not waited for any longer.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a blocked connection is looked at.
const BLOCKED_POLL: Duration = Duration::from_millis(100);
/// What a header frame needs besides headers and properties.
const FRAME_OVERHEAD_BYTES: usize = 256;
/// AMQP: keep the message when the broker restarts.
const PERSISTENT: u8 = 2;

/// Publishes on the publishing connection.
pub struct RabbitSink {
    names: Names,
    link: Arc<Link>,
    look: Arc<Link>,
    queues: Queues,
    open: Mutex<Option<Open>>,
}

/// A confirming channel with nothing in flight.
struct Open {
    live: Arc<Live>,
    channel: Channel,
}

/// A publication, ready to be sent.
struct Letter {
    place: usize,
    key: String,
    exchange: ShortString,
    routing_key: ShortString,
    /// For a queue target: what to say when nothing is bound.
    queue: Option<String>,
    mandatory: bool,
    properties: BasicProperties,
    body: Vec<u8>,
}

/// What is known of a chunk after it was sent.
struct Outcome {
    /// The broker's word on each letter; `None` where there is none.
    words: Vec<Option<Published>>,
    /// Why some have no word.
    fault: Option<Fault>,
}

impl RabbitSink {
    pub(super) fn new(names: Names, link: Arc<Link>, look: Arc<Link>) -> Self {
        Self { names, link, look, queues: Queues::default(), open: Mutex::new(None) }
    }

    async fn publish_all(&self, publications: Vec<Publication>) -> Result<Vec<Published>, BusError> {
        let live = self.link.now()?;
        let mut answers = vec![Published::Unknown("it was not sent".into()); publications.len()];
        let mut letters = Vec::with_capacity(publications.len());
        for (place, publication) in publications.into_iter().enumerate() {
            match self.prepare(&live, place, publication).await {
                Ok(letter) => letters.push(letter),
                Err(word) => answers[place] = word,
            }
        }
        let mut open = self.open.lock().await;
        for chunk in letters.chunks(CHUNK) {
            let chunk: Vec<&Letter> = chunk.iter().collect();
            for (letter, word) in chunk.iter().zip(self.send_chunk(&mut open, &chunk).await) {
                answers[letter.place] = word;
            }
        }
        Ok(answers)
    }

    /// What to send, or the word on what cannot be sent.
    async fn prepare(&self, live: &Live, place: usize, publication: Publication) -> Result<Letter, Published> {
        let Publication { key, target, mut envelope, body, mandatory } = publication;
        let named = envelope.header(OWN).is_some_and(|own| own_key(own) == key);
        if !named {
            envelope.headers.insert(OWN.into(), key.clone().into());
        }
        // What does not say how it is kept is kept.
        envelope.properties.entry("delivery_mode".into()).or_insert(PERSISTENT.into());
        let properties = convert::to_properties(&envelope).map_err(Published::Refused)?;
        if convert::header_bytes(&properties) + FRAME_OVERHEAD_BYTES > live.frame_max_bytes() {
            // The broker would close the connection over it, and the neighbours would suffer.
            return Err(Published::Refused("its headers are larger than a frame of the broker".into()));
        }
        let (exchange, routing_key, queue, mandatory) = match target {
            Target::Exchange { exchange, routing_key } => (exchange, routing_key, None, mandatory),
            Target::Queue(queue) => {
                match self.find(&queue).await {
                    Ok(found) if found.can_take() => {}
                    Ok(found) => return Err(Published::Withheld(found.words(&queue))),
                    Err(error) => return Err(Published::Unknown(error.to_string())),
                }
                (self.names.retry_exchange.to_string(), queue.clone(), Some(queue), true)
            }
        };
        let short = |what: &str, text: String| {
            ShortString::try_new(text).map_err(|_| Published::Refused(format!("its {what} is longer than 255 bytes")))
        };
        let (exchange, routing_key) = (short("exchange", exchange)?, short("routing key", routing_key)?);
        Ok(Letter { place, key, exchange, routing_key, queue, mandatory, properties, body })
    }

    async fn find(&self, queue: &str) -> Result<Found, BusError> {
        let live = self.look.fresh().await?;
        Ok(self.queues.look_at(&live, queue).await?)
    }

    async fn send_chunk(&self, open: &mut Option<Open>, chunk: &[&Letter]) -> Vec<Published> {
        let Outcome { mut words, fault } = self.send(open, chunk).await;
        if let Some(Fault::Channel { code, text }) = fault {
            let rest: Vec<usize> = (0..chunk.len()).filter(|&n| words[n].is_none()).collect();
            self.isolate(open, chunk, rest, (code, text), &mut words).await;
        }
        let unknown = || Published::Unknown("the broker gave no word on it".into());
        words.into_iter().map(|word| word.unwrap_or_else(unknown)).collect()
    }

    /// The broker closed the channel over one of `rest`. Sends them again apart, so that only the culprits are refused.
    async fn isolate(
        &self,
        open: &mut Option<Open>,
        chunk: &[&Letter],
        rest: Vec<usize>,
        (code, text): (u16, String),
        words: &mut [Option<Published>],
    ) {
        let mut by_exchange: Vec<Vec<usize>> = Vec::new();
        for n in rest {
            match by_exchange.iter_mut().find(|group| chunk[group[0]].exchange == chunk[n].exchange) {
                Some(group) => group.push(n),
                None => by_exchange.push(vec![n]),
            }
        }
        let mut known = (by_exchange.len() == 1).then_some((code, text));
        for group in by_exchange {
            let refusal = match known.take() {
                Some(refusal) => Some(refusal),
                None => self.send_group(open, chunk, &group, words).await,
            };
            match refusal {
                None => {}
                // The exchange itself is what is missing, so it is so for all of them.
                Some((404, text)) => refuse(&group, &text, words),
                Some((_, text)) if group.len() == 1 => refuse(&group, &text, words),
                Some(_) => {
                    for n in group.into_iter().filter(|&n| words[n].is_none()).collect::<Vec<_>>() {
                        if let Some((_, text)) = self.send_group(open, chunk, &[n], words).await {
                            refuse(&[n], &text, words);
                        }
                    }
                }
            }
        }
    }

    /// Sends some letters of a chunk. Returns the broker's reason when it closed the channel over one of them.
    async fn send_group(
        &self,
        open: &mut Option<Open>,
        chunk: &[&Letter],
        group: &[usize],
        words: &mut [Option<Published>],
    ) -> Option<(u16, String)> {
        let letters: Vec<&Letter> = group.iter().map(|&n| chunk[n]).collect();
        let outcome = self.send(open, &letters).await;
        for (&n, word) in group.iter().zip(outcome.words) {
            words[n] = word;
        }
        match outcome.fault {
            Some(Fault::Channel { code, text }) => Some((code, text)),
            Some(Fault::Gone(_)) | None => None,
        }
    }

    /// Sends letters on a fresh or clean channel and waits for every word.
    async fn send(&self, slot: &mut Option<Open>, letters: &[&Letter]) -> Outcome {
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        // Taken, not borrowed: if this call is cancelled, the channel with what is in flight on it goes.
        let open = match self.ready(slot.take(), deadline).await {
            Ok(open) => open,
            Err(Fault::Gone(text) | Fault::Channel { text, .. }) => {
                return Outcome { words: vec![Some(Published::Unknown(text)); letters.len()], fault: None };
            }
        };
        let mut tally = Tally::new(letters.len());
        let mut flying: FuturesUnordered<_> =
            letters.iter().enumerate().map(|(n, letter)| fly(&open.channel, n, letter)).collect();
        while tally.waiting > 0 {
            match timeout_at(deadline, flying.next()).await {
                Ok(Some((n, word))) => tally.take(n, word),
                Ok(None) => break,
                Err(_) => {
                    tally.fault.get_or_insert(Fault::Gone(no_word(&open.live)));
                    if !open.live.is_blocked() {
                        open.live.give_up();
                    }
                    break;
                }
            }
        }
        drop(flying);
        let outcome = tally.outcome(letters);
        if outcome.fault.is_none() {
            *slot = Some(open);
        }
        outcome
    }

    /// A clean channel on a connection that is not blocked.
    async fn ready(&self, kept: Option<Open>, deadline: Instant) -> Result<Open, Fault> {
        let live = self.link.live().ok_or_else(|| Fault::Gone("the publishing connection is gone".into()))?;
        while live.is_blocked() {
            if Instant::now() >= deadline {
                return Err(Fault::Gone(no_word(&live)));
            }
            sleep(BLOCKED_POLL).await;
        }
        let same_connection = kept.as_ref().is_some_and(|open| Arc::ptr_eq(&open.live, &live));
        if let Some(open) = kept
            && same_connection
            && open.channel.status().connected()
        {
            return Ok(open);
        }
        if !same_connection && let Err(error) = self.declare_exchanges().await {
            tracing::warn!(%error, "Escrow's exchanges could not be declared");
        }
        let channel = live.channel().await?;
        live.rpc("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Open { live, channel })
    }
}

impl RabbitSink {
    async fn declare_exchanges(&self) -> Result<(), BusError> {
        let look = self.look.fresh().await?;
        topology::declare_exchanges(&look, &self.names).await.map(drop)
    }
}

impl Sink for RabbitSink {
    fn publish(&self, publications: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Published>, BusError>> {
        Box::pin(self.publish_all(publications))
    }

    fn look_at_queue(&self, queue: String) -> BoxFuture<'_, Result<Found, BusError>> {
        Box::pin(async move { self.find(&queue).await })
    }

    fn is_connected(&self) -> bool {
        self.link.live().is_some()
    }
}

/// Confirms and returns as they come in.
struct Tally {
    waiting: usize,
    words: Vec<Option<Confirmation>>,
    /// Why a message was returned, by its key.
    returned: HashMap<String, String>,
    fault: Option<Fault>,
}

impl Tally {
    fn new(letters: usize) -> Self {
        let words = (0..letters).map(|_| None).collect();
        Self { waiting: letters, words, returned: HashMap::new(), fault: None }
    }

    fn take(&mut self, n: usize, word: lapin::Result<Confirmation>) {
        self.waiting -= 1;
        match word {
            Ok(Confirmation::Ack(returned)) => {
                self.keep_returned(returned);
                self.words[n] = Some(Confirmation::Ack(None));
            }
            Ok(Confirmation::Nack(returned)) => {
                self.keep_returned(returned);
                self.words[n] = Some(Confirmation::Nack(None));
            }
            Ok(Confirmation::NotRequested) => {
                self.fault.get_or_insert(Fault::Gone("the channel does not confirm".into()));
            }
            Err(error) => {
                let fault = Fault::from(&error);
                // The reason of the broker, rather than the many calls that found the channel closed.
                if matches!(fault, Fault::Channel { .. }) || self.fault.is_none() {
                    self.fault = Some(fault);
                }
            }
        }
    }

    fn keep_returned(&mut self, returned: Option<BasicReturnMessage>) {
        let Some(returned) = returned else { return };
        let headers = returned.delivery.properties.headers().as_ref();
        let own = headers.and_then(|headers| headers.inner().get(OWN)).and_then(AMQPValue::as_long_string);
        if let Some(own) = own.and_then(|own| std::str::from_utf8(own.as_bytes()).ok()) {
            self.returned.insert(own_key(own).to_owned(), returned.reply_text.to_string());
        } else {
            tracing::warn!("a message without Escrow's header was returned");
        }
    }

    /// An acknowledged message may have its return still queued inside the client library, behind returns of messages that
    /// have no confirm yet. That needs such a message's return to have been handed out already, so: if every return handed
    /// out belongs to a message with a confirm, every acknowledgement can be believed, also when others are missing.
    fn outcome(self, letters: &[&Letter]) -> Outcome {
        let confirmed: std::collections::HashSet<&str> =
            letters.iter().zip(&self.words).filter(|(_, word)| word.is_some()).map(|(l, _)| l.key.as_str()).collect();
        let explained = self.returned.keys().all(|key| confirmed.contains(key.as_str()));
        let word = |letter: &&Letter, word: &Option<Confirmation>| match (self.returned.get(&letter.key), word) {
            (Some(why), _) => Some(letter.returned(why)),
            (None, Some(Confirmation::Ack(_))) if explained || !letter.mandatory => Some(Published::Confirmed),
            (None, Some(Confirmation::Nack(_))) => Some(Published::Refused(
                "the broker did not take it: a queue it is routed to is full and rejects, or has failed".into(),
            )),
            (None, Some(Confirmation::Ack(_) | Confirmation::NotRequested) | None) => None,
        };
        let words = letters.iter().zip(&self.words).map(|(letter, w)| word(letter, w)).collect();
        Outcome { words, fault: self.fault }
    }
}

impl Letter {
    fn returned(&self, why: &str) -> Published {
        match &self.queue {
            None => Published::Unroutable(format!(
                "nothing is bound to `{}` for the key `{}` ({why})",
                self.exchange, self.routing_key
            )),
            Some(queue) => Published::Withheld(format!(
                "there is no binding `{}` → `{queue}` with the key `{queue}`; an administrator makes it",
                self.exchange
            )),
        }
    }
}

async fn fly(channel: &Channel, n: usize, letter: &Letter) -> (usize, lapin::Result<Confirmation>) {
    let options = BasicPublishOptions { mandatory: letter.mandatory, ..BasicPublishOptions::default() };
    let (exchange, key) = (letter.exchange.clone(), letter.routing_key.clone());
    let sent = channel.basic_publish(exchange, key, options, &letter.body, letter.properties.clone()).await;
    match sent {
        Ok(confirm) => (n, confirm.await),
        Err(error) => (n, Err(error)),
    }
}

fn refuse(group: &[usize], text: &str, words: &mut [Option<Published>]) {
    for &n in group {
        words[n].get_or_insert_with(|| Published::Refused(text.to_owned()));
    }
}

fn own_key(own: &str) -> &str {
    own.split_once('.').map_or(own, |(key, _)| key)
}

fn no_word(live: &Live) -> String {
    let blocked = if live.is_blocked() { ": it blocks publishing (a memory or disk alarm)" } else { "" };
    format!("no word from the broker within {} s{blocked}", CONFIRM_TIMEOUT.as_secs())
}
