//! A chain as Ethereum is to us: an event in a hundred blocks.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use testkit::crowd::Plan;
use testkit::proxy::{Faults, Proxy};

use super::backfill::{self, LIMIT_IS, Measured};
use super::world::world;
use crate::report::Figure;

/// Blocks that the crowd acts in, and how many it leaves between: with its extras that are about 560 events, one in
/// each hundred blocks.
const ACTS: u64 = 280;
const EVERY: u64 = 200;
const RUNS: usize = 3;
/// What a node far away takes for each request.
const FAR: Duration = Duration::from_millis(50);
const WHAT: &str = "from the start of the process to the head in the checkpoint, about 560 events in 56,000 blocks, \
                    median of three";

/// Seconds for the sparse chain.
pub async fn near() -> Result<Figure> {
    let of = measured(Duration::ZERO).await?;
    Ok(of.on(Figure::new(of.wall(), "s", 0.6, WHAT).limit(of.limit, LIMIT_IS)))
}

/// The same with a delay of each request.
pub async fn far() -> Result<Figure> {
    let of = measured(FAR).await?;
    let what = format!("{WHAT}, each request delayed by 50 ms");
    Ok(of.on(Figure::new(of.wall(), "s", 1.2, &what).limit(of.limit, LIMIT_IS)).with("delay_ms", json!(50)))
}

async fn measured(delay: Duration) -> Result<Measured> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let l1 = world.chain(Plan { every: EVERY, ..Plan::sparse(ACTS) }).await?.l1.clone();
    let proxy = Proxy::start(l1.link.url()).await?;
    proxy.set(Faults { delay, ..Faults::default() });
    let url = if delay.is_zero() { l1.link.url().to_owned() } else { proxy.url() };
    backfill::measure(world, &l1, &url, RUNS, true).await
}
