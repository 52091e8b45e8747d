//! `escrow rabbit`: what an administrator may put in force, and the kill switch.
//!
//! ```text
//!   plan     definitions ─▶ reach ─▶ plan, for a person to apply
//!   unbind   the switch in the database first, so that nobody binds again ─▶ then the bindings on the broker
//!   bind     the switch back: a running Escrow binds at its next look, and records the gap
//! ```

use std::sync::Arc;

use anyhow::Context as _;

use super::{TAP, read_definitions};
use crate::bus::plan::{Binder, Plan, PlanFor};
use crate::bus::{BusError, Unbinding, rabbitmq};
use crate::config::{BindConfig, Definitions, PlanConfig, UnbindConfig};
use crate::saga::catalog::Catalog;
use crate::store::{self, Store, SwitchTo};
use crate::worker::reach::reach;
use crate::worker::{definitions, looks};

/// Says what Escrow needs on a broker. Asks no broker.
///
/// # Errors
/// The definitions cannot be read.
pub async fn plan(config: PlanConfig) -> anyhow::Result<Plan> {
    let (catalog, store) = read(&config.definitions).await?;
    if let Some(store) = store {
        store.close().await;
    }
    let binder = if config.bound_by_administrator { Binder::Administrator } else { Binder::Escrow };
    let whom = PlanFor { name: config.name, user: config.user, vhost: config.vhost, binder };
    Ok(rabbitmq::plan(whom, TAP.bound, &reach(&catalog))?)
}

/// Takes the tap from the services' exchanges and keeps it away.
///
/// # Errors
/// The switch is not set; or it is, and what the broker did is not known. An error that holds a `BusError` is the broker's.
pub async fn unbind(config: UnbindConfig) -> anyhow::Result<Vec<Unbinding>> {
    let (catalog, store) = read(&config.definitions).await?;
    let mut all: Vec<Unbinding> = looks::wanted(&catalog)
        .into_iter()
        .map(|wanted| Unbinding {
            keys: wanted.binding_keys(),
            is_auto_delete: wanted.declare.map(|declare| declare.auto_delete),
            exchange: wanted.exchange,
            outcome: None,
        })
        .collect();
    let would_delete = all.iter().any(|it| it.is_auto_delete == Some(true)) && !config.force;
    if !config.dry_run && !would_delete {
        if let Some(store) = &store {
            let UnbindConfig { actor, reason, .. } = &config;
            let to = switch(&config.name, true, actor, reason);
            store.set_switch(to).await.context("the switch cannot be set")?;
        }
        let from = all.iter().map(|it| (it.exchange.clone(), it.keys.clone())).collect();
        let answers = rabbitmq::unbind(&config.amqp_url, &config.name, from).await?;
        for (one, answer) in all.iter_mut().zip(answers) {
            one.outcome = Some(answer.map_err(|error| match error {
                BusError::Disconnected(why) | BusError::Misconfigured(why) => why,
            }));
        }
    }
    if let Some(store) = store {
        store.close().await;
    }
    Ok(all)
}

/// Gives the tap back to the looks.
///
/// # Errors
/// Nothing was changed.
pub async fn bind(config: BindConfig) -> anyhow::Result<()> {
    let store = store::connect(&config.database_url).await.context("the database cannot be opened")?;
    let set = store.set_switch(switch(&config.name, false, &config.actor, &config.reason)).await;
    store.close().await;
    Ok(set?)
}

fn switch(name: &str, unbound: bool, actor: &str, reason: &str) -> SwitchTo {
    // As the tap is called on the bus.
    SwitchTo { tap: rabbitmq::names::tap_of(name), unbound, actor: actor.to_owned(), reason: reason.to_owned() }
}

/// The definitions, and the database where they are from there.
async fn read(from: &Definitions) -> anyhow::Result<(Catalog, Option<Arc<dyn Store>>)> {
    match from {
        Definitions::Files(path) => {
            let sagas = definitions::parse_all(read_definitions(path)?)?;
            Ok((sagas.into_iter().map(|(_, saga)| Arc::new(saga)).collect(), None))
        }
        Definitions::Stored { database_url } => {
            let store = store::connect(database_url).await.context("the database cannot be opened")?;
            Ok((definitions::load(store.as_ref()).await?, Some(store)))
        }
    }
}
