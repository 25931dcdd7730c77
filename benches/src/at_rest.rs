//! Figures of the keys service about many keys: how soon all of them can sign after a start, and what they weigh.
//!
//! Measured on the release binary `seqd keys` over gRPC with mutual TLS, on a Postgres of its own with fsync on.

mod installation;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::Measure;
use crate::report::{Figure, quantile, rounded};
use installation::{Client, Installation, Running, create, sign};

/// From the start of the process to the thousandth key that has signed.
pub const UNSEAL: &str = "keys.unseal_1000_s";
/// The most memory with ten thousand keys.
pub const RSS: &str = "keys.rss_10k_mb";

const UNSEAL_KEYS: usize = 1_000;
const UNSEAL_TARGET_SECS: f64 = 3.0;
const RSS_KEYS: usize = 10_000;
const RSS_TARGET_MB: f64 = 80.0;
/// Keys that sign while memory is watched; each is kept in memory from then on.
const RSS_SIGNED: usize = 2_000;
/// Requests beside each other, as in the other figures of signing.
const CLIENTS: usize = 20;
const RUNS: usize = 3;
const KB_PER_MB: f64 = 1_024.0;

/// The figures, in the order in which they are measured.
pub const BENCHES: [(&str, Measure); 2] = [(UNSEAL, || Box::pin(unseal())), (RSS, || Box::pin(rss()))];

/// The service starts sealed with a passphrase, the slowest kind of key-encryption key on our side.
async fn unseal() -> Result<Figure> {
    let installation = Installation::make("kek_passphrase", "correct horse battery staple").await?;
    let running = installation.start().await?;
    fill(&running, UNSEAL_KEYS).await?;
    let keys = installation::keys(&running.operator).await?;
    running.stop().await?;
    let (mut secs, mut ready) = (Vec::new(), Vec::new());
    let mut bare = Vec::new();
    for run in 0..RUNS {
        let begun = Instant::now();
        let running = installation.start().await?;
        ready.push(begun.elapsed().as_secs_f64());
        every_key_signs(&running.lifecycle, &keys, run as u64).await?;
        secs.push(begun.elapsed().as_secs_f64());
        // The same signatures again, with all keys in memory: what is left is the database.
        let warm = Instant::now();
        every_key_signs(&running.lifecycle, &keys, (RUNS + run) as u64).await?;
        bare.push(warm.elapsed().as_secs_f64());
        running.stop().await?;
    }
    let median = |values: &mut [f64]| quantile(values, 0.5);
    let what = "from the start of the process (Argon2id with 64 MiB included) until each of 1,000 keys has given its \
                first signature to one of 20 clients, policy, guard and audit on; median";
    Ok(Figure::new(median(&mut secs), "s", UNSEAL_TARGET_SECS, what)
        .limit(median(&mut bare), "the same 1,000 signatures when all keys are in memory already")
        .with("until_ready_s", json!(rounded(median(&mut ready))))
        .with("keys", json!(UNSEAL_KEYS))
        .with("clients", json!(CLIENTS))
        .with("runs", json!(RUNS)))
}

async fn rss() -> Result<Figure> {
    let kek = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
    let installation = Installation::make("kek", kek).await?;
    let running = installation.start().await?;
    fill(&running, RSS_KEYS).await?;
    running.stop().await?;
    // A process that did not make them: what making costs is not what having costs.
    let running = installation.start().await?;
    let idle = status(running.pid()?, "VmRSS")?;
    let keys = installation::keys(&running.operator).await?;
    ensure!(keys.len() == RSS_KEYS, "{} keys are listed", keys.len());
    every_key_signs(&running.lifecycle, &keys[..RSS_SIGNED], 0).await?;
    let (peak, after) = (status(running.pid()?, "VmHWM")?, status(running.pid()?, "VmRSS")?);
    running.stop().await?;
    let what = "VmHWM of `seqd keys` with 10,000 keys after all were listed and 2,000 of them have signed for 20 clients";
    Ok(Figure::new(peak / KB_PER_MB, "MB", RSS_TARGET_MB, what)
        .with("idle_mb", json!(rounded(idle / KB_PER_MB)))
        .with("after_mb", json!(rounded(after / KB_PER_MB)))
        .with("keys", json!(RSS_KEYS))
        .with("signed", json!(RSS_SIGNED)))
}

/// Makes keys until there are so many.
async fn fill(running: &Running, count: usize) -> Result<()> {
    let made: Vec<_> = (0..count).map(|number| create(&running.operator, format!("key-{number}"))).collect();
    futures::stream::iter(made).buffer_unordered(CLIENTS).try_collect::<Vec<_>>().await?;
    Ok(())
}

async fn every_key_signs(lifecycle: &Client, keys: &[api::keys::v1::Key], nonce: u64) -> Result<()> {
    let signed: Vec<_> = keys.iter().map(|key| sign(lifecycle, key, nonce)).collect();
    let all = futures::stream::iter(signed).buffer_unordered(CLIENTS).try_collect::<Vec<_>>();
    tokio::time::timeout(Duration::from_secs(120), all).await.context("waiting for signatures")??;
    Ok(())
}

/// A size from `/proc/PID/status`, in KiB.
fn status(pid: u32, field: &str) -> Result<f64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/status")).context("reading the size of the service")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kb.context("the size of the service")
}
