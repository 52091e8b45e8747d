//! Arguments, telemetry, run, exit code.
use std::path::PathBuf;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    escrow::telemetry::start_logging();
    let env = |k: &str| std::env::var(k).ok();
    escrow::app::serve(escrow::app::Settings {
        database_url: env("DATABASE_URL").unwrap_or("sqlite://escrow.db".into()),
        amqp_url: env("AMQP_URL"),
        sagas: PathBuf::from(env("ESCROW_SAGAS").unwrap_or("sagas".into())),
        listen: env("ESCROW_LISTEN").unwrap_or("127.0.0.1:8080".into()).parse()?,
        name: "default".into(),
        body_keep_bytes: 1 << 20,
        tap: escrow::bus::rabbitmq::Options { bound: Default::default(), batch_messages: 1000, batch_bytes: 8 << 20 },
    })
    .await
}
