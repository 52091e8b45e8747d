//! `escrow`: arguments → logging → the command → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match escrow::cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    escrow::telemetry::start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(escrow::cli::run(cli, &escrow::app::Program)),
        Err(error) => {
            tracing::error!(%error, "the runtime cannot start");
            ExitCode::FAILURE
        }
    }
}
