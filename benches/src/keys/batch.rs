//! Batches of 256.

use std::time::Instant;

use alloy_primitives::Address;
use anyhow::{Context, Result, bail};
use api::keys::v1::SignTransactionsRequest;
use api::keys::v1::sign_transaction_result::Outcome;
use serde_json::json;

use super::limit;
use super::world::{Client, World, world};
use crate::report::{Figure, quantile, rounded};

const BATCH: usize = 256;
const BATCHES: usize = 30;
const TARGET: f64 = 4_000.0;

async fn batch(world: &World, client: &mut Client) -> Result<Vec<(Address, Vec<u8>)>> {
    let requests = (0..BATCH).map(|key| world.request(key)).collect();
    let answer = client.sign_transactions(SignTransactionsRequest { requests }).await?.into_inner();
    let mut all = Vec::with_capacity(BATCH);
    for (key, result) in answer.results.into_iter().enumerate() {
        match result.outcome {
            Some(Outcome::Signed(signed)) => all.push((world.address(key)?, signed.raw_transaction.to_vec())),
            _ => bail!("not signed"),
        }
    }
    Ok(all)
}

/// One client, batch after batch; and two at once.
pub async fn of_256() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let mut client = world.client("lifecycle")?;
    let mut all = batch(world, &mut client).await?;
    let mut times = Vec::new();
    let begun = Instant::now();
    for _ in 0..BATCHES {
        let asked = Instant::now();
        all.extend(batch(world, &mut client).await?);
        times.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let rate = (BATCHES * BATCH) as f64 / begun.elapsed().as_secs_f64();
    let mut second = world.client("lifecycle")?;
    let begun = Instant::now();
    let several = async |client: &mut Client| {
        let mut all = Vec::new();
        for _ in 0..BATCHES {
            all.extend(batch(world, client).await?);
        }
        anyhow::Ok(all)
    };
    let (one, two) = futures::future::try_join(several(&mut client), several(&mut second)).await?;
    let together = (one.len() + two.len()) as f64 / begun.elapsed().as_secs_f64();
    all.extend(one);
    all.extend(two);
    limit::all_recover(&all)?;
    let records = limit::chain_is_whole(world).await?;
    let (sign_us, faithful_us) = limit::k256_us()?;
    Ok(Figure::new(
        rate,
        "signatures/s",
        TARGET,
        "signatures in a second of one client that asks for batches of 256, one after the other",
    )
    .limit(
        limit::CORES * 1e6 / faithful_us,
        "what two cores can sign and recover with k256, doing nothing else",
    )
    .with("batch_p50_ms", json!(rounded(quantile(&mut times, 0.5))))
    .with("two_clients_per_s", json!(rounded(together)))
    .with("k256_sign_us", json!(rounded(sign_us)))
    .with("k256_sign_and_recover_us", json!(rounded(faithful_us)))
    .with("audit_records_verified", json!(records)))
}
