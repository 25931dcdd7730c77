//! A crash with a thousand transactions in the pools.

use std::time::{Duration, Instant};

use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use sqlx::{PgConnection, Row};

use super::latency::{at_once, settle};
use super::members::{self, Member};
use super::stage::Stage;
use super::world::world;
use crate::report::Figure;

const PENDING: usize = 1_000;
/// The promise.
const TARGET_S: f64 = 5.0;
const WAIT_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);

/// `seqd lifecycle` is killed and started again; nothing is mined meanwhile.
pub async fn thousand() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let mut stage = Stage::start(world).await?;
    let members = members::locked(&stage, PENDING).await?;
    let before = nonces(&stage, &members).await?;
    members::ask_all(&stage, members.iter().map(at_once).collect()).await?;
    let mut sql = stage.sql().await?;
    until(&mut sql, &stage, "in the pools", PENDED, PENDING).await?;
    stage.kill("lifecycle").await?;
    let epochs = "CREATE TEMPORARY TABLE held AS SELECT name, epoch FROM lifecycle.lease";
    sqlx::query(epochs).execute(&mut sql).await?;
    let begun = Instant::now();
    stage.begin("lifecycle").await?;
    until(&mut sql, &stage, "adopted", ADOPTED, PENDING).await?;
    let adopted = begun.elapsed();
    stage.with_the_clock().await?;
    settle(&mut sql, PENDING).await?;
    let settled = begun.elapsed();
    for (before, after) in before.iter().zip(nonces(&stage, &members).await?) {
        ensure!(after == before + U256::ONE, "{} transactions of one operation", after - before);
    }
    world.drop_database(&stage.database).await?;
    Ok(Figure::new(
        adopted.as_secs_f64(),
        "s",
        TARGET_S,
        "from the start of the process after kill -9 until each of 1,000 accounts with a transaction in the pools has its \
         lane again under a lease of its own; then each operation was confirmed with one transaction",
    )
    .with("pending", json!(PENDING))
    .with("all_confirmed_s", json!(crate::report::rounded(settled.as_secs_f64()))))
}

const PENDED: &str = "SELECT count(*) FROM lifecycle.operation WHERE state = 'BROADCAST'";
const ADOPTED: &str = "SELECT count(*) FROM lifecycle.lease l JOIN held USING (name)
     WHERE l.name LIKE 'lane/%' AND l.epoch > held.epoch AND l.expires_at > now()";

async fn until(
    sql: &mut PgConnection,
    stage: &Stage,
    what: &str,
    query: &'static str,
    count: usize,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found: i64 = sqlx::query(query).fetch_one(&mut *sql).await?.try_get(0)?;
        if usize::try_from(found)? >= count {
            return Ok(());
        }
        ensure!(begun.elapsed() < WAIT_MAX, "{found} of {count} are {what}: {}", stage.said());
        tokio::time::sleep(LOOK).await;
    }
}

async fn nonces(stage: &Stage, members: &[Member]) -> Result<Vec<U256>> {
    let mut nonces = Vec::with_capacity(members.len());
    for member in members {
        nonces.push(stage.l1.link.rpc("eth_getTransactionCount", json!([member.owner, "latest"])).await?);
    }
    Ok(nonces)
}
