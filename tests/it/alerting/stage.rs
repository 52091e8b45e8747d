//! An Escrow without a broker, that tells the channels of an `alerts.yaml`.

use std::path::PathBuf;

use escrow::saga::incident::{Incident, NoticeKind};

use crate::support::database::Database;
use crate::support::escrow::Escrow;
use crate::support::incidents::{over, silent, tell, verdicts};

const SAGA: &str = "
saga: order
version: 1
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
";

/// What the environment holds, and nobody may ever see.
pub const SECRET: &str = "c0rrect-h0rse-battery";

pub struct Stage {
    pub database: Database,
    pub escrow: Escrow,
    channels: Vec<String>,
}

impl Stage {
    /// Not started. `channels` are entries of the file, a name before each.
    pub fn new(database: Database, channels: &[(&str, String)]) -> Self {
        let escrow = Escrow::new(SAGA, &database.url, "");
        let file = escrow.sagas().with_file_name("alerts.yaml");
        let entries: Vec<String> = channels.iter().map(|(name, what)| format!("  {name}: {{ {what} }}\n")).collect();
        std::fs::write(&file, format!("link: https://escrow.example.org/\nchannels:\n{}", entries.concat())).unwrap();
        let escrow = escrow.with("ESCROW_ALERTS", &file.display().to_string()).with("ALERT_SECRET", SECRET);
        Self { database, escrow, channels: channels.iter().map(|(name, _)| (*name).to_owned()).collect() }
    }

    pub fn file(&self) -> PathBuf {
        self.escrow.sagas().with_file_name("alerts.yaml")
    }

    /// Starts it and waits until it is ready: then there are tables to write to.
    pub async fn run(&self) {
        self.escrow.start_as(None, &[]);
        self.escrow.ready().await;
    }

    fn names(&self) -> Vec<&str> {
        self.channels.iter().map(String::as_str).collect()
    }

    /// An incident opens. From here on the test decides about incidents: the loop of the program does not get its lease.
    pub async fn open(&self, episode: u64) -> Incident {
        let hold = "INSERT INTO leases (name, owner, lease_until)
             VALUES ('incidents', '6f2d1b9c-0000-4000-8000-000000000000', 9000000000000000000)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until";
        self.database.raw(hold).await.unwrap();
        let incident = silent(episode);
        tell(&self.database, &incident, (1, NoticeKind::Trigger), &self.names()).await;
        incident
    }

    /// It is over.
    pub async fn end(&self, incident: &Incident) {
        tell(&self.database, &over(incident.clone()), (2, NoticeKind::Resolve), &self.names()).await;
    }

    /// Waits until every notice of the incident is settled, and gives the verdicts.
    pub async fn told(&self, incident: &Incident) -> Vec<String> {
        let poll = async || {
            let verdicts = verdicts(&self.database, incident).await;
            verdicts.iter().all(|line| !line.ends_with("pending")).then_some(verdicts)
        };
        self.escrow.until("everything is told", poll).await
    }
}
