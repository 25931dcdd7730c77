//! Dense chains, from the start of the process until everything is committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testkit::contracts::L1;
use testkit::crowd::Plan;
use testkit::proxy::{Counts, Proxy};
use tokio::sync::Mutex;

use super::oracle::{self, Summary};
use super::run::{Eye, Indexer, Usage};
use super::world::{Database, World, world};
use super::{limit, median};
use crate::report::{Figure, rounded};

/// Runs of which the median counts.
const RUNS: usize = 3;
/// Far beyond every target.
const DEADLINE: Duration = Duration::from_secs(600);
/// Events of the dense chain that most figures are about.
pub const HUNDRED_THOUSAND: u64 = 100_000;
/// What is missing at the head must be found by then; twice the time between two comparisons with the contracts.
const REPAIR_MAX: Duration = Duration::from_secs(30);
const REPAIR_LOOK: Duration = Duration::from_millis(100);
const MILLION: u64 = 1_000_000;
/// Blocks of the dense chains, whatever is in them.
const BLOCKS: u64 = 5_000;
/// What stands in `limit`.
pub const LIMIT_IS: &str = "the same logs and headers fetched by the same client, two questions in flight, and written \
                        raw by COPY with one key and the checkpoint in the same commit; nothing decoded";

/// Some runs over one chain, and the limit beside them.
#[derive(Debug, Clone)]
pub struct Measured {
    truth: Summary,
    walls: Vec<f64>,
    usages: Vec<Usage>,
    /// Seconds of the limit, median.
    pub limit: f64,
    /// Seconds and height, as the first run went.
    progress: Vec<(f64, u64)>,
    first: u64,
    last: u64,
}

/// One run of the indexer over a chain.
pub struct Run {
    /// Seconds from the start of the process until every row was committed.
    pub wall: f64,
    usage: Usage,
    progress: Vec<(f64, u64)>,
}

impl Measured {
    /// Seconds of the median run.
    pub fn wall(&self) -> f64 {
        median(&self.walls)
    }

    /// Events in a second, of the median run.
    fn rate(&self) -> f64 {
        self.truth.events as f64 / self.wall()
    }

    fn limit_rate(&self) -> f64 {
        self.truth.events as f64 / self.limit
    }

    fn cpu(&self) -> f64 {
        median(&self.usages.iter().map(|usage| usage.cpu_s).collect::<Vec<_>>())
    }

    fn rss(&self) -> f64 {
        self.usages.iter().map(|usage| usage.rss_mb).fold(0.0, f64::max)
    }

    /// Seconds that the blocks between these parts of the chain took.
    fn secs_between(&self, from: f64, to: f64) -> f64 {
        let height = |part: f64| self.first + ((self.last - self.first) as f64 * part) as u64;
        let when = |height: u64| {
            // Commits hold several ranges: between two of them the height is taken to grow evenly.
            let reached = self.progress.array_windows().find(|[_, (_, number)]| *number >= height);
            reached.map_or(0.0, |[(before, low), (after, high)]| {
                let part = height.saturating_sub(*low) as f64 / (high - low).max(1) as f64;
                before + (after - before) * part
            })
        };
        when(height(to)) - when(height(from))
    }

    /// What is worth knowing beside any figure of these runs.
    pub fn on(&self, figure: Figure) -> Figure {
        let walls: Vec<f64> = self.walls.iter().copied().map(rounded).collect();
        figure
            .with("events", json!(self.truth.events))
            .with("rows", json!(self.truth.rows))
            .with("blocks", json!(self.last - self.first + 1))
            .with("wall_s", json!(walls))
            .with("limit_s", json!(rounded(self.limit)))
            .with("cpu_s", json!(rounded(self.cpu())))
            .with("rss_mb", json!(rounded(self.rss())))
            .with("rows_equal_chain", json!(true))
    }
}

/// The runs over a chain of so many events, made once for all figures.
async fn measured(events: u64) -> Result<Measured> {
    static ALL: Mutex<BTreeMap<u64, Measured>> = Mutex::const_new(BTreeMap::new());
    let mut all = ALL.lock().await;
    if let Some(known) = all.get(&events) {
        return Ok(known.clone());
    }
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let l1 = world.chain(plan(events)).await?.l1.clone();
    let found = measure(world, &l1, l1.link.url(), if events == MILLION { 1 } else { RUNS }, false).await?;
    all.insert(events, found.clone());
    Ok(found)
}

/// The dense chain with so many events.
pub fn plan(events: u64) -> Plan {
    // The short chain is as full as the long one, so that only its length differs.
    let most = (MILLION / BLOCKS).min(events);
    Plan::dense(events, if events == HUNDRED_THOUSAND { events / BLOCKS } else { most })
}

/// The limit and the indexer in turns, so that both meet the same weather.
///
/// # Errors
/// When one fails, or the index is not exactly the chain.
pub async fn measure(world: &World, l1: &L1, url: &str, runs: usize, sparse: bool) -> Result<Measured> {
    let truth = oracle::of_chain(l1).await.context("reading the chain")?;
    let (mut limits, mut done) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        limits.push(limit::measure(world, l1, url, &truth, sparse).await.context("measuring the limit")?);
        done.push(run(world, l1, &[url.to_owned()], &truth).await?);
    }
    let last = l1.link.head().await?.number;
    Ok(Measured {
        truth,
        walls: done.iter().map(|run| run.wall).collect(),
        usages: done.iter().map(|run| run.usage).collect(),
        limit: median(&limits),
        progress: done.swap_remove(0).progress,
        first: l1.start_block,
        last,
    })
}

/// Indexes the chain behind these URLs into a database of its own, and compares every row.
///
/// # Errors
/// When it does not get there, or the index is not exactly the chain.
pub async fn run(world: &World, l1: &L1, rpc: &[String], truth: &Summary) -> Result<Run> {
    run_and(world, l1, rpc, truth, || ()).await
}

/// The same, with something to be done when the index is at the head: it goes on asking while it is compared.
async fn run_and(
    world: &World,
    l1: &L1,
    rpc: &[String],
    truth: &Summary,
    at_head: impl FnOnce(),
) -> Result<Run> {
    let head = l1.link.head().await?.number;
    let database = world.database().await?;
    let configured = world.configure(l1, rpc, None, &database)?;
    let mut eye = Eye::open(&database, DEADLINE).await?;
    let mut indexer = Indexer::start(&configured)?;
    let begun = indexer.begun;
    let mut progress = vec![(0.0, 0)];
    let done = eye
        .until(&mut indexer, "the head", |tip, _| {
            if progress.last().is_some_and(|(_, last)| *last < tip) {
                progress.push((begun.elapsed().as_secs_f64(), tip));
            }
            tip >= head
        })
        .await?;
    at_head();
    let (mut wall, usage) = (done.duration_since(begun).as_secs_f64(), indexer.usage()?);
    let mut found = oracle::of_index(&database.url, l1).await?;
    if found != *truth {
        // What no counter of the contracts could tell yet is found by the comparison with their state.
        wall = repaired(&mut indexer, &database, l1, truth).await?;
        found = oracle::of_index(&database.url, l1).await?;
    }
    indexer.kill().await?;
    oracle::same(truth, &found).context("comparing the index")?;
    drop(eye);
    world.drop_database(database).await?;
    Ok(Run { wall, usage, progress })
}

/// Seconds until the index has as many rows as the chain, or until nobody waits any longer.
async fn repaired(indexer: &mut Indexer, database: &Database, l1: &L1, truth: &Summary) -> Result<f64> {
    let since = Instant::now();
    while since.elapsed() < REPAIR_MAX {
        indexer.alive()?;
        if oracle::of_index(&database.url, l1).await?.rows == truth.rows {
            break;
        }
        tokio::time::sleep(REPAIR_LOOK).await;
    }
    Ok(indexer.begun.elapsed().as_secs_f64())
}

/// Events in a second over 100,000 events in 5,000 blocks.
pub async fn hundred_thousand() -> Result<Figure> {
    let of = measured(HUNDRED_THOUSAND).await?;
    let what = "events in a second, from the start of the process to the head in the checkpoint, 20 events in each of \
                5,000 blocks; the target is 0.35 of the limit of this run";
    let figure = Figure::new(of.rate(), "events/s", 0.35 * of.limit_rate(), what);
    Ok(of.on(figure.limit(of.limit_rate(), LIMIT_IS)))
}

/// Events in a second over 1,000,000 events in 5,000 blocks.
pub async fn million() -> Result<Figure> {
    let of = measured(MILLION).await?;
    let what = "the same, with 200 events in each of 5,000 blocks";
    let figure = Figure::new(of.rate(), "events/s", 0.35 * of.limit_rate(), what);
    Ok(of.on(figure.limit(of.limit_rate(), LIMIT_IS)))
}

/// Memory at its peak.
pub async fn rss() -> Result<Figure> {
    let small = measured(HUNDRED_THOUSAND).await?;
    let large = measured(MILLION).await?;
    let what = "largest VmHWM of the indexer's process over the backfills of 100,000 and 1,000,000 events";
    let figure = Figure::new(small.rss().max(large.rss()), "MB", 80.0, what);
    Ok(figure.with("at_100k", json!(rounded(small.rss()))).with("at_1m", json!(rounded(large.rss()))))
}

/// Processor time for 100,000 events.
pub async fn cpu() -> Result<Figure> {
    let of = measured(HUNDRED_THOUSAND).await?;
    let per_100k = of.cpu() * HUNDRED_THOUSAND as f64 / of.truth.events as f64;
    let what = "user and system time of the indexer's process for 100,000 events, its start included";
    Ok(of.on(Figure::new(per_100k, "s", 1.5, what)))
}

/// How an event's cost grows with what is there.
pub async fn growth() -> Result<Figure> {
    let large = measured(MILLION).await?;
    let small = measured(MILLION / 100).await?;
    // The start of the process is in neither: 10^4 events take less than it does.
    let early = large.secs_between(0.01, 0.11);
    let late = large.secs_between(0.90, 1.0);
    let what = "seconds for the last 100,000 of 1,000,000 events over seconds for the 100,000 after the first 10,000, \
                in one run: the start of the process, longer than 10,000 events take, is in neither";
    let figure = Figure::new(late / early.max(f64::MIN_POSITIVE), "ratio", 1.2, what);
    let whole = |of: &Measured| rounded(of.wall() * 1e6 / of.truth.events as f64);
    Ok(figure
        .with("us_per_event_1m_with_start", json!(whole(&large)))
        .with("us_per_event_10k_with_start", json!(whole(&small)))
        .with("early_s", json!(rounded(early)))
        .with("late_s", json!(rounded(late))))
}

/// HTTP requests for 100,000 events.
pub async fn requests() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let l1 = world.chain(plan(HUNDRED_THOUSAND)).await?.l1.clone();
    let truth = oracle::of_chain(&l1).await?;
    let proxy = Proxy::start(l1.link.url()).await?;
    let mut counts = Counts::default();
    let run = run_and(world, &l1, &[proxy.url()], &truth, || counts = proxy.counts()).await?;
    let what = "HTTP requests of one backfill of 100,000 events in 5,000 blocks from the start of the process to the \
                head in the checkpoint, counted by a proxy";
    Ok(Figure::new(counts.http as f64, "requests", 150.0, what)
        .with("calls", json!(counts.calls))
        .with("by_method", json!(counts.by_method))
        .with("events", json!(truth.events))
        .with("wall_s", json!(rounded(run.wall))))
}

/// Seconds until an indexer that was killed has the first new event, with 1,000,000 there.
pub async fn resume() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let mut crowd = world.own_chain(plan(MILLION)).await?;
    let l1 = crowd.l1.clone();
    let database = world.database().await?;
    let configured = world.configure(&l1, &[l1.link.url().to_owned()], None, &database)?;
    let mut eye = Eye::open(&database, DEADLINE).await?;
    let mut first = Indexer::start(&configured)?;
    eye.at(&mut first, l1.link.head().await?.number).await?;
    let mut walls = Vec::new();
    for _ in 0..RUNS {
        first.kill().await?;
        crowd.play(20).await?;
        let head = l1.link.head().await?.number;
        let again = Instant::now();
        first = Indexer::start(&configured)?;
        let seen = eye.at(&mut first, head).await?;
        walls.push(seen.duration_since(again).as_secs_f64());
    }
    first.kill().await?;
    let truth = oracle::of_chain(&l1).await?;
    oracle::same(&truth, &oracle::of_index(&database.url, &l1).await?).context("comparing the index")?;
    drop(eye);
    world.drop_database(database).await?;
    let what = "from the start of the process, at once after SIGKILL of the one before it, to the first new event \
                committed, median of three";
    let all: Vec<f64> = walls.iter().copied().map(rounded).collect();
    Ok(Figure::new(median(&walls), "s", 2.0, what)
        .with("wall_s", json!(all))
        .with("events", json!(truth.events))
        .with("rows_equal_chain", json!(true)))
}
