//! Collects what the picture shows, by asking the store as anybody could: counts, groups of stuck orders, and the journal.
//!
//! The journal is followed from where it was left, so that a look costs what happened since the last one, not what happened
//! in all.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::services::Company;
use super::story::{self, Story};
use super::summary::{Deeds, Snapshot, Stuck};
use crate::saga::batch::Outcome;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Saga;
use crate::saga::journal::{EntryBody, Kind};
use crate::saga::order::{OrderKey, Status, StepStatus};
use crate::saga::time::Moment;
use crate::store::{JournalRow, Query, Store};
use crate::telemetry::{EventLabels, Metrics};

/// Journal entries read at once.
const READ_AT_ONCE: usize = 1_000;
/// News kept; more than any picture shows.
const NEWS_KEPT: usize = 32;

/// What a run was told to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub run_for: Option<Duration>,
    pub rate: f64,
    pub seed: u64,
}

/// The board of one run.
pub struct Board {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    catalog: Catalog,
    company: Arc<Company>,
    address: SocketAddr,
    plan: Plan,
    began_at: Moment,
    /// Position in the journal up to which all is counted.
    read_until: i64,
    deeds: Deeds,
    news: VecDeque<Story>,
    /// Orders under way that needed a retry.
    retried: HashSet<OrderKey>,
    stuck: HashSet<OrderKey>,
}

impl Board {
    /// A board with nothing on it yet.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        catalog: Catalog,
        company: Arc<Company>,
        address: SocketAddr,
        plan: Plan,
    ) -> anyhow::Result<Self> {
        let began_at = store.now().await?;
        Ok(Self {
            store,
            metrics,
            catalog,
            company,
            address,
            plan,
            began_at,
            read_until: 0,
            deeds: Deeds::default(),
            news: VecDeque::new(),
            retried: HashSet::new(),
            stuck: HashSet::new(),
        })
    }

    /// Looks.
    ///
    /// # Errors
    /// The store cannot be asked now.
    pub async fn look(&mut self) -> anyhow::Result<Snapshot> {
        loop {
            let rows = self.store.journal_since(self.read_until, READ_AT_ONCE).await?;
            for row in &rows {
                self.read(row)?;
                self.read_until = row.position;
            }
            if rows.len() < READ_AT_ONCE {
                break;
            }
        }
        let query: &dyn Query = self.store.as_ref();
        let counts = query.count_by_status().await?;
        let sum = |status| counts.iter().filter(|row| row.status == status).map(|row| row.count).sum::<u64>();
        let statuses = Status::ALL.into_iter().map(|status| (status, sum(status)));
        let stuck = query.stuck_groups().await?.into_iter().map(|group| Stuck {
            step: group.step,
            reason: group.reason,
            count: group.count,
            samples: group.samples,
        });
        let duplicates = |saga: &Arc<Saga>| {
            let labels = EventLabels { saga: saga.name.clone(), result: Outcome::Duplicate.word() };
            self.metrics.events.get_or_create(&labels).get()
        };
        let duplicates = self.catalog.newest_all().map(duplicates).sum();
        Ok(Snapshot {
            elapsed: self.company.elapsed(),
            run_for: self.plan.run_for,
            rate: self.plan.rate,
            seed: self.plan.seed,
            address: Some(self.address),
            placed: self.company.placed(),
            inventory: self.company.inventory(),
            statuses: statuses.filter(|(_, count)| *count > 0).collect(),
            stuck: stuck.collect(),
            deeds: Deeds { duplicates, ..self.deeds },
            latest: self.news.iter().cloned().collect(),
        })
    }

    fn read(&mut self, row: &JournalRow) -> anyhow::Result<()> {
        let body: EntryBody = serde_json::from_str(&row.text)
            .with_context(|| format!("entry {} of {} cannot be read", row.sequence, row.key))?;
        self.count(row, &body);
        let saga = self.catalog.version(&row.key.saga, row.version);
        let was_retried = self.retried.contains(&row.key);
        if let Some((tone, text)) = saga.and_then(|saga| story::tell(saga, row.kind, &body, was_retried)) {
            let at = row.at.since(self.began_at).as_std();
            self.news.push_back(Story { at, order_id: row.key.order_id.clone(), text, tone });
            if self.news.len() > NEWS_KEPT {
                self.news.pop_front();
            }
        }
        if body.life.as_ref().is_some_and(|life| life.now.status.is_ended()) {
            self.retried.remove(&row.key);
        }
        Ok(())
    }

    fn count(&mut self, row: &JournalRow, body: &EntryBody) {
        let deeds = &mut self.deeds;
        match row.kind {
            Kind::Retry => {
                deeds.retries += 1;
                self.retried.insert(row.key.clone());
            }
            Kind::Compensation if body.reason.is_none() => deeds.compensations_asked += 1,
            Kind::Compensation => deeds.compensations_repeated += 1,
            Kind::Late => deeds.late += 1,
            Kind::Repeated => deeds.repeated += 1,
            Kind::Event
            | Kind::Deadline
            | Kind::Withheld
            | Kind::Confirmation
            | Kind::WouldSend
            | Kind::Command
            | Kind::Conflict => {}
        }
        let steps = || body.steps.iter();
        let count = |became: StepStatus| steps().filter(|change| story::became(change, became)).count() as u64;
        deeds.timeouts += steps().filter(|change| story::is_timeout(change)).count() as u64;
        deeds.declined += count(StepStatus::Failed);
        deeds.compensations_closed += count(StepStatus::Compensated);
        let Some(life) = &body.life else { return };
        let (from, now) = (life.from, life.now.status);
        if from != Status::Completed && now == Status::Completed && self.retried.contains(&row.key) {
            deeds.completed_after_retry += 1;
        }
        if now == Status::Stuck {
            self.stuck.insert(row.key.clone());
        } else if self.stuck.remove(&row.key) && row.kind != Kind::Command {
            deeds.recovered += 1;
        }
    }
}
