//! What a batch is decided on: everything a [`Lookup`] names, with the order rows locked in key order.
//!
//! Locks are taken in one sequence by everybody, so no two transactions wait for each other in a circle: the counters of
//! sagas placed by arrival, by name; then orders, by saga and id; then the states of sagas whose brake is asked, by name. `now` is
//! read after the last lock.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{self, int};
use super::saga_states;
use super::session::{Failure, Session};
use super::statement::{Bind, Rows, columns, sql};
use super::{StoreError, StoredPayload};
use crate::faults::Step as _;
use crate::saga::batch::{Loaded, Lookup};
use crate::saga::order::{Digest, Order, OrderKey};

/// Loads and locks.
pub async fn load(session: &mut dyn Session, lookup: &Lookup) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    let mut lines = load_lines(session, lookup, &mut loaded).await?;
    let wanted: Vec<&OrderKey> = lookup.orders.iter().chain(lines.values().flatten()).collect();
    load_orders(session, &wanted, &mut loaded).await?;
    loaded.states = saga_states::lock(session, lookup.states.iter().cloned().collect()).at("store.lock_states").await?;
    load_circumstances(session, lookup, &wanted, &mut loaded).await?;
    for line in lines.values_mut() {
        // Between finding and locking it, an order may have come to its end.
        line.retain(|key| loaded.orders.get(key).is_some_and(|order| !order.life.status.is_ended()));
    }
    loaded.lines = lines;
    load_stored_events(session, lookup, &mut loaded).await?;
    Ok(loaded)
}

/// `(saga, order_id)` as bulk input.
pub fn key_rows<'a>(keys: impl IntoIterator<Item = &'a OrderKey>) -> Bind {
    let keys: Vec<&OrderKey> = keys.into_iter().collect();
    Bind::Rows(columns!(keys; Text(|key| key.saga.clone()), Text(|key| key.order_id.clone())))
}

async fn load_lines(
    session: &mut dyn Session,
    lookup: &Lookup,
    loaded: &mut Loaded,
) -> Result<BTreeMap<String, Vec<OrderKey>>, Failure> {
    if lookup.arrivals.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sagas: Vec<String> = lookup.arrivals.keys().cloned().collect();
    session.execute(sql!("create_counters"), vec![Bind::Texts(sagas.clone())]).at("store.create_counters").await?;
    for row in session.fetch(sql!("lock_counters"), vec![Bind::Texts(sagas)]).at("store.lock_counters").await? {
        loaded.counters.insert(row.get("saga")?, rows::number(&row, "last")?);
    }
    let mut lines: BTreeMap<_, Vec<_>> = lookup.arrivals.keys().map(|saga| (saga.clone(), Vec::new())).collect();
    let wanted: Vec<_> = lookup.arrivals.iter().collect();
    let wanted: Rows = columns!(wanted; Text(|it| it.0.clone()), Int(|it| rows::limit(*it.1)));
    for row in session.fetch(sql!("open_lines"), vec![Bind::Rows(wanted)]).at("store.open_lines").await? {
        let key = rows::key(&row)?;
        lines.entry(key.saga.clone()).or_default().push(key);
    }
    Ok(lines)
}

async fn load_orders(session: &mut dyn Session, wanted: &[&OrderKey], loaded: &mut Loaded) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    for row in
        session.fetch(sql!("lock_orders"), vec![key_rows(wanted.iter().copied())]).at("store.lock_orders").await?
    {
        let key = rows::key(&row)?;
        match rows::order(&row) {
            Ok(order) => drop(loaded.orders.insert(key, order)),
            Err(StoreError::Corrupt(why)) => drop(loaded.corrupt.insert(key, why)),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

async fn load_circumstances(
    session: &mut dyn Session,
    lookup: &Lookup,
    wanted: &[&OrderKey],
    loaded: &mut Loaded,
) -> Result<(), Failure> {
    let sagas: BTreeSet<&String> = wanted.iter().map(|key| &key.saga).chain(lookup.arrivals.keys()).collect();
    let binds = vec![
        Bind::OptText(lookup.tap.clone()),
        Bind::OptText(lookup.idempotency_key.clone()),
        key_rows(wanted.iter().copied()),
        Bind::Texts(sagas.into_iter().cloned().collect()),
        Bind::Now,
    ];
    for row in session.fetch(sql!("circumstances"), binds).at("store.circumstances").await? {
        loaded.now = rows::moment(&row, "now")?;
        loaded.doubts = rows::from_json("doubts", row.get::<&str>("doubts")?)?;
        loaded.modes = rows::from_json("modes", row.get::<&str>("modes")?)?;
        let hashes: Option<&[u8]> = row.get("last_batch")?;
        let (hashes, rest) = hashes.unwrap_or_default().as_chunks::<{ size_of::<Digest>() }>();
        if !rest.is_empty() {
            return Err(StoreError::Corrupt("the hashes of the tap's last batch are cut off".to_owned()).into());
        }
        loaded.last_batch = hashes.to_vec();
        loaded.watermark = rows::opt_moment(&row, "watermark")?;
        loaded.committed_at = rows::opt_moment(&row, "committed_at")?;
        let answered: Option<i64> = row.get("answered")?;
        loaded.answered = answered.and_then(|sequence| u64::try_from(sequence).ok());
    }
    Ok(())
}

/// The messages that finished and triggered steps remember.
async fn load_stored_events(session: &mut dyn Session, lookup: &Lookup, loaded: &mut Loaded) -> Result<(), Failure> {
    let named: Vec<(&OrderKey, u64)> = loaded
        .orders
        .values()
        .filter(|order| lookup.sagas_reading_events.contains(&order.key.saga))
        .flat_map(|order| remembered(order).into_iter().map(|sequence| (&order.key, sequence)))
        .collect();
    for (key, sequence, payload) in payloads(session, &named).await? {
        loaded.stored_events.insert((key, sequence), payload);
    }
    Ok(())
}

fn remembered(order: &Order) -> Vec<u64> {
    let mut sequences: Vec<u64> = order
        .steps
        .iter()
        .flat_map(|step| {
            let sightings = step.event.iter().chain(&step.trigger).map(|sighting| sighting.sequence);
            sightings.chain(step.parts.values().copied())
        })
        .collect();
    sequences.sort_unstable();
    sequences.dedup();
    sequences
}

/// The stored messages of these journal entries, those that are there.
pub async fn payloads(
    session: &mut dyn Session,
    named: &[(&OrderKey, u64)],
) -> Result<Vec<(OrderKey, u64, StoredPayload)>, Failure> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Rows = columns!(named;
        Text(|it| it.0.saga.clone()), Text(|it| it.0.order_id.clone()), Int(|it| int(it.1)));
    let found = session.fetch(sql!("payloads"), vec![Bind::Rows(wanted)]).at("store.payloads").await?;
    found.iter().map(read_payload).collect()
}

fn read_payload(row: &super::statement::Row) -> Result<(OrderKey, u64, StoredPayload), Failure> {
    let payload = StoredPayload {
        salt: rows::bytes(row, "salt")?,
        body: row.get("body")?,
        body_hash: rows::bytes(row, "body_hash")?,
        envelope: rows::from_json("envelope", row.get::<&str>("envelope")?)?,
        exchange: row.get("exchange")?,
        routing_key: row.get("routing_key")?,
        message_id: row.get("message_id")?,
    };
    Ok((rows::key(row)?, rows::number(row, "sequence")?, payload))
}
