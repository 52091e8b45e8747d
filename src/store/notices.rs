//! Notices: leased by a short transaction, sent by alerting, settled by another.
//!
//! ```text
//!   pending ──claim──▶ leased ──settle──▶ settled (sent; refused: …) ──purge, once its incident is over──▶ gone
//!      ▲                 │ released, or the lease ran out
//!      └─────────────────┘
//! ```
//!
//! Rows of one incident leave one after the other on each channel, and channels know nothing of each other.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::StoreError;
use super::rows;
use super::run::SqlStore;
use super::session::{Access, Failure, Session};
use super::statement::{Bind, Row, sql};
use crate::saga::incident::{Incident, Notice, NoticeKind};
use crate::saga::time::{Moment, Span};

/// What is to be told to people, and was.
pub trait Notices: Send + Sync {
    /// Leases the notice of a channel whose turn it is: none of its incident before it is unsettled, and no one else's lease is
    /// running. A lease that runs out is free again.
    fn claim_notice(
        &self,
        channel: String,
        owner: Uuid,
        lease: Span,
    ) -> BoxFuture<'_, Result<Option<ClaimedNotice>, StoreError>>;

    /// Settles a notice; one that is settled stays as it is.
    fn settle_notice(&self, key: Uuid, verdict: NoticeVerdict) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Gives a lease back before its end, with why, to be claimed again not before `after`; not if it is another's by now.
    fn release_notice(
        &self,
        key: Uuid,
        owner: Uuid,
        after: Span,
        problem: String,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What a channel knows to last, as it was told last; and what it was told within `resolved_for` is over and did not begin
    /// again.
    fn standing_notices(&self, channel: String, resolved_for: Span)
    -> BoxFuture<'_, Result<Vec<Incident>, StoreError>>;
}

/// A leased notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedNotice {
    pub notice: Notice,
    /// Leases before this one that did not settle it.
    pub tries: u32,
}

/// How telling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeVerdict {
    Sent,
    /// The receiver will not take it, and says why.
    Refused(String),
}

/// A notice as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRow {
    pub key: Uuid,
    pub channel: String,
    pub number: u64,
    pub kind: NoticeKind,
    /// `None` while it is to be sent.
    pub verdict: Option<NoticeVerdict>,
    pub tries: u32,
    /// Why the last try failed that did.
    pub problem: Option<String>,
    pub created_at: Moment,
    pub settled_at: Option<Moment>,
}

const SENT: &str = "sent";
const REFUSED: &str = "refused: ";

impl NoticeVerdict {
    fn text(&self) -> String {
        match self {
            Self::Sent => SENT.to_owned(),
            Self::Refused(why) => format!("{REFUSED}{}", rows::without_nul(why)),
        }
    }

    fn read(text: &str) -> Option<Self> {
        if text == SENT {
            Some(Self::Sent)
        } else {
            text.strip_prefix(REFUSED).map(|why| Self::Refused(why.to_owned()))
        }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Notices for SqlStore {
    fn claim_notice(&self, channel: String, owner: Uuid, lease: Span) -> Answer<'_, Option<ClaimedNotice>> {
        self.run(Access::Write, (channel, owner, lease), |session, it| Box::pin(claim(session, it)))
    }

    fn settle_notice(&self, key: Uuid, verdict: NoticeVerdict) -> Answer<'_, ()> {
        self.run(Access::Write, (key, verdict), |session, it| Box::pin(settle(session, it)))
    }

    fn release_notice(&self, key: Uuid, owner: Uuid, after: Span, problem: String) -> Answer<'_, ()> {
        self.run(Access::Write, (key, owner, after, problem), |session, it| Box::pin(release(session, it)))
    }

    fn standing_notices(&self, channel: String, resolved_for: Span) -> Answer<'_, Vec<Incident>> {
        self.run(Access::Read, (channel, resolved_for), |session, it| Box::pin(standing(session, it)))
    }
}

async fn claim(
    session: &mut dyn Session,
    (channel, owner, lease): &(String, Uuid, Span),
) -> Result<Option<ClaimedNotice>, Failure> {
    let binds = vec![Bind::Text(channel.clone()), Bind::Text(owner.to_string()), Bind::Int(lease.0), Bind::Now];
    let found = session.fetch(sql!("claim_notice"), binds).await?;
    let read = |row: &Row| {
        let notice = Notice {
            channel: row.get("channel")?,
            kind: rows::word(row, "kind", NoticeKind::from_word)?,
            number: rows::number(row, "number")?,
            incident: rows::from_json("content", row.get::<&str>("content")?)?,
        };
        Ok(ClaimedNotice { notice, tries: rows::number(row, "tries")? })
    };
    found.first().map(read).transpose()
}

async fn settle(session: &mut dyn Session, (key, verdict): &(Uuid, NoticeVerdict)) -> Result<(), Failure> {
    let binds = vec![Bind::Text(key.to_string()), Bind::Text(verdict.text()), Bind::Now];
    session.execute(sql!("settle_notice"), binds).await?;
    Ok(())
}

async fn release(session: &mut dyn Session, it: &(Uuid, Uuid, Span, String)) -> Result<(), Failure> {
    let (key, owner, after, problem) = it;
    let binds = vec![
        Bind::Text(key.to_string()),
        Bind::Text(owner.to_string()),
        Bind::Int(after.0),
        Bind::Text(rows::without_nul(problem)),
        Bind::Now,
    ];
    session.execute(sql!("release_notice"), binds).await?;
    Ok(())
}

async fn standing(session: &mut dyn Session, (channel, within): &(String, Span)) -> Result<Vec<Incident>, Failure> {
    let binds = vec![Bind::Text(channel.clone()), Bind::Int(within.0), Bind::Now];
    let found = session.fetch(sql!("standing_notices"), binds).await?;
    found.iter().map(|row| Ok(rows::from_json("content", row.get::<&str>("content")?)?)).collect()
}

/// See [`super::Query::incident_notices`].
pub(super) async fn of_incident(
    session: &mut dyn Session,
    (id, episode, limit): &(String, u64, usize),
) -> Result<Vec<NoticeRow>, Failure> {
    let binds = vec![Bind::Text(id.clone()), Bind::Int(rows::int(*episode)), Bind::Int(rows::limit(*limit))];
    let read = |row: &Row| {
        let verdict: Option<&str> = row.get("verdict")?;
        Ok(NoticeRow {
            key: rows::uuid(row, "key")?,
            channel: row.get("channel")?,
            number: rows::number(row, "number")?,
            kind: rows::word(row, "kind", NoticeKind::from_word)?,
            verdict: verdict.and_then(NoticeVerdict::read),
            tries: rows::number(row, "tries")?,
            problem: row.get("problem")?,
            created_at: rows::moment(row, "created_at")?,
            settled_at: rows::opt_moment(row, "settled_at")?,
        })
    };
    session.fetch(sql!("incident_notices"), binds).await?.iter().rev().map(read).collect()
}
