//! What an administrator can put in force on a broker so that Escrow needs no more rights than it uses.
//!
//! A plan is a value: it is printed, reviewed, and applied by a person. Escrow never applies one.
//!
//! ```text
//!   definitions ─▶ Reach (watched, retried, published) ──┐
//!   name, bounds, who binds ─────────────────────────────┴─▶ Plan ─▶ commands for people, or a definitions file
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Wanted;

/// What the definitions make Escrow touch on a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Where the services publish.
    pub watched: Vec<Wanted>,
    /// Queues that get re-sent messages.
    pub retry_queues: BTreeSet<String>,
    /// Queues of services that are looked at, passively: those that get re-sent messages, and those `handled_by` names.
    pub looked_at: BTreeSet<String>,
    /// Exchanges Escrow publishes to besides its own, with the routing keys.
    pub published: BTreeMap<String, Keys>,
    /// The routing keys on Escrow's own exchange.
    pub told: Keys,
}

/// Routing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// These, and those that begin with one of the prefixes.
    Some { exact: BTreeSet<String>, prefixes: BTreeSet<String> },
    /// They are known only when a message is sent.
    Any,
}

impl Default for Keys {
    fn default() -> Self {
        Self::Some { exact: BTreeSet::new(), prefixes: BTreeSet::new() }
    }
}

impl Keys {
    /// Adds one key; `None` for one that is not known.
    pub fn add(&mut self, key: Option<&str>) {
        match (&mut *self, key) {
            (Self::Some { exact, .. }, Some(key)) => {
                exact.insert(key.to_owned());
            }
            (_, None) => *self = Self::Any,
            (Self::Any, Some(_)) => {}
        }
    }

    /// Adds every key that begins so.
    pub fn add_prefix(&mut self, prefix: &str) {
        if let Self::Some { prefixes, .. } = self {
            prefixes.insert(prefix.to_owned());
        }
    }
}

/// Who binds the tap to the services' exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binder {
    /// Escrow itself, as exchanges appear.
    Escrow,
    /// An administrator, who makes everything: Escrow may configure nothing and read nothing but its own queues.
    Administrator,
}

/// For whom a plan is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFor {
    /// As `--name`.
    pub name: String,
    pub user: String,
    pub vhost: String,
    pub binder: Binder,
}

/// An exchange as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedExchange {
    pub name: String,
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
}

/// A durable queue as it has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedQueue {
    pub name: String,
    pub arguments: BTreeMap<String, Value>,
}

/// From an exchange to a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedBinding {
    pub source: String,
    pub queue: String,
    pub key: String,
}

/// Regular expressions over names, as RabbitMQ takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub configure: String,
    pub write: String,
    pub read: String,
}

/// Regular expressions over routing keys of one topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    pub exchange: String,
    pub write: String,
    pub read: String,
}

/// A policy or an operator policy on Escrow's own queues.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPolicy {
    pub name: String,
    pub pattern: String,
    pub definition: Value,
    pub priority: u32,
}

/// Everything Escrow needs on a broker, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub whom: PlanFor,
    pub exchanges: Vec<PlannedExchange>,
    pub queues: Vec<PlannedQueue>,
    /// Among Escrow's own, and from `escrow.retry` to the queues that get re-sent messages.
    pub bindings: Vec<PlannedBinding>,
    /// From the services' exchanges to the tap.
    pub watching: Vec<PlannedBinding>,
    pub permissions: Permissions,
    pub topic_permissions: Vec<TopicPermission>,
    pub policies: Vec<PlannedPolicy>,
    /// No user can override these.
    pub operator_policies: Vec<PlannedPolicy>,
    /// What a person should know before applying it.
    pub notes: Vec<String>,
}

impl Plan {
    /// The bindings the administrator makes.
    pub fn bindings_to_make(&self) -> impl Iterator<Item = &PlannedBinding> {
        let watching = if self.whom.binder == Binder::Administrator { &self.watching[..] } else { &[] };
        self.bindings.iter().chain(watching)
    }

    /// A RabbitMQ definitions file, for `rabbitmqctl import_definitions`. It adds, and takes nothing away; the user has to be
    /// there already, so that no password is in it.
    pub fn definitions(&self) -> Value {
        let PlanFor { user, vhost, .. } = &self.whom;
        let exchange = |it: &PlannedExchange| {
            json!({"vhost": vhost, "name": it.name, "type": it.kind, "durable": it.durable,
                "auto_delete": it.auto_delete, "internal": it.internal, "arguments": {}})
        };
        let queue = |it: &PlannedQueue| json!({"vhost": vhost, "name": it.name, "durable": true, "auto_delete": false, "arguments": it.arguments});
        let binding = |it: &PlannedBinding| {
            json!({"vhost": vhost, "source": it.source, "destination": it.queue, "destination_type": "queue",
                "routing_key": it.key, "arguments": {}})
        };
        let topic = |it: &TopicPermission| json!({"vhost": vhost, "user": user, "exchange": it.exchange, "write": it.write, "read": it.read});
        let policy = |it: &PlannedPolicy| {
            json!({"vhost": vhost, "name": it.name, "pattern": it.pattern, "definition": it.definition,
                "priority": it.priority, "apply-to": "queues"})
        };
        let operator = |it: &PlannedPolicy| {
            json!({"vhost": vhost, "component": "operator_policy", "name": it.name, "value": {"pattern": it.pattern,
                "definition": it.definition, "priority": it.priority, "apply-to": "queues"}})
        };
        let Permissions { configure, write, read } = &self.permissions;
        json!({
            "permissions": [{"vhost": vhost, "user": user, "configure": configure, "write": write, "read": read}],
            "topic_permissions": self.topic_permissions.iter().map(topic).collect::<Vec<_>>(),
            "parameters": self.operator_policies.iter().map(operator).collect::<Vec<_>>(),
            "policies": self.policies.iter().map(policy).collect::<Vec<_>>(),
            "exchanges": self.exchanges.iter().map(exchange).collect::<Vec<_>>(),
            "queues": self.queues.iter().map(queue).collect::<Vec<_>>(),
            "bindings": self.bindings_to_make().map(binding).collect::<Vec<_>>(),
        })
    }
}
