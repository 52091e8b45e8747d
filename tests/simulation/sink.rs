//! Escrow's publishing side of the bus, and who hears what it says.

use escrow::bus::{BusError, Item, Publication, Published, Sink, Target};
use escrow::saga::queue::Found;
use futures_util::future::BoxFuture;
use serde_json::Value;
use uuid::Uuid;

use crate::bus::delivery;
use crate::pace::point;
use crate::tap::gone;
use crate::world::{Shared, World, lock};

pub struct SimSink {
    pub world: Shared,
}

impl Sink for SimSink {
    fn publish(&self, publications: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Published>, BusError>> {
        Box::pin(async move {
            point("bus.publish").await;
            let mut words = Vec::new();
            for publication in publications {
                let word = {
                    let mut world = lock(&self.world);
                    if !world.broker.up || world.chaos(2) {
                        return Err(gone("the bus went away while publishing"));
                    }
                    publish(&mut world, &publication)
                };
                words.push(word);
                point("bus.published").await;
            }
            Ok(words)
        })
    }

    fn look_at_queue(&self, queue: String) -> BoxFuture<'_, Result<Found, BusError>> {
        Box::pin(async move {
            point("bus.queue").await;
            let mut world = lock(&self.world);
            if !world.broker.up || world.chaos(3) {
                return Err(gone("the bus is away"));
            }
            Ok(found(&world, &queue))
        })
    }

    fn is_connected(&self) -> bool {
        lock(&self.world).broker.up
    }
}

/// A busy queue has nobody who reads it.
fn found(world: &World, queue: &str) -> Found {
    Found::counted(0, u64::from(!world.broker.busy.contains(queue)))
}

fn publish(world: &mut World, publication: &Publication) -> Published {
    let word = route(world, publication);
    let delivered = word == Published::Confirmed;
    let is_lost = word == Published::Confirmed && world.chaos(6);
    let said = (!is_lost).then(|| word.clone());
    let Ok(key) = publication.key.parse::<Uuid>() else { return word };
    let header = publication.envelope.headers.get("message_id_was").and_then(Value::as_str);
    let original = original_id(world, publication);
    let message_id = publication.envelope.property("message_id");
    world.judge.sent(key, message_id, original.as_deref().or(header), said);
    world.trace.note(format_args!("sent {:?} {word:?} lost={is_lost}", publication.target));
    *world.counts.entry("messages published by Escrow").or_default() += 1;
    if delivered {
        crate::services::hear(world, key);
    }
    if is_lost {
        *world.counts.entry("fault: word of the broker lost").or_default() += 1;
        return Published::Unknown("the connection was lost before the confirm".to_owned());
    }
    match &word {
        Published::Unroutable(_) => *world.counts.entry("fault: returned as unroutable").or_default() += 1,
        Published::Refused(_) => *world.counts.entry("fault: refused").or_default() += 1,
        Published::Withheld(_) => *world.counts.entry("fault: withheld").or_default() += 1,
        Published::Confirmed | Published::Unknown(_) => {}
    }
    word
}

/// A retry goes out under the id the message had.
fn original_id(world: &World, publication: &Publication) -> Option<String> {
    let uid = publication.envelope.headers.get(crate::check::tap::UID)?.as_u64()?;
    world.model.messages[usize::try_from(uid).ok()?].id.clone()
}

fn route(world: &mut World, publication: &Publication) -> Published {
    let (exchange, routing_key) = match &publication.target {
        Target::Queue(queue) if !found(world, queue).can_take() => {
            return Published::Withheld(found(world, queue).words(queue));
        }
        Target::Queue(_) => return Published::Confirmed,
        Target::Exchange { exchange, routing_key } => (exchange.clone(), routing_key.clone()),
    };
    if world.chaos(1) {
        return Published::Refused("nacked".to_owned());
    }
    let is_watched = world.broker.exchanges.contains_key(&exchange);
    if is_watched && !world.broker.exchanges[&exchange].present {
        return Published::Refused(format!("no exchange `{exchange}`"));
    }
    let into_tap = world.broker.is_bound(&exchange);
    if into_tap {
        let now = world.now();
        let own = delivery(&exchange, &routing_key, publication.envelope.clone(), publication.body.clone());
        world.broker.enqueue(&mut world.model, now, Item::Delivery(own), None);
    }
    let listens = !world.broker.deaf.iter().any(|step| routing_key.split('.').any(|word| word == step));
    if publication.mandatory && !listens && !into_tap {
        return Published::Unroutable(format!("nothing is bound to `{exchange}` for `{routing_key}`"));
    }
    Published::Confirmed
}
