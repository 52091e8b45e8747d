//! `escrow doctor` and `GET /v1/doctor`: looks at database, definitions and broker as they are, and judges what it finds.
//!
//! Changes nothing: the database is read in a transaction that cannot write and is not migrated, and the broker is only looked at.

use std::sync::Arc;

use super::{TAP, read_definitions};
use crate::bus::rabbitmq;
use crate::config::DoctorConfig;
use crate::doctor::Finding;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Saga;
use crate::saga::time::Span;
use crate::store::{self, DefinitionRow, Examined, Stored};
use crate::worker::reach::reach;
use crate::worker::{chain_of, definitions, looks};

/// Clocks may differ by this much before logs and answers get confusing. Deadlines are safe: they go by the database's clock alone.
const CLOCK_APART: Span = Span::from_secs(5);

/// The oldest PostgreSQL that is served, as `server_version_num` has it.
const POSTGRES_MIN: u32 = 150_000;

/// Looks at everything.
///
/// # Errors
/// An address cannot be right. What does not answer is a finding.
pub async fn doctor(config: DoctorConfig) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let tap = rabbitmq::names::tap_of(&config.name);
    let stored = match store::examine(&config.database_url, &tap).await {
        Ok(examined) => {
            findings.extend(judge_database(&examined));
            examined.stored
        }
        Err(error) => {
            let advice = "start the database, or mend --database-url";
            findings.push(Finding::problem("database", chain_of(&error), advice));
            None
        }
    };
    let files = match config.sagas.as_deref().map(read_definitions).transpose() {
        Ok(files) => definitions::parse_all(files.unwrap_or_default()).map_err(|error| error.to_string()),
        Err(error) => Err(chain_of(error.as_ref())),
    };
    let files: Vec<Saga> = match files {
        Ok(sagas) => sagas.into_iter().map(|(_, saga)| saga).collect(),
        Err(why) => {
            let advice = "mend the files; `escrow check` shows each mistake in its place";
            findings.push(Finding::problem("definitions", why, advice));
            Vec::new()
        }
    };
    let rows = stored.as_ref().map_or(&[][..], |stored| &stored.definitions);
    findings.extend(files.iter().map(|saga| judge_definition(saga, rows)));
    let catalog = followed(files, rows, &mut findings);
    findings.extend(stored.iter().flat_map(|stored| judge_bindings(stored, &catalog)));
    if let Some(url) = &config.amqp_url {
        let reach = reach(&catalog);
        findings.extend(rabbitmq::examine(url, &config.name, TAP.bound, &reach).await?);
        if let Some(management) = &config.management_url {
            findings.extend(rabbitmq::management::examine(management, url, &config.name, TAP.bound, &reach).await?);
        } else {
            findings.push(Finding::warning(
                "tap",
                "bindings, and whether a policy changes what a full tap does, could not be checked: AMQP does not show them",
                "give --management-url",
            ));
        }
    }
    Ok(findings)
}

/// What Escrow would follow: everything stored, and what the files propose.
fn followed(files: Vec<Saga>, rows: &[DefinitionRow], findings: &mut Vec<Finding>) -> Catalog {
    let mut all: Vec<Arc<Saga>> = files.into_iter().map(Arc::new).collect();
    for row in rows {
        match definitions::read(row) {
            Ok(saga) => all.push(Arc::new(saga)),
            Err(error) => {
                let advice = "run the program that stored it";
                findings.push(Finding::problem("definitions", error.to_string(), advice));
            }
        }
    }
    all.into_iter().collect()
}

fn judge_database(examined: &Examined) -> Vec<Finding> {
    let setting = |name: &str| examined.settings.get(name).map_or("", String::as_str);
    let mut findings =
        if examined.is_postgres { judge_postgres(examined) } else { judge_sqlite(setting("journal_mode")) };
    let name = if examined.is_postgres { "PostgreSQL" } else { "SQLite" };
    findings.insert(0, Finding::ok("database", format!("{name} {} answers", setting("server_version"))));
    findings.push(match examined.version {
        None => Finding::warning(
            "database",
            "there are no tables yet",
            "run `escrow migrate`, or `escrow serve`, which does it",
        ),
        Some(version) if version == examined.newest => {
            Finding::ok("database", format!("the tables are at version {version}"))
        }
        Some(version) if version < examined.newest => Finding::warning(
            "database",
            format!("the tables are at version {version}, and this program writes {}", examined.newest),
            "run `escrow migrate`, or `escrow serve`, which does it",
        ),
        Some(version) => Finding::problem(
            "database",
            format!("the tables are at version {version}, which a newer Escrow wrote"),
            "run the newer program",
        ),
    });
    findings
}

fn judge_postgres(examined: &Examined) -> Vec<Finding> {
    let setting = |name: &str| examined.settings.get(name).map_or("", String::as_str);
    let mut findings = Vec::new();
    let mut say = |finding: Finding| findings.push(finding);
    if setting("server_version_num").parse::<u32>().unwrap_or(0) < POSTGRES_MIN {
        say(Finding::problem("database", "it is older than PostgreSQL 15", "use PostgreSQL 15 or newer"));
    }
    if setting("in_recovery") == "true" {
        say(Finding::problem("database", "it is a standby: nothing can be written", "connect to the primary"));
    } else if setting("default_transaction_read_only") == "on" {
        let advice = "set default_transaction_read_only off for this user and database";
        say(Finding::problem("database", "sessions of this user only read", advice));
    }
    for name in ["fsync", "full_page_writes"] {
        if setting(name) == "off" {
            let what = format!("{name} is off: a crash of the machine can lose what was acknowledged to the broker");
            say(Finding::problem("database", what, format!("set {name} on")));
        }
    }
    let standbys = setting("synchronous_standby_names");
    match (setting("synchronous_commit"), standbys) {
        ("off", _) => say(Finding::problem(
            "database",
            "synchronous_commit is off: a crash can lose commits whose messages were acknowledged to the broker",
            "set synchronous_commit on for Escrow's user",
        )),
        ("local", standbys) if !standbys.is_empty() => say(Finding::warning(
            "database",
            "synchronous_commit is local: a failover can lose commits whose messages were acknowledged",
            "set it on; what a failover loses is found by the watermark and told as a gap",
        )),
        (level, "") => say(Finding::ok(
            "database",
            format!(
                "synchronous_commit is {level}, without synchronous standbys: a failover can lose commits, told as a gap"
            ),
        )),
        (level, standbys) => {
            say(Finding::ok("database", format!("synchronous_commit is {level}, synchronous standbys: {standbys}")));
        }
    }
    if let Ok(theirs) = setting("now").parse::<i64>() {
        let (before, after) = examined.asked;
        // Somewhere in between they were asked.
        let apart = (before.0 - theirs).max(theirs - after.0).max(0);
        let what = format!("this machine's clock and the database's differ by {}", Span(apart));
        say(if apart <= CLOCK_APART.0 {
            Finding::ok("clock", what)
        } else {
            Finding::warning("clock", what, "synchronise both; deadlines go by the database's clock alone")
        });
    }
    findings
}

fn judge_sqlite(journal_mode: &str) -> Vec<Finding> {
    vec![if journal_mode == "wal" {
        Finding::ok("database", "journal_mode is wal; Escrow itself writes with synchronous=FULL")
    } else {
        let what = format!("journal_mode is not wal ({journal_mode})");
        Finding::warning(
            "database",
            what,
            "nothing, if Escrow never wrote to this file: it changes to wal when it opens it",
        )
    }]
}

fn judge_definition(saga: &Saga, rows: &[DefinitionRow]) -> Finding {
    let (name, version) = (&saga.name, saga.version);
    let newest = rows.iter().filter(|row| row.saga == *name).max_by_key(|row| row.version);
    match newest {
        None => {
            Finding::ok("definitions", format!("saga {name} version {version} is new: `escrow serve` will store it"))
        }
        Some(row) if row.version > version => Finding::warning(
            "definitions",
            format!(
                "the file of saga {name} has version {version}, and version {} is stored: the file changes nothing",
                row.version
            ),
            "bring the file up to date",
        ),
        Some(row) if row.version == version && row.fingerprint != saga.fingerprint => Finding::problem(
            "definitions",
            format!(
                "saga {name} version {version} is stored with another meaning than the file has: `escrow serve` will not start"
            ),
            "give the changed definition a higher version",
        ),
        Some(row) if row.version == version => {
            Finding::ok("definitions", format!("saga {name} version {version} is stored as the file has it"))
        }
        Some(row) => Finding::ok(
            "definitions",
            format!(
                "saga {name} version {version} is newer than the stored {}: `escrow serve` will store it",
                row.version
            ),
        ),
    }
}

/// What the looks of a running Escrow found last.
fn judge_bindings(stored: &Stored, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(switch) = stored.switch.as_ref().filter(|switch| switch.unbound) {
        let what = format!("the tap is unbound since {} by {}: {}", switch.at.rfc3339(), switch.actor, switch.reason);
        findings.push(Finding::problem("watched", what, "`escrow rabbit bind` binds it again"));
    }
    for wanted in looks::wanted(catalog) {
        let exchange = &wanted.exchange;
        if wanted.declare.as_ref().is_some_and(|declare| declare.auto_delete) {
            let what = format!("{exchange} is auto-delete, as its definition says: it goes with its last binding");
            findings.push(Finding::warning("watched", what, "bind something else to it before `escrow rabbit unbind`"));
        }
        let Some(row) = stored.bindings.iter().find(|row| row.exchange == *exchange) else { continue };
        findings.push(match (&row.problem, row.bound) {
            (Some(problem), _) => Finding::problem(
                "watched",
                format!("{exchange}: {problem}"),
                "mend that; until then no deadline of its sagas fires",
            ),
            (None, true) => {
                let at = row.bound_at.map(|at| format!(" since {}", at.rfc3339())).unwrap_or_default();
                Finding::ok("watched", format!("{exchange} was bound{at}, Escrow has noted"))
            }
            (None, false) => Finding::warning(
                "watched",
                format!("{exchange} was absent when Escrow looked last"),
                "nothing to do if its service has not started yet; else mend the definition",
            ),
        });
    }
    findings
}
