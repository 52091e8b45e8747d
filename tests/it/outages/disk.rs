//! Full disks: files may not grow any more. PostgreSQL takes that for what it is (53100), SQLite for a failed write.

use base64::Engine as _;
use serde_json::json;
use tokio::task::block_in_place;

use super::vhost;
use crate::support::escrow::Escrow;
use crate::support::judgement::Alive;
use crate::support::postgres::Server;
use crate::support::scene::{Fate, Scene};

/// A write-ahead segment of PostgreSQL still fits; a table with many large bodies does not.
const SEGMENT_BYTES: u64 = 16 << 20;
/// What SQLite's log may hold before it is full.
const LOG_BYTES: u64 = 1 << 20;
/// Orders that fill any disk here.
const LARGE: usize = 60;

/// So much text that does not compress.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = (0..bytes / 8).flat_map(|_| next()).collect();
    base64::engine::general_purpose::STANDARD.encode(noise)
}

/// Orders with large bodies, until the disk is full; then more of them, and answers.
async fn fill(scene: &Scene) {
    let large = json!({"noise": noise(500_000)});
    for _ in 0..LARGE / 4 {
        scene.place_with(Fate::Answered, 4, &large).await;
    }
    scene.escrow().unready().await;
    let refusing = async || {
        let status = scene.escrow().get("/v1/status").await?;
        status["problems"].to_string().contains("takes no writes").then_some(())
    };
    scene.escrow().until("a person can see why", refusing).await;
    scene.answer().await;
    scene.place(Fate::Silent, 2).await;
    scene.outlast().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgresql_holds_everything_up_and_loses_nothing() {
    let (database, vhost) = (block_in_place(Server::dedicated), vhost());
    let scene = Scene::start(&database.database().await, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    block_in_place(|| database.limit_files(Some(SEGMENT_BYTES)));
    fill(&scene).await;
    block_in_place(|| database.limit_files(None));
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_sqlite_holds_everything_up_and_loses_nothing() {
    let (folder, vhost) = (tempfile::tempdir().unwrap(), vhost());
    let url = format!("sqlite://{}/escrow.db", folder.path().display());
    let mut scene = Scene::new(&url, &vhost.url(), &vhost.url()).await;
    // Without this the first write too many would end the process: a file limit is told by a signal, a full disk is not.
    let careful = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let escrow: Escrow = Scene::replica(&url, &vhost.url()).launched_by(&careful);
    scene.escrows = vec![escrow];
    scene.escrow().run().await;
    scene.escrow().bound().await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    scene.escrow().limit_files(&LOG_BYTES.to_string());
    fill(&scene).await;
    scene.escrow().limit_files("unlimited");
    scene.finish().await;
    alive.was_alive();
}
