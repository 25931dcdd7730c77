//! The dense chain behind nodes that misbehave: how much longer until the index is exactly the chain.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::json;
use testkit::contracts::L1;
use testkit::proxy::{Chance, Counts, Faults, HttpStatus, Lie, Lost, Proxy, Stall, TruncateLogs};

use super::backfill::{self, HUNDRED_THOUSAND};
use super::oracle::{self, Summary};
use super::world::{World, world};
use crate::report::{Figure, rounded};

/// With few answers and a small chance nothing may happen: so many seeds are tried.
const SEEDS: u64 = 12;
const TRUNCATED_TARGET: f64 = 2.0;
const CHAOS_TARGET: f64 = 3.0;
/// Of the nodes of the chaos: one fails now and then, one lags, one lies.
const FAILING: Chance = Chance::percent(10);
const STALLED: Chance = Chance::percent(5);
const STALL_SECS: u64 = 2;
const LAG_BLOCKS: u64 = 50;
const LYING: Chance = Chance::percent(20);

/// A hundredth of the answers lack logs.
pub async fn truncated_1() -> Result<Figure> {
    truncated(Chance::percent(1)).await
}

/// A fifth of the answers lack logs.
pub async fn truncated_20() -> Result<Figure> {
    truncated(Chance::percent(20)).await
}

async fn truncated(chance: Chance) -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let (l1, truth) = chain(world).await?;
    let proxy = Proxy::start(l1.link.url()).await?;
    let clean = backfill::run(world, &l1, &[proxy.url()], &truth).await?.wall;
    for seed in 1..=SEEDS {
        let truncate_logs = Some(TruncateLogs { chance, lost: Lost::Random });
        proxy.reset_counts();
        proxy.set(Faults { seed, truncate_logs, ..Faults::default() });
        let outcome = backfill::run(world, &l1, &[proxy.url()], &truth).await;
        let Counts { logs_dropped, faults, http, .. } = proxy.counts();
        let run = outcome.with_context(|| format!("{logs_dropped} logs were dropped, {faults:?}"))?;
        if logs_dropped == 0 {
            continue;
        }
        let what = "seconds until the rows equal the chain, over the seconds with complete answers; a part of the \
                    non-empty log answers lacks logs chosen at random";
        return Ok(Figure::new(run.wall / clean, "ratio", TRUNCATED_TARGET, what)
            .with("logs_dropped", json!(logs_dropped))
            .with("answers_truncated", json!(faults))
            .with("requests", json!(http))
            .with("seed", json!(seed))
            .with("wall_s", json!(rounded(run.wall)))
            .with("clean_s", json!(rounded(clean)))
            .with("rows_equal_chain", json!(true)));
    }
    bail!("no answer was truncated with {SEEDS} seeds")
}

/// Three nodes, each with a fault of its own.
pub async fn chaos() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let (l1, truth) = chain(world).await?;
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(Proxy::start(l1.link.url()).await?);
    }
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let clean = backfill::run(world, &l1, &urls, &truth).await.context("without faults")?.wall;
    for (proxy, faults) in proxies.iter().zip(chaotic()) {
        proxy.reset_counts();
        proxy.set(faults);
    }
    let run = backfill::run(world, &l1, &urls, &truth).await.context("with faults")?;
    let faults: Vec<BTreeMap<_, _>> = proxies.iter().map(|proxy| proxy.counts().faults).collect();
    let what = "seconds until the rows equal the chain, over the seconds with three good nodes: one answers 20 % with \
                429 or 500 and stalls 5 % by 2 s, one lags 50 blocks, one alters data in 20 % of its log answers";
    Ok(Figure::new(run.wall / clean, "ratio", CHAOS_TARGET, what)
        .with("faults", json!(faults))
        .with("wall_s", json!(rounded(run.wall)))
        .with("clean_s", json!(rounded(clean)))
        .with("rows_equal_chain", json!(true)))
}

fn chaotic() -> [Faults; 3] {
    let status = |status| HttpStatus { chance: FAILING, status, retry_after_secs: None };
    let stall = Stall { chance: STALLED, duration: std::time::Duration::from_secs(STALL_SECS) };
    [
        Faults { http_status: vec![status(429), status(500)], stall: Some(stall), ..Faults::default() },
        Faults { stale: Some(LAG_BLOCKS), ..Faults::default() },
        Faults { lie: Some(Lie::AlterLogData(LYING)), ..Faults::default() },
    ]
}

async fn chain(world: &mut World) -> Result<(L1, Summary)> {
    let l1 = world.chain(backfill::plan(HUNDRED_THOUSAND)).await?.l1.clone();
    let truth = oracle::of_chain(&l1).await?;
    Ok((l1, truth))
}
