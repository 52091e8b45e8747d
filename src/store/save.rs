//! What a batch changed, in bulk: one statement for each table, whatever the size of the batch.

use std::collections::BTreeMap;

use super::StoreError;
use super::coverage;
use super::load::key_rows;
use super::quarantine::doubt_word;
use super::rows::{self, Searched, int, without_nul};
use super::saga_states;
use super::session::{Failure, Session};
use super::statement::{Bind, Rows, columns, sql};
use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::batch::{Changes, Loaded, NewDoubt, Quarantined, Resolved, SavedOrder, SavedPayload, Sealed};
use crate::saga::input::{MessageRef, Verdict};
use crate::saga::journal::Kind;
use crate::saga::order::OrderKey;
use crate::saga::outgoing::Outgoing;
use crate::saga::time::Moment;

/// Saves what belongs to the batch alone; nothing of it is seen by others before the commit.
pub async fn save(session: &mut dyn Session, loaded: &Loaded, changes: &Changes) -> Result<(), Failure> {
    save_orders(session, &changes.orders).await?;
    save_attributes(session, loaded, &changes.orders).await?;
    save_journal(session, &changes.orders).await?;
    saga_states::save(session, &changes.states).await?;
    save_payloads(session, &changes.payloads, &changes.orders).await?;
    withdraw(session, &changes.withdrawn, loaded.now).await?;
    save_outbox(session, &changes.outbox, loaded.now).await?;
    settle(session, &changes.settled, loaded.now).await?;
    let quarantined = save_quarantined(session, &changes.quarantined, loaded.now).await?;
    save_doubts(session, &changes.doubts, &quarantined, loaded.now).await?;
    resolve(session, &changes.resolved, loaded.now).await
}

/// Saves what every batch writes to: last, so that these rows are held no longer than the commit takes.
pub async fn save_progress(session: &mut dyn Session, loaded: &Loaded, changes: &Changes) -> Result<(), Failure> {
    save_place(session, changes, loaded.now).await?;
    coverage::save(session, &changes.coverage, loaded.now).at("store.save_coverage").await
}

/// A saved order with the columns made for it.
type OrderRow<'a> = (&'a SavedOrder, Searched, String, String);

async fn save_orders(session: &mut dyn Session, orders: &[SavedOrder]) -> Result<(), Failure> {
    let (new, known): (Vec<_>, Vec<_>) = orders.iter().partition(|saved| saved.is_new);
    if !new.is_empty() {
        let inserted =
            session.execute(sql!("insert_orders"), vec![order_rows(&new)?]).at("store.insert_orders").await?;
        if inserted < new.len() as u64 {
            return Err(Failure::conflict("someone else began the same order"));
        }
    }
    if !known.is_empty() {
        let updated =
            session.execute(sql!("update_orders"), vec![order_rows(&known)?]).at("store.update_orders").await?;
        if updated < known.len() as u64 {
            let why = "a changed order was not among those loaded, or its trail has another length";
            return Err(StoreError::Corrupt(why.to_owned()).into());
        }
    }
    Ok(())
}

fn order_rows(orders: &[&SavedOrder]) -> Result<Bind, StoreError> {
    let made = |saved: &&SavedOrder| -> Result<_, StoreError> {
        Ok((rows::state(&saved.order)?, rows::json(&saved.order.attributes)?))
    };
    let mut all: Vec<OrderRow<'_>> = Vec::with_capacity(orders.len());
    for saved in orders {
        let (state, attributes) = made(saved)?;
        all.push((saved, Searched::of(saved), state, attributes));
    }
    Ok(Bind::Rows(columns!(all;
        Text(|it| it.0.order.key.saga.clone()),
        Text(|it| it.0.order.key.order_id.clone()),
        Int(|it| i64::from(it.0.order.version)),
        Text(|it| it.0.order.life.status.word().to_owned()),
        Text(|it| it.2.clone()),
        Bytes(|it| it.0.order.seen.concat()),
        Text(|it| it.3.clone()),
        OptInt(|it| it.0.order.next_due().map(|at| at.0)),
        Text(|it| it.1.waiting.clone()),
        OptInt(|it| it.1.waiting_since),
        OptText(|it| it.1.reason.clone()),
        OptText(|it| it.1.stuck_step.clone()),
        OptInt(|it| it.1.stuck_since),
        Int(|it| it.0.order.created_at.0),
        Int(|it| it.0.order.updated_at.0),
        Int(|it| int(it.0.order.sequence)),
        Bytes(|it| it.0.order.head.to_vec()),
        Int(|it| int(it.0.order.duplicates)),
        Text(|it| rows::earlier_text(&it.0.order.earlier)),
        Int(|it| int(it.0.entries.len() as u64)),
    )))
}

/// The search rows of an order's attributes: name, value, the order's creation, and its key.
fn searched<'a>(order: &'a crate::saga::order::Order) -> Vec<(String, String, Moment, &'a OrderKey)> {
    let row = |(name, attribute): (&String, &_)| {
        (name.clone(), rows::searched_attribute(attribute), order.created_at, &order.key)
    };
    order.attributes.iter().map(row).collect::<Vec<(String, String, Moment, &'a OrderKey)>>()
}

async fn save_attributes(session: &mut dyn Session, loaded: &Loaded, orders: &[SavedOrder]) -> Result<(), Failure> {
    let (mut gone, mut fresh) = (Vec::new(), Vec::new());
    for saved in orders.iter().filter(|saved| saved.attributes_changed) {
        let before = loaded.orders.get(&saved.order.key).map(searched).unwrap_or_default();
        let after = searched(&saved.order);
        gone.extend(before.iter().filter(|row| !after.contains(row)).cloned());
        fresh.extend(after.into_iter().filter(|row| !before.contains(row)));
    }
    for (statement, rows) in [(sql!("delete_attributes"), gone), (sql!("insert_attributes"), fresh)] {
        if rows.is_empty() {
            continue;
        }
        let rows: Rows = columns!(rows;
            Text(|it| it.0.clone()), Text(|it| it.1.clone()), Int(|it| it.2.0),
            Text(|it| it.3.saga.clone()), Text(|it| it.3.order_id.clone()));
        session.execute(statement, vec![Bind::Rows(rows)]).at("store.save_attributes").await?;
    }
    Ok(())
}

async fn save_journal(session: &mut dyn Session, orders: &[SavedOrder]) -> Result<(), Failure> {
    let entries: Vec<_> =
        orders.iter().flat_map(|saved| saved.entries.iter().map(|sealed| (&saved.order.key, sealed))).collect();
    save_entries(session, &entries).await
}

/// Appends entries to their trails.
pub async fn save_entries(session: &mut dyn Session, entries: &[(&OrderKey, &Sealed)]) -> Result<(), Failure> {
    if entries.is_empty() {
        return Ok(());
    }
    let rows: Rows = columns!(entries;
        Text(|it| it.0.saga.clone()),
        Text(|it| it.0.order_id.clone()),
        Int(|it| int(it.1.entry.sequence)),
        Int(|it| it.1.entry.at.0),
        Text(|it| Kind::word(it.1.entry.kind).to_owned()),
        OptText(|it| it.1.entry.actor.clone()),
        Text(|it| it.1.text.clone()),
        Bytes(|it| it.1.hash.to_vec()));
    session.execute(sql!("insert_journal"), vec![Bind::Rows(rows)]).at("store.insert_journal").await?;
    Ok(())
}

async fn save_payloads(
    session: &mut dyn Session,
    payloads: &[SavedPayload],
    orders: &[SavedOrder],
) -> Result<(), Failure> {
    if payloads.is_empty() {
        return Ok(());
    }
    let messages: BTreeMap<(&OrderKey, u64), &MessageRef> = orders
        .iter()
        .flat_map(|saved| saved.entries.iter().map(|sealed| (&saved.order.key, &sealed.entry)))
        .filter_map(|(key, entry)| Some(((key, entry.sequence), entry.body.message.as_ref()?)))
        .collect();
    let message = |it: &SavedPayload| messages.get(&(&it.order, it.sequence)).copied();
    let rows: Rows = columns!(payloads;
        Text(|it| it.order.saga.clone()),
        Text(|it| it.order.order_id.clone()),
        Int(|it| int(it.sequence)),
        Bytes(|it| it.payload.salt.to_vec()),
        OptBytes(|it| it.payload.body.clone()),
        Bytes(|it| it.payload.body_hash.to_vec()),
        Text(|it| it.payload.envelope.clone()),
        Text(|it| message(it).map(|message| message.exchange.clone()).unwrap_or_default()),
        Text(|it| message(it).map(|message| message.routing_key.clone()).unwrap_or_default()),
        Text(|it| message(it).map(|message| message.id.clone()).unwrap_or_default()));
    session.execute(sql!("insert_payloads"), vec![Bind::Rows(rows)]).at("store.insert_payloads").await?;
    Ok(())
}

/// What is leased is on its way already; it stays. Comes before the new rows, which it must not touch.
async fn withdraw(session: &mut dyn Session, orders: &[OrderKey], now: Moment) -> Result<(), Failure> {
    if orders.is_empty() {
        return Ok(());
    }
    session
        .execute(sql!("withdraw_outbox"), vec![key_rows(orders), Bind::Int(now.0)])
        .at("store.withdraw_outbox")
        .await?;
    Ok(())
}

async fn save_outbox(session: &mut dyn Session, outbox: &[Outgoing], now: Moment) -> Result<(), Failure> {
    if outbox.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(outbox.len());
    for outgoing in outbox {
        all.push((outgoing, rows::json(&outgoing.content)?));
    }
    let rows: Rows = columns!(all;
        Text(|it| it.0.key.to_string()),
        Text(|it| it.0.order.saga.clone()),
        Text(|it| it.0.order.order_id.clone()),
        Int(|it| if is_planted(Bug::OutboxOutOfOrder) { 0 } else { int(it.0.sequence) }),
        Int(|it| if is_planted(Bug::OutboxOutOfOrder) { 0 } else { i64::from(it.0.place) }),
        Text(|it| it.0.message_id.clone()),
        Text(|it| it.1.clone()),
        Int(|it| i64::from(it.0.content.asks())));
    session.execute(sql!("insert_outbox"), vec![Bind::Rows(rows), Bind::Int(now.0)]).at("store.insert_outbox").await?;
    Ok(())
}

async fn settle(session: &mut dyn Session, settled: &[(uuid::Uuid, Verdict)], now: Moment) -> Result<(), Failure> {
    if settled.is_empty() {
        return Ok(());
    }
    let mut all = Vec::with_capacity(settled.len());
    for (key, verdict) in settled {
        all.push((key.to_string(), rows::json(verdict)?));
    }
    let rows: Rows = columns!(all; Text(|it| it.0.clone()), Text(|it| it.1.clone()));
    session.execute(sql!("settle_outbox"), vec![Bind::Rows(rows), Bind::Int(now.0)]).at("store.settle_outbox").await?;
    Ok(())
}

/// Gives the id of each, in their order.
async fn save_quarantined(
    session: &mut dyn Session,
    quarantined: &[Quarantined],
    now: Moment,
) -> Result<Vec<i64>, Failure> {
    if quarantined.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = rows::limit(quarantined.len());
    let found = session.fetch(sql!("quarantine_ids"), vec![Bind::Int(wanted)]).at("store.quarantine_ids").await?;
    let ids = found.iter().map(|row| row.get("id")).collect::<Result<Vec<i64>, _>>()?;
    let all: Vec<_> = ids.iter().zip(quarantined).collect();
    let opt = |text: &Option<String>| text.as_deref().map(without_nul);
    let rows: Rows = columns!(all;
        Int(|it| *it.0),
        Text(|it| it.1.reason.word().to_owned()),
        Text(|it| without_nul(&it.1.detail)),
        OptText(|it| opt(&it.1.saga)),
        OptText(|it| opt(&it.1.event)),
        OptText(|it| opt(&it.1.order_id)),
        Text(|it| without_nul(&it.1.exchange)),
        Text(|it| without_nul(&it.1.routing_key)),
        Text(|it| it.1.envelope.to_string()),
        Bytes(|it| it.1.body.clone()),
        Int(|it| int(it.1.body_bytes)));
    session
        .execute(sql!("insert_quarantine"), vec![Bind::Rows(rows), Bind::Int(now.0)])
        .at("store.insert_quarantine")
        .await?;
    Ok(ids)
}

/// Records doubts; `quarantined` are the ids of the messages they may be about.
pub async fn save_doubts(
    session: &mut dyn Session,
    doubts: &[NewDoubt],
    quarantined: &[i64],
    now: Moment,
) -> Result<(), Failure> {
    if doubts.is_empty() {
        return Ok(());
    }
    let opt = |text: &Option<String>| text.as_deref().map(without_nul);
    let rows: Rows = columns!(doubts;
        Text(|it| doubt_word(it.kind).to_owned()),
        OptText(|it| opt(&it.saga)),
        Int(|it| it.from.0),
        Int(|it| it.to.0),
        OptText(|it| opt(&it.event)),
        OptText(|it| opt(&it.order_id)),
        Text(|it| without_nul(&it.detail)),
        OptInt(|it| it.quarantined.and_then(|place| quarantined.get(place).copied())));
    session.execute(sql!("insert_doubts"), vec![Bind::Rows(rows), Bind::Int(now.0)]).at("store.insert_doubts").await?;
    Ok(())
}

async fn resolve(session: &mut dyn Session, resolved: &[Resolved], now: Moment) -> Result<(), Failure> {
    if resolved.is_empty() {
        return Ok(());
    }
    let rows: Rows = columns!(resolved;
        Int(|it| it.id), Text(|it| it.how.to_owned()), Text(|it| it.actor.clone()), Text(|it| it.reason.clone()));
    for statement in [sql!("resolve_quarantine"), sql!("resolve_doubts")] {
        session.execute(statement, vec![Bind::Rows(rows.clone()), Bind::Int(now.0)]).at("store.resolve").await?;
    }
    Ok(())
}

/// Counters, the tap, and the answer to a command.
async fn save_place(session: &mut dyn Session, changes: &Changes, now: Moment) -> Result<(), Failure> {
    if !changes.counters.is_empty() {
        let counters: Vec<_> = changes.counters.iter().collect();
        let rows: Rows = columns!(counters; Text(|it| it.0.clone()), Int(|it| int(*it.1)));
        session.execute(sql!("save_counters"), vec![Bind::Rows(rows)]).at("store.save_counters").await?;
    }
    if let Some(tap) = &changes.tap {
        if changes.orders.iter().any(|saved| saved.is_new) {
            session
                .execute(sql!("stretch_gaps"), vec![Bind::Text(tap.name.clone()), Bind::Int(now.0)])
                .at("store.stretch_gaps")
                .await?;
        }
        let watermark = Bind::OptInt(tap.watermark.map(|at| at.0));
        let binds =
            vec![Bind::Text(tap.name.clone()), watermark, Bind::Bytes(tap.last_batch.concat()), Bind::Int(now.0)];
        session.execute(sql!("save_tap"), binds).at("store.save_tap").await?;
    }
    if let (Some(key), Some(Ok(sequence))) = (&changes.idempotency_key, changes.answers.first()) {
        let binds = vec![Bind::Text(key.clone()), Bind::Int(int(*sequence)), Bind::Int(now.0)];
        if session.execute(sql!("save_answer"), binds).at("store.save_answer").await? == 0 {
            return Err(Failure::conflict("the same command was answered meanwhile"));
        }
    }
    Ok(())
}
