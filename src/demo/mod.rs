//! The demo.
pub async fn run(_config: crate::config::DemoConfig) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
