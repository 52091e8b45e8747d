//! Escrow's consuming side of the bus.

use std::task::Poll;

use escrow::bus::GapKind;
use escrow::bus::{Batch, BusError, Item, Look, Receipt, Source, Tap, TapHealth, Wanted};
use escrow::saga::time::Moment;
use futures_util::future::BoxFuture;

use crate::model::Uid;
use crate::pace::point;
use crate::world::{Shared, lock};

/// What the store knows the tap by.
pub const TAP: &str = "escrow.tap.sim";

pub struct SimTap {
    pub world: Shared,
}

pub fn gone(why: &str) -> BusError {
    BusError::Disconnected(why.to_owned())
}

impl SimTap {
    fn open(&self) -> Result<Box<dyn Source>, BusError> {
        let mut world = lock(&self.world);
        let world = &mut *world;
        if !world.broker.up || world.chaos(5) {
            return Err(gone("the bus is away"));
        }
        let broker = &mut world.broker;
        if !broker.tap_exists {
            broker.tap_exists = true;
            broker.gap(GapKind::DeclaredAnew, "the tap was not there");
        } else if broker.ready.len() * 10 > broker.bound * 9 {
            broker.gap(GapKind::NearlyFull, "the tap was found nearly full");
        }
        let id = broker.number();
        let held = std::collections::BTreeMap::new();
        broker.consumers.push(crate::bus::Consumer { id, held, acks: Vec::new() });
        Ok(Box::new(SimSource { world: std::sync::Arc::clone(&self.world), id }))
    }
}

impl Tap for SimTap {
    fn name(&self) -> &str {
        TAP
    }

    fn source(&self) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        Box::pin(async move {
            point("bus.open").await;
            self.open()
        })
    }

    fn send_canary(&self, sent_at: Moment, carried: Option<Moment>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            point("bus.canary").await;
            let result = {
                let mut world = lock(&self.world);
                let world = &mut *world;
                if !world.broker.up || !world.broker.tap_exists || world.chaos(3) {
                    Err(gone("the bus is away"))
                } else {
                    let now = world.now();
                    world.broker.enqueue(&mut world.model, now, Item::Canary { sent_at, carried }, None);
                    if world.chaos(2) { Err(gone("the word on the canary was lost")) } else { Ok(()) }
                }
            };
            point("bus.canary.sent").await;
            result
        })
    }

    fn look(&self, wanted: Vec<Wanted>) -> BoxFuture<'_, Result<Vec<Look>, BusError>> {
        Box::pin(async move {
            point("bus.look").await;
            let looks = {
                let mut world = lock(&self.world);
                let world = &mut *world;
                if !world.broker.up || world.broker.looks_fail_until > world.now() || world.chaos(3) {
                    return Err(gone("the bus is away"));
                }
                let (forbids, tap_exists) = (world.broker.forbids, world.broker.tap_exists);
                let look = |wanted: Wanted| {
                    let exchange = world.broker.exchanges.entry(wanted.exchange.clone()).or_default();
                    if forbids {
                        let problem = Some("403 ACCESS_REFUSED".to_owned());
                        return Look { exchange: wanted.exchange, found: false, bound: false, problem };
                    }
                    exchange.bound |= exchange.present && tap_exists;
                    let (found, bound) = (exchange.present, exchange.present && exchange.bound);
                    let problem = (found && !bound).then(|| "there is no tap to bind".to_owned());
                    Look { exchange: wanted.exchange, found, bound, problem }
                };
                wanted.into_iter().map(look).collect()
            };
            point("bus.looked").await;
            Ok(looks)
        })
    }

    fn unbind(&self, _exchange: String, _keys: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn health(&self) -> TapHealth {
        TapHealth::default()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct SimSource {
    world: Shared,
    id: u64,
}

impl Drop for SimSource {
    fn drop(&mut self) {
        lock(&self.world).broker.close(self.id);
    }
}

impl Source for SimSource {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>> {
        Box::pin(async move {
            point("bus.next").await;
            // The schedule asks again whenever something moved.
            std::future::poll_fn(|_| self.take()).await
        })
    }
}

impl SimSource {
    fn take(&mut self) -> Poll<Result<Batch, BusError>> {
        let mut world = lock(&self.world);
        let world = &mut *world;
        let cap = if world.chance.percent(60) { 5 } else { 60 };
        let cap = world.chance.below(cap) + 1;
        if world.broker.consumer(self.id).is_none() {
            return Poll::Ready(Err(gone("the consumer was cancelled")));
        }
        let Some((taken, gaps)) = world.broker.take(self.id, cap) else { return Poll::Pending };
        let is_full = taken.len() >= cap;
        let is_fresh = taken.iter().any(|(_, queued)| !queued.redelivered);
        let mut items: Vec<Item> = gaps.iter().map(|(_, gap)| Item::Gap(gap.clone())).collect();
        let mut uids = Vec::new();
        let now = world.now();
        for (_, queued) in &taken {
            uids.extend(queued.uid);
            items.push(match &queued.item {
                Item::Delivery(delivery) => {
                    let mut delivery = delivery.clone();
                    delivery.redelivered = queued.redelivered;
                    Item::Delivery(delivery)
                }
                Item::Canary { sent_at, carried } => {
                    world.broker.last_lag = Some((*sent_at, now));
                    Item::Canary { sent_at: *sent_at, carried: *carried }
                }
                Item::Gap(gap) => Item::Gap(gap.clone()),
            });
        }
        world.trace.note(format_args!("batch {} of {uids:?}, {} gaps", items.len(), gaps.len()));
        let lag = world.broker.last_lag.map(|(sent, back)| back.since(sent));
        let receipt = SimReceipt {
            world: std::sync::Arc::clone(&self.world),
            id: self.id,
            numbers: taken.iter().map(|(number, _)| *number).collect(),
            gaps: gaps.iter().map(|(number, _)| *number).collect(),
            done: false,
        };
        Poll::Ready(Ok(Batch { tap: Some(TAP.to_owned()), items, lag, is_fresh, is_full, receipt: Box::new(receipt) }))
    }
}

struct SimReceipt {
    world: Shared,
    id: u64,
    numbers: Vec<u64>,
    gaps: Vec<u64>,
    done: bool,
}

impl Receipt for SimReceipt {
    fn ack(mut self: Box<Self>, settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        Box::pin(async move {
            point("bus.ack").await;
            let result = {
                let mut world = lock(&self.world);
                let world = &mut *world;
                if world.chaos(15) {
                    world.count("fault: acknowledgement lost with its connection");
                    world.broker.close(self.id);
                }
                // Without waiting for the broker an acknowledgement may be on its way for long, and be lost there.
                let at_once = settle || !world.chaos(20);
                match world.broker.ack(self.id, &self.numbers, &self.gaps, at_once) {
                    Some(uids) => {
                        forgotten(world, &uids);
                        self.done = true;
                        Ok(())
                    }
                    None => Err(gone("the consumer of this batch is over")),
                }
            };
            point("bus.acked").await;
            result
        })
    }
}

impl Drop for SimReceipt {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.world).broker.close(self.id);
        }
    }
}

/// The broker forgot these messages: now nobody can bring them again.
pub fn forgotten(world: &mut crate::world::World, uids: &[Uid]) {
    let (judge, model) = (&mut world.judge, &world.model);
    judge.acknowledged(model, uids);
}
