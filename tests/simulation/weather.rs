//! What goes wrong on the bus and with the database for a while, and how it ends.

use escrow::saga::time::{Moment, Span};

use crate::definitions::{EXCHANGES, step_name};
use crate::world::{Act, Fault, World};

/// A fault begins, or ends.
pub fn fault(world: &mut World, fault: Fault) {
    match fault {
        Fault::DatabaseAway => {
            world.count("fault: database away for a while");
            let millis = world.chance.between(500, 20_000);
            world.away_until = world.now() + Span::from_millis(millis);
        }
        Fault::BusAway => {
            world.count("fault: bus away for a while");
            world.broker.up = false;
            world.broker.close_all();
            world.after_ms(500, 20_000, Act::Fault(Fault::BusBack));
        }
        Fault::BusBack => world.broker.up = true,
        Fault::ConsumersCancelled => {
            world.count("fault: consumer cancelled");
            world.broker.close_all();
        }
        Fault::TapDeleted => {
            world.count("fault: tap deleted");
            let now = world.now();
            world.broker.delete_tap(&mut world.model, now);
        }
        Fault::ExchangeGone => {
            // One that comes and goes between two looks is not noticed: no promise is made about it.
            if !world.broker.is_bound(EXCHANGES[1]) {
                return;
            }
            world.count("fault: exchange gone");
            set_exchange(world, false);
            world.after_ms(5_000, 30_000, Act::Fault(Fault::ExchangeBack));
        }
        Fault::ExchangeBack => {
            let known = world.broker.exchanges.get(EXCHANGES[1]).is_some_and(|it| it.present || it.absence_known);
            if known {
                set_exchange(world, true);
                if world.chance.percent(70) && !world.calm {
                    world.count("fault: looks unanswered");
                    let millis = world.chance.between(1_000, 20_000);
                    world.broker.looks_fail_until = world.now() + Span::from_millis(millis);
                }
            } else {
                world.after_ms(1_000, 5_000, Act::Fault(Fault::ExchangeBack));
            }
        }
        Fault::LooksForbidden => {
            world.count("fault: looks refused");
            world.broker.forbids = true;
            world.after_ms(2_000, 20_000, Act::Fault(Fault::LooksAllowed));
        }
        Fault::LooksAllowed => world.broker.forbids = false,
        Fault::Deaf => {
            world.count("fault: nobody listens");
            for step in 0..6 {
                if world.chance.percent(50) {
                    world.broker.deaf.insert(step_name(step));
                }
            }
            world.after_ms(5_000, 60_000, Act::Fault(Fault::Hearing));
        }
        Fault::Hearing => world.broker.deaf.clear(),
        Fault::QueueBusy => {
            world.count("fault: queue without consumer");
            world.broker.busy.extend((0..6).map(step_name));
            world.after_ms(5_000, 60_000, Act::Fault(Fault::QueueFree));
        }
        Fault::QueueFree => world.broker.busy.clear(),
        Fault::Crash(_) | Fault::Restart(_) | Fault::Pause(_) | Fault::Stall(_) => {}
    }
}

fn set_exchange(world: &mut World, present: bool) {
    if let Some(exchange) = world.broker.exchanges.get_mut(EXCHANGES[1]) {
        exchange.absence_known &= present == exchange.present;
        (exchange.present, exchange.bound) = (present, exchange.bound && exchange.present && present);
    }
}

/// Everything is well from here on.
pub fn heal(world: &mut World) {
    world.away_until = Moment(0);
    world.broker.up = true;
    world.broker.forbids = false;
    world.broker.looks_fail_until = Moment(0);
    world.broker.deaf.clear();
    world.broker.busy.clear();
    for id in world.broker.consumers.iter().map(|consumer| consumer.id).collect::<Vec<_>>() {
        let uids = world.broker.process_acks(id);
        crate::tap::forgotten(world, &uids);
    }
    fault(world, Fault::ExchangeBack);
}
