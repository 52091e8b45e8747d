//! The least a user needs on the broker, made from the same tables Escrow declares by.
//!
//! ```text
//!                 Escrow binds                                  an administrator binds
//!   configure     Escrow's own names                            nothing
//!   write         its exchanges, and to bind its queues         its exchanges
//!   read          its queues, and to bind watched exchanges     its queues
//! ```
//!
//! In both, writing on an exchange of the services is there only where a definition publishes to it, and on a topic exchange only
//! by the keys it uses. The broker's exchange without a name is never in it: that would be writing to every queue.

use std::collections::BTreeSet;

use lapin::ExchangeKind;
use serde_json::json;

use super::names::{Names, OwnName};
use super::topology::{self, Bound};
use crate::bus::BusError;
use crate::bus::plan::{
    Binder, Keys, Permissions, Plan, PlanFor, PlannedBinding, PlannedExchange, PlannedPolicy, PlannedQueue, Reach,
    TopicPermission,
};

/// Of all policies that match a queue the broker applies one: that of the highest priority. Above what people choose by hand.
const POLICY_PRIORITY: u32 = 1_000;

/// What an administrator can put in force for the Escrow called `whom.name`.
///
/// # Errors
/// `Misconfigured` when the name cannot be right.
pub fn plan(whom: PlanFor, bound: Bound, reach: &Reach) -> Result<Plan, BusError> {
    let names = Names::new(&whom.name)?;
    let watching = watching(&names, reach);
    let mut exchanges: Vec<PlannedExchange> = topology::exchanges(&names)
        .into_iter()
        .map(|(name, kind)| PlannedExchange {
            name: name.to_string(),
            kind: word(&kind).to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
        })
        .collect();
    if whom.binder == Binder::Administrator {
        exchanges.extend(declared(reach));
    }
    Ok(Plan {
        permissions: permissions(whom.binder, &names, reach),
        topic_permissions: topic_permissions(whom.binder, &names, reach),
        exchanges,
        queues: vec![
            queue(names.tap.as_str(), topology::tap_arguments(&names, bound)),
            queue(names.lost.as_str(), topology::lost_arguments()),
        ],
        bindings: own_bindings(&names, reach),
        watching,
        policies: vec![policy(
            &format!("escrow-{}", whom.name),
            &[names.tap.as_str(), names.lost.as_str()],
            json!({"overflow": "drop-head"}),
        )],
        operator_policies: vec![policy(
            &format!("escrow-{}", whom.name),
            &[names.tap.as_str()],
            json!({"max-length": bound.messages, "max-length-bytes": bound.bytes}),
        )],
        notes: notes(&whom, reach),
        whom,
    })
}

fn word(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Custom(kind) => kind,
    }
}

fn queue(name: &str, arguments: Vec<(&'static str, serde_json::Value)>) -> PlannedQueue {
    let arguments = arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    PlannedQueue { name: name.to_owned(), arguments }
}

fn policy(name: &str, queues: &[&str], definition: serde_json::Value) -> PlannedPolicy {
    PlannedPolicy { name: name.to_owned(), pattern: any_of(queues), definition, priority: POLICY_PRIORITY }
}

/// What the services would declare, where a definition says how.
fn declared(reach: &Reach) -> impl Iterator<Item = PlannedExchange> {
    reach.watched.iter().filter_map(|wanted| {
        let declare = wanted.declare.as_ref()?;
        Some(PlannedExchange {
            name: wanted.exchange.clone(),
            kind: declare.kind.clone(),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
        })
    })
}

pub(super) fn own_bindings(names: &Names, reach: &Reach) -> Vec<PlannedBinding> {
    let by_name = |source: &OwnName, queue: &OwnName| PlannedBinding {
        source: source.to_string(),
        queue: queue.to_string(),
        key: names.key.to_string(),
    };
    let mut bindings = vec![by_name(&names.canary_exchange, &names.tap), by_name(&names.lost_exchange, &names.lost)];
    bindings.extend(reach.retry_queues.iter().map(|queue| PlannedBinding {
        source: names.retry_exchange.to_string(),
        queue: queue.clone(),
        key: queue.clone(),
    }));
    bindings
}

pub(super) fn watching(names: &Names, reach: &Reach) -> Vec<PlannedBinding> {
    let one =
        |source: &str, key: String| PlannedBinding { source: source.to_owned(), queue: names.tap.to_string(), key };
    let of = |wanted: &crate::bus::Wanted| -> Vec<PlannedBinding> {
        wanted.binding_keys().into_iter().map(|key| one(&wanted.exchange, key)).collect()
    };
    reach.watched.iter().flat_map(of).collect()
}

fn permissions(binder: Binder, names: &Names, reach: &Reach) -> Permissions {
    let [tap, lost] = [names.tap.as_str(), names.lost.as_str()];
    let published = reach.published.keys().map(String::as_str);
    let to_publish = [&names.exchange, &names.canary_exchange, &names.retry_exchange].map(OwnName::as_str);
    let mut write: Vec<&str> = to_publish.to_vec();
    let mut read = vec![tap, lost];
    let configure = match binder {
        Binder::Administrator => "^$".to_owned(),
        Binder::Escrow => {
            let declared = reach.watched.iter().filter(|wanted| wanted.declare.is_some());
            let own = to_publish.into_iter().chain([names.lost_exchange.as_str(), tap, lost]);
            let configure: Vec<&str> = own.chain(declared.map(|wanted| wanted.exchange.as_str())).collect();
            // Binding writes to the queue and reads from the exchange; what a queue dead-letters to has to be writable.
            write.extend([names.lost_exchange.as_str(), tap, lost]);
            read.extend([names.canary_exchange.as_str(), names.lost_exchange.as_str()]);
            read.extend(reach.watched.iter().map(|wanted| wanted.exchange.as_str()));
            any_of(&configure)
        }
    };
    write.extend(published);
    Permissions { configure, write: any_of(&write), read: any_of(&read) }
}

fn topic_permissions(binder: Binder, names: &Names, reach: &Reach) -> Vec<TopicPermission> {
    let none = "^$".to_owned();
    let mut all = Vec::new();
    all.push(TopicPermission { exchange: names.exchange.to_string(), write: keys(&reach.told), read: none.clone() });
    let watched: BTreeSet<&str> = reach.watched.iter().map(|wanted| wanted.exchange.as_str()).collect();
    let touched: BTreeSet<&str> = watched.iter().copied().chain(reach.published.keys().map(String::as_str)).collect();
    for exchange in touched {
        let bound = reach.watched.iter().find(|wanted| wanted.exchange == exchange);
        let read = match (binder, bound) {
            (Binder::Escrow, Some(wanted)) => {
                let bound: Vec<String> = wanted.binding_keys();
                any_of(&bound.iter().map(String::as_str).collect::<Vec<_>>())
            }
            (Binder::Escrow, None) | (Binder::Administrator, _) => none.clone(),
        };
        let write = reach.published.get(exchange).map_or_else(|| none.clone(), keys);
        all.push(TopicPermission { exchange: exchange.to_owned(), write, read });
    }
    all
}

fn keys(keys: &Keys) -> String {
    match keys {
        Keys::Any => ".*".to_owned(),
        Keys::Some { exact, prefixes } => {
            let exact = exact.iter().map(|key| format!("{}$", literal(key)));
            let prefixes = prefixes.iter().map(|prefix| literal(prefix));
            match exact.chain(prefixes).collect::<Vec<_>>().as_slice() {
                [] => "^$".to_owned(),
                all => format!("^({})", all.join("|")),
            }
        }
    }
}

/// A regular expression for exactly these texts.
fn any_of(texts: &[&str]) -> String {
    let mut all: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    all.sort();
    all.dedup();
    format!("^({})$", all.join("|"))
}

fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut literal, it| {
        if r"\^$.|?*+()[]{}".contains(it) {
            literal.push('\\');
        }
        literal.push(it);
        literal
    })
}

fn notes(whom: &PlanFor, reach: &Reach) -> Vec<String> {
    let mut notes = vec![format!("the user `{}` has to exist; the plan holds no password", whom.user)];
    match whom.binder {
        Binder::Escrow => notes.push(
            "RabbitMQ's read permission does not tell exchanges from queues: it would let this user consume a queue named like a \
             watched exchange. Escrow never does; rename such a queue, or let an administrator bind"
                .to_owned(),
        ),
        Binder::Administrator => {
            notes.push(
                "Escrow cannot see bindings: a watched exchange that is not bound looks to it as if nothing was published, and its \
                 deadlines fire. Bind every exchange of the plan, and again whenever a service declares one anew"
                    .to_owned(),
            );
            notes.push(
                "exchanges have to exist before they are bound; apply the plan again once those that are missing now are there"
                    .to_owned(),
            );
        }
    }
    if !reach.looked_at.is_empty() {
        let queues: Vec<&str> = reach.looked_at.iter().map(String::as_str).collect();
        notes.push(format!(
            "Escrow looks at the queues {}, passively. RabbitMQ 3.10 asks for no right to do so, and the plan grants none. Where the \
             broker refuses it (4.3 asks for any one permission on the name), retries to the queue are withheld, and `why` cannot say \
             what is wrong with it, until you add one: write is the least, which lets this user bind and unbind the queue where it may \
             read the exchange, and publish to an exchange of that name, but neither consume nor delete it",
            queues.join(", ")
        ));
    }
    if reach.watched.iter().any(|wanted| wanted.declare.as_ref().is_some_and(|declare| declare.auto_delete)) {
        notes.push(
            "an auto-delete exchange is deleted with its last binding: never let the tap's be the last".to_owned(),
        );
    }
    if reach.published.values().any(|keys| *keys == Keys::Any) {
        notes.push(
            "some routing keys are known only when a message is sent: those exchanges are open for any key".to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Wanted;

    fn reach() -> Reach {
        let mut keys = Keys::default();
        keys.add(Some("refund.now"));
        let mut told = Keys::default();
        told.add_prefix("order.");
        let wanted = |exchange: &str, keys: Option<Vec<String>>| Wanted {
            exchange: exchange.to_owned(),
            keys,
            ..Wanted::default()
        };
        Reach {
            watched: vec![wanted("orders", None), wanted("shop+a", Some(vec!["order.*".to_owned()]))],
            retry_queues: BTreeSet::from(["inventory".to_owned()]),
            looked_at: BTreeSet::from(["billing".to_owned(), "inventory".to_owned()]),
            published: [("payments".to_owned(), keys)].into(),
            told,
        }
    }

    fn planned(binder: Binder) -> Plan {
        let whom = PlanFor { name: "a.b".to_owned(), user: "escrow".to_owned(), vhost: "/".to_owned(), binder };
        plan(whom, Bound::default(), &reach()).unwrap()
    }

    #[test]
    fn an_escrow_in_an_administrators_hands_configures_nothing_and_reads_its_own_queues_alone() {
        let Permissions { configure, write, read } = planned(Binder::Administrator).permissions;
        assert_eq!(configure, "^$");
        assert_eq!(write, r"^(escrow|escrow\.canary|escrow\.retry|payments)$");
        assert_eq!(read, r"^(escrow\.lost\.a\.b|escrow\.tap\.a\.b)$");
    }

    #[test]
    fn an_escrow_that_binds_reads_what_it_watches_and_writes_where_it_publishes() {
        let plan = planned(Binder::Escrow);
        assert!(plan.permissions.read.ends_with(r"|orders|shop\+a)$"), "{}", plan.permissions.read);
        assert!(plan.permissions.write.ends_with("|payments)$") && !plan.permissions.write.contains("orders"));
        assert!(!plan.permissions.configure.contains("orders"));
        let of = |exchange: &str| plan.topic_permissions.iter().find(|it| it.exchange == exchange).unwrap();
        assert_eq!((of("escrow").write.as_str(), of("payments").write.as_str()), (r"^(order\.)", r"^(refund\.now$)"));
        assert_eq!((of("shop+a").read.as_str(), of("shop+a").write.as_str()), (r"^(order\.\*)$", "^$"));
    }

    #[test]
    fn a_look_at_a_queue_is_told_of_and_gets_no_right_and_no_binding() {
        for binder in [Binder::Escrow, Binder::Administrator] {
            let plan = planned(binder);
            let told =
                plan.notes.iter().filter(|note| note.contains("looks at the queues billing, inventory, passively"));
            assert_eq!(told.count(), 1, "{:?}", plan.notes);
            let Permissions { configure, write, read } = &plan.permissions;
            assert!([configure, write, read].iter().all(|it| !it.contains("billing") && !it.contains("inventory")));
            assert!(plan.bindings.iter().all(|it| it.queue != "billing"), "nothing is published to it");
        }
        let whom = PlanFor { name: "a".into(), user: "u".into(), vhost: "/".into(), binder: Binder::Escrow };
        let nothing = plan(whom, Bound::default(), &Reach::default()).unwrap();
        assert!(nothing.notes.iter().all(|note| !note.contains("passively")), "where there is no such queue");
    }

    #[test]
    fn only_an_administrators_plan_makes_the_bindings_to_the_services() {
        let made = |binder| planned(binder).bindings_to_make().map(|it| it.source.clone()).collect::<Vec<_>>();
        assert_eq!(made(Binder::Escrow), ["escrow.canary", "escrow.lost", "escrow.retry"]);
        let all = made(Binder::Administrator);
        assert_eq!(all[3..], ["orders", "orders", "shop+a"], "`orders` by `#` and by the empty key");
    }
}
