//! One client, and twenty: how long a signature takes, and how many there are in a second.

use std::time::{Duration, Instant};

use alloy_primitives::Address;
use anyhow::{Context, Result};
use serde_json::json;

use super::limit::{self, Bare};
use super::world::{Client, KEYS, World, world};
use crate::report::{Figure, millis, quantile, rounded};

/// Signatures and bare commits are measured in turns, so that both meet the same moods of the disk.
const TURNS: usize = 10;
const IN_A_TURN: usize = 40;
const WARM_UP: usize = 20;
/// The promise: this often the time of a bare durable commit.
const TIMES_MAX: f64 = 1.5;
const LASTING: Duration = Duration::from_secs(5);
/// Of the rate of group commits, and at least.
const PART_MIN: f64 = 0.7;
const RATE_MIN: f64 = 1_000.0;
const WHAT: &str =
    "from the request over loopback gRPC with mutual TLS to the answer, policy, windows, guard and audit on";

async fn signed(world: &World, client: &mut Client, key: usize) -> Result<(Address, Vec<u8>)> {
    let answer = client.sign_transaction(world.request(key)).await?.into_inner();
    Ok((world.address(key)?, answer.raw_transaction.to_vec()))
}

/// One client after the other.
pub async fn one() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let mut client = world.client("lifecycle")?;
    let mut bare = Bare::connect(world).await?;
    let mut all = Vec::new();
    for _ in 0..WARM_UP {
        all.push(signed(world, &mut client, 0).await?);
        bare.commit(&[0]).await?;
    }
    let (mut signing, mut committing) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for _ in 0..IN_A_TURN {
            let begun = Instant::now();
            all.push(signed(world, &mut client, 0).await?);
            signing.push(millis(begun, Instant::now()));
        }
        for _ in 0..IN_A_TURN {
            let begun = Instant::now();
            bare.commit(&[0]).await?;
            committing.push(millis(begun, Instant::now()));
        }
    }
    limit::all_recover(&all)?;
    let records = limit::chain_is_whole(world).await?;
    let (p50, p99) = (quantile(&mut signing, 0.5), quantile(&mut signing, 0.99));
    let least = quantile(&mut committing, 0.5);
    let (_, k256_us) = limit::k256_us()?;
    Ok(Figure::new(p50, "ms", least * TIMES_MAX, &format!("p50 of one signature, {WHAT}"))
        .limit(least, "p50 of a bare durable commit of the same rows by a plain client, in turns with it")
        .with("p99_ms", json!(rounded(p99)))
        .with("bare_commit_and_k256_ms", json!(rounded(least + k256_us / 1e3)))
        .with("limit_p99_ms", json!(rounded(quantile(&mut committing, 0.99))))
        .with("signatures", json!(all.len()))
        .with("audit_records_verified", json!(records)))
}

/// Twenty clients with a key and a connection each.
pub async fn twenty() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let before = limit::group_commits(world, KEYS, LASTING / 2).await?;
    let mut clients = Vec::new();
    for key in 0..KEYS {
        let mut client = world.client("lifecycle")?;
        signed(world, &mut client, key).await?;
        clients.push((key, client));
    }
    let begun = Instant::now();
    let clients = clients.into_iter().map(|(key, mut client)| async move {
        let (mut all, mut times) = (Vec::new(), Vec::new());
        while begun.elapsed() < LASTING {
            let asked = Instant::now();
            all.push(signed(world, &mut client, key).await?);
            times.push(millis(asked, Instant::now()));
        }
        anyhow::Ok((all, times))
    });
    let done = futures::future::try_join_all(clients).await?;
    let secs = begun.elapsed().as_secs_f64();
    let after = limit::group_commits(world, KEYS, LASTING / 2).await?;
    let (all, mut times): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    let all = all.concat();
    let mut times: Vec<f64> = times.drain(..).flatten().collect();
    limit::all_recover(&all)?;
    let records = limit::chain_is_whole(world).await?;
    let most = (before + after) / 2.0;
    let target = RATE_MIN.max(PART_MIN * most);
    let (_, k256_us) = limit::k256_us()?;
    Ok(Figure::new(
        all.len() as f64 / secs,
        "signatures/s",
        target,
        &format!("signatures in a second, {WHAT}"),
    )
    .limit(most, "the same rows in a second, committed in groups for 20 clients of one connection, nothing decided, just before and just after")
    .with("p50_ms", json!(rounded(quantile(&mut times, 0.5))))
    .with("p99_ms", json!(rounded(quantile(&mut times, 0.99))))
    .with("clients", json!(KEYS))
    .with("k256_only_per_s", json!(rounded(limit::CORES * 1e6 / k256_us)))
    .with("audit_records_verified", json!(records)))
}
