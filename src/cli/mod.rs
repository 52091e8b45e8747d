//! The command line: starts Escrow, checks definitions, and asks a running Escrow as a client of its API.
//!
//! ```text
//!   serve demo migrate ──▶ start (the program itself)
//!   check schema try   ──▶ the pure core, no server
//!   audit verify       ──▶ the database, no server
//!   alert              ──▶ the channels themselves, no server
//!   token              ──▶ nobody: a token is made here
//!   doctor             ──▶ the broker, the database, the files, and a running Escrow if one is named
//!   rabbit             ──▶ the database, and the broker to unbind
//!   peek               ──▶ the broker, once a running Escrow says that it watches the exchange
//!   everything else    ──▶ client ──HTTP──▶ a running Escrow ──▶ output (table, json, jsonl, csv)
//! ```
//!
//! Answers go to stdout, everything else to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 not allowed,
//! 6 unavailable.

mod alert;
mod args;
mod audit;
mod check;
mod client;
mod coverage;
mod doctor;
mod failure;
mod listing;
mod lists;
mod many;
mod migrate;
mod order;
mod output;
mod peek;
mod rabbit;
pub mod rehearsal;
mod spreadsheet;
pub mod start;
mod status;
#[cfg(test)]
mod tests;
mod token;
mod top;
mod try_events;
mod watch;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _, ValueEnum as _};

pub use self::args::Cli;
use self::args::{AuditCommand, Command, Format};
use self::client::Client;
use self::failure::Failure;
use self::output::{Output, Said};
use self::start::Start;

/// The command that was typed; prints help, version or what is wrong with it and gives the exit code instead.
///
/// # Errors
/// The exit code to end with.
pub fn parse() -> Result<Cli, ExitCode> {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&words).map_err(|error| {
        if !error.use_stderr() {
            // Help or the version. Nowhere to say it if even this cannot be printed.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        match format_asked(&words) {
            Some(format) => Output::new(format).failure(&misread(&error)),
            None => drop(error.print()),
        }
        ExitCode::from(failure::USAGE)
    })
}

/// What a command line that cannot be read says about programs reading the answer; `None` where people do.
fn format_asked(words: &[String]) -> Option<Format> {
    let next = words.iter().skip(1).map(Some).chain([None]);
    let formats = words.iter().zip(next).filter_map(|(word, next)| {
        let value = match word.as_str() {
            "-o" | "--output" => next?.as_str(),
            word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")).filter(|it| !it.is_empty())?,
        };
        Format::from_str(value.trim_start_matches('='), false).ok()
    });
    formats.last().filter(|format| *format != Format::Table)
}

/// What is wrong with a command line, on one line and without the word that says that it is an error.
fn misread(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    Failure::usage(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn completions(shell: clap_complete::Shell) -> Said {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "escrow", &mut script);
    Said::text(String::from_utf8_lossy(&script).into_owned())
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
        Command::Token(args) => token::run(&args.command, output),
        Command::Status(args) if args.probe => status::probe(&Client::new(args.server)?, output).await,
        Command::Status(args) => status::run(&Client::new(args.server)?, args.watch, output).await,
        Command::Top(args) => top::run(Client::new(args.server)?, args.every, output).await,
        Command::Completions { shell } => Ok(completions(shell)),
    }
}
