//! The command line: starts Escrow, checks definitions, and asks a running Escrow as a client of its API.
//!
//! ```text
//!   serve demo migrate ──▶ start (the program itself)
//!   check schema try   ──▶ the pure core, no server
//!   audit verify       ──▶ the database, no server
//!   alert              ──▶ the channels themselves, no server
//!   doctor             ──▶ the broker, the database, the files, and a running Escrow if one is named
//!   rabbit             ──▶ the database, and the broker to unbind
//!   peek               ──▶ the broker, once a running Escrow says that it watches the exchange
//!   everything else    ──▶ client ──HTTP──▶ a running Escrow ──▶ output (table, json, jsonl)
//! ```
//!
//! Answers go to stdout, everything else to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 not allowed,
//! 6 unavailable.

mod alert;
mod args;
mod audit;
mod check;
mod client;
mod doctor;
mod failure;
mod lists;
mod many;
mod migrate;
mod order;
mod output;
mod peek;
mod rabbit;
pub mod rehearsal;
pub mod start;
mod status;
#[cfg(test)]
mod tests;
mod try_events;

use std::process::ExitCode;

use clap::Parser as _;

pub use self::args::Cli;
use self::args::{AuditCommand, Command};
use self::client::Client;
use self::failure::Failure;
use self::output::{Output, Said};
use self::start::Start;

/// The command that was typed; prints help, version or what is wrong with it and gives the exit code instead.
///
/// # Errors
/// The exit code to end with.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // Nowhere to say it if even this cannot be printed.
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 })
    })
}

/// Runs a command to its end.
pub async fn run(cli: Cli, program: &dyn Start) -> ExitCode {
    let output = Output::new(cli.output);
    match dispatch(cli.command, output, program).await {
        Ok(said) => ExitCode::from(output::print(&said)),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit)
        }
    }
}

async fn dispatch(command: Command, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    match command {
        Command::Serve(args) => {
            program.serve(args.into_config()).await.map(|()| Said::default()).map_err(Failure::from)
        }
        Command::Demo(args) => program.demo(args.into_config()).await.map(|()| Said::default()).map_err(Failure::from),
        Command::Migrate(args) => {
            program.migrate(args.into_config()).await.map(|()| Said::default()).map_err(Failure::from)
        }
        Command::Check(args) => check::check(&args.files, output),
        Command::Schema => Ok(check::schema(output)),
        Command::Peek(args) => peek::run(args, output, program).await,
        Command::Rabbit(args) => rabbit::run(args.command, output, program).await,
        Command::Doctor(args) => doctor::run(args, output, program).await,
        Command::Try(args) => try_events::run(&args, output),
        Command::Audit { command: AuditCommand::Verify(args) } => audit::verify(args, output, program).await,
        Command::Order(args) => order::run(&Client::new(args.server)?, args.command, output).await,
        Command::Saga(args) => lists::saga(&Client::new(args.server)?, args.command, output).await,
        Command::Incident(args) => lists::incident(&Client::new(args.server)?, args.command, output).await,
        Command::Quarantine(args) => lists::quarantine(&Client::new(args.server)?, args.command, output).await,
        Command::Alert(args) => alert::run(args, output).await,
        Command::Status(args) => status::run(&Client::new(args)?, output).await,
    }
}
