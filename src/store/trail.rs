//! The journal as it is read: one order's trail, everybody's entries, and whether a trail still holds.

use std::collections::BTreeMap;

use sha2::Digest as _;

use super::load::payloads;
use super::orders;
use super::rows;
use super::saga_states;
use super::session::{Failure, Session};
use super::statement::{Bind, Row, sql};
use super::{JournalFilter, JournalRow, Listed, Page, StoreError, StoredPayload, cursor};
use crate::saga::input::Payload;
use crate::saga::journal::{self, Broken, Entry, EntryBody, Kind, hex};
use crate::saga::order::{Digest, Order, OrderKey, version_at};

/// The hash before the first entry.
const BEGINNING: Digest = [0; 32];
/// Entries of one order are read this many at a time when all are wanted.
const READ_AT_ONCE: usize = 1_000;

fn read(row: &Row) -> Result<JournalRow, StoreError> {
    let (version, sequence) = (rows::number(row, "version")?, rows::number(row, "sequence")?);
    Ok(JournalRow {
        position: row.get("position")?,
        key: rows::key(row)?,
        sequence,
        at: rows::moment(row, "at")?,
        kind: rows::word(row, "kind", Kind::from_word)?,
        actor: row.get("actor")?,
        text: row.get("body")?,
        hash: rows::bytes(row, "hash")?,
        version: version_at(version, &rows::earlier(row)?, sequence),
    })
}

fn read_all(found: &[Row]) -> Result<Vec<JournalRow>, Failure> {
    found.iter().map(|row| Ok(read(row)?)).collect()
}

/// See [`super::Query::audit`].
pub async fn audit(
    session: &mut dyn Session,
    (key, after, limit): &(OrderKey, u64, usize),
) -> Result<Vec<JournalRow>, Failure> {
    let binds = vec![
        Bind::Text(key.saga.clone()),
        Bind::Text(key.order_id.clone()),
        Bind::Int(rows::int(*after)),
        Bind::Int(rows::limit(*limit)),
    ];
    read_all(&session.fetch(sql!("audit"), binds).await?)
}

/// See [`super::Query::journal`].
pub async fn list(session: &mut dyn Session, it: &(JournalFilter, Page)) -> Result<Listed<JournalRow>, Failure> {
    let (filter, page) = it;
    let (at, position) = cursor::read::<(i64, i64)>(page)?.unwrap_or((i64::MAX, i64::MAX));
    let binds = vec![
        Bind::Int(at),
        Bind::Int(position),
        Bind::OptText(filter.saga.clone()),
        Bind::Texts(filter.kinds.iter().map(|kind| kind.word().to_owned()).collect()),
        Bind::OptText(filter.actor.clone()),
        Bind::Int(filter.since.map_or(i64::MIN, |at| at.0)),
        Bind::Int(filter.until.map_or(i64::MAX, |at| at.0)),
        Bind::Int(rows::limit(page.limit.saturating_add(1))),
    ];
    // Only commands have an actor.
    let acts = filter.actor.is_some() || (!filter.kinds.is_empty() && !filter.kinds.contains(&Kind::Event));
    let statement =
        if acts { sql!("journal", "journal_acts_only", "journal_page") } else { sql!("journal", "journal_page") };
    let entries = read_all(&session.fetch(statement, binds).await?)?;
    Ok(cursor::cut(entries, page.limit, |entry| (entry.at.0, entry.position))?)
}

/// See [`super::Query::journal_since`].
pub async fn since(session: &mut dyn Session, &(after, limit): &(i64, usize)) -> Result<Vec<JournalRow>, Failure> {
    let found = session.fetch(sql!("journal_horizon"), Vec::new()).await?;
    let horizon: i64 = found.first().map_or(Ok(after), |row| row.get("horizon"))?;
    let binds = vec![Bind::Int(after), Bind::Int(horizon), Bind::Int(rows::limit(limit))];
    read_all(&session.fetch(sql!("journal_since"), binds).await?)
}

/// See [`super::Query::payload`].
pub async fn payload(session: &mut dyn Session, it: &(OrderKey, u64)) -> Result<Option<StoredPayload>, Failure> {
    Ok(payloads(session, &[(&it.0, it.1)]).await?.pop().map(|(.., payload)| payload))
}

/// See [`super::Query::verify`]. To be run on a snapshot.
pub async fn verify(session: &mut dyn Session, key: &OrderKey) -> Result<Result<u64, Broken>, Failure> {
    if key.order_id.is_empty() {
        return verify_about_saga(session, key).await;
    }
    let stored = match orders::find(session, key).await {
        Ok(stored) => stored,
        Err(Failure::Final(StoreError::Corrupt(_))) => return Ok(Err(Broken::Fold { what: "the order's row" })),
        Err(other) => return Err(other),
    };
    let mut check = Check::new(key);
    loop {
        let entries = audit(session, &(key.clone(), check.sequence, READ_AT_ONCE)).await?;
        let named: Vec<_> = entries.iter().map(|entry| (key, entry.sequence)).collect();
        let contents: BTreeMap<u64, StoredPayload> =
            payloads(session, &named).await?.into_iter().map(|(_, sequence, payload)| (sequence, payload)).collect();
        for entry in &entries {
            if let Err(broken) = check.entry(entry, contents.get(&entry.sequence)) {
                return Ok(Err(broken));
            }
        }
        if entries.len() < READ_AT_ONCE {
            return Ok(check.end(stored.as_ref()));
        }
    }
}

/// The trail of a saga as a whole folds to nothing; it is held against where the saga's state says that it ends.
async fn verify_about_saga(session: &mut dyn Session, key: &OrderKey) -> Result<Result<u64, Broken>, Failure> {
    let end = saga_states::all(session).await?.remove(&key.saga).unwrap_or_default();
    let (mut sequence, mut head) = (0, BEGINNING);
    loop {
        let entries = audit(session, &(key.clone(), sequence, READ_AT_ONCE)).await?;
        for row in &entries {
            sequence += 1;
            if row.sequence != sequence {
                return Ok(Err(Broken::Sequence { sequence }));
            }
            head = journal::chain(&head, key, sequence, row.at, row.kind, row.actor.as_deref(), &row.text);
            if head != row.hash {
                return Ok(Err(Broken::Hash { sequence }));
            }
        }
        if entries.len() < READ_AT_ONCE {
            let holds = (sequence, head) == (end.sequence, end.head);
            return Ok(if holds { Ok(sequence) } else { Err(Broken::Fold { what: "the head of the saga's trail" }) });
        }
    }
}

/// A trail as far as it was read.
struct Check<'a> {
    key: &'a OrderKey,
    folded: Option<Order>,
    head: Digest,
    sequence: u64,
    /// The salted hash of each attribute's value, with the salt where its message is still kept.
    attributes: BTreeMap<String, (String, Option<[u8; 16]>)>,
}

impl<'a> Check<'a> {
    fn new(key: &'a OrderKey) -> Self {
        Self { key, folded: None, head: BEGINNING, sequence: 0, attributes: BTreeMap::new() }
    }

    fn entry(&mut self, row: &JournalRow, content: Option<&StoredPayload>) -> Result<(), Broken> {
        let sequence = self.sequence + 1;
        if row.sequence != sequence {
            return Err(Broken::Sequence { sequence });
        }
        let hash = journal::chain(&self.head, self.key, sequence, row.at, row.kind, row.actor.as_deref(), &row.text);
        if hash != row.hash {
            return Err(Broken::Hash { sequence });
        }
        let body: EntryBody =
            serde_json::from_str(&row.text).map_err(|error| Broken::Unreadable { sequence, why: error.to_string() })?;
        if content.is_some_and(|content| !holds(content, body.payload_hash.as_deref())) {
            return Err(Broken::Payload { sequence });
        }
        for change in &body.attributes {
            let known = (change.hash.clone(), content.map(|content| content.salt));
            self.attributes.insert(change.name.clone(), known);
        }
        let entry = Entry { sequence, at: row.at, kind: row.kind, actor: row.actor.clone(), body };
        let mut order = journal::fold(self.folded.take(), self.key, &entry)?;
        order.head = hash;
        (self.folded, self.head, self.sequence) = (Some(order), hash, sequence);
        Ok(())
    }

    fn end(self, stored: Option<&Order>) -> Result<u64, Broken> {
        match (&self.folded, stored) {
            (None, None) => return Ok(0),
            (Some(folded), Some(stored)) => journal::same(folded, stored)?,
            (None, Some(_)) => return Err(Broken::Sequence { sequence: 1 }),
            (Some(_), None) => return Err(Broken::Fold { what: "the order's row" }),
        }
        for (name, attribute) in stored.iter().flat_map(|order| &order.attributes) {
            if let Some((hash, Some(salt))) = self.attributes.get(name)
                && journal::attribute_hash(salt, name, &attribute.value) != *hash
            {
                return Err(Broken::Attribute { name: name.clone() });
            }
        }
        Ok(self.sequence)
    }
}

/// Whether the content is what the trail says it was.
fn holds(content: &StoredPayload, payload_hash: Option<&str>) -> bool {
    let payload = Payload {
        salt: content.salt,
        body: None,
        body_hash: content.body_hash,
        envelope: content.envelope.to_string(),
    };
    let body_holds =
        content.body.as_deref().is_none_or(|body| <Digest>::from(sha2::Sha256::digest(body)) == content.body_hash);
    body_holds && payload_hash == Some(hex(&payload.salted_hash()).as_str())
}
