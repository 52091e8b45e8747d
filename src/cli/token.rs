//! `escrow token`: makes tokens. Nothing is asked and nothing is stored: what lets a token in is a person's own file.

use serde_json::json;

use super::args::{NewToken, TokenCommand};
use super::failure::{FAILURE, Failure};
use super::output::{Output, Said};
use crate::http::access::book::Book;
use crate::http::access::token;

/// Runs one of the commands.
pub fn run(command: &TokenCommand, output: Output) -> Result<Said, Failure> {
    match command {
        TokenCommand::New(wanted) => make(wanted, output),
    }
}

fn make(wanted: &NewToken, output: Output) -> Result<Said, Failure> {
    let (shown, digest) = token::make()
        .map_err(|error| Failure::new(FAILURE, "no_random", format!("the machine gives no random bytes: {error}")))?;
    let mut entry = json!({"name": wanted.name, "role": wanted.role.word(), "sha256": digest.hex()});
    if !wanted.sagas.is_empty() {
        entry["sagas"] = json!(wanted.sagas);
    }
    if let Some(expires) = wanted.expires {
        entry["expires"] = json!(expires.rfc3339());
    }
    let lines = format!("  - {entry}\n");
    // What would be refused in the file is refused here.
    Book::parse(&format!("tokens:\n{lines}")).map_err(Failure::usage)?;
    let answer = json!({"token": shown, "entry": entry});
    Ok(output.one(&answer, |_| {
        format!(
            "{shown}\n\nIt is shown this once. Whoever uses it keeps it in a file of his own, and names that with --token-file.\n\
             What lets it in stands under `tokens:` in the access file of the server (--access):\n\n{lines}"
        )
    }))
}
