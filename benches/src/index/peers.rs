//! Others on the same chain, the same Postgres and in the same run, as programs of their own.
//!
//! One that does not install or end is reported as not run, with the reason.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::contracts::L1;
use testkit::free_port;
use tokio::process::Command;

use super::backfill::{self, HUNDRED_THOUSAND};
use super::oracle;
use super::world::{Database, World, world};
use crate::npm::installed;
use crate::report::{Figure, rounded};

/// Ponder took 140 to 150 s.
const RUN_MAX: Duration = Duration::from_secs(400);
const SQD_FILES: [&str; 3] = ["package.json", "main.js", "lib/model/index.js"];
const PONDER_FILES: [&str; 6] =
    ["package.json", "abi.ts", "ponder.config.ts", "ponder.schema.ts", "src/index.ts", "src/api/index.ts"];
const PONDER: &str = "ponder 0.16.10, Postgres, polling 1,000 ms, one raw table; cold, and warm on its own cache; it \
                      ends 30 blocks below the head";
/// What Ponder takes for final on a chain that it does not know.
const PONDER_DEPTH: u64 = 30;
/// To count rows costs the peer's database a few milliseconds: seldom enough not to slow it.
const LOOK: Duration = Duration::from_millis(200);
const SQD: &str = "evm-processor 1.27.3 and typeorm-store 1.5.1, RPC mode, capacity 10, batches of 100, hot blocks on, \
                   finality 1, one raw table";
const SQD_TABLE: &str = "
    CREATE TABLE chain_log (id varchar PRIMARY KEY, number int4 NOT NULL, address text NOT NULL, topics text NOT NULL,
        data text NOT NULL, transaction text NOT NULL)";

/// SQD over the dense chain.
pub async fn sqd() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let l1 = world.chain(backfill::plan(HUNDRED_THOUSAND)).await?.l1.clone();
    let truth = oracle::of_chain(&l1).await?;
    let what = "events in a second of SQD over the chain of index.backfill_100k, from the start of its process to its \
                last row; nothing is promised of it";
    Ok(match run_sqd(world, &l1, truth.events).await {
        Ok(secs) => Figure::new(truth.events as f64 / secs, "events/s", 0.0, what)
            .with("wall_s", json!(rounded(secs)))
            .with("rows", json!(truth.events))
            .with("as_many_rows_as_events", json!(true)),
        Err(error) => {
            Figure::new(f64::NAN, "events/s", 0.0, what).with("not_run", json!(format!("{error:#}")))
        }
    }
    .with("settings", json!(SQD)))
}

/// Seconds until it has all events. It does not end by itself.
async fn run_sqd(world: &World, l1: &L1, events: u64) -> Result<f64> {
    let folder = installed("sqd", &SQD_FILES).await?;
    let database = world.database().await?;
    let mut connection = PgConnection::connect(&database.url).await?;
    connection.execute(SQD_TABLE).await?;
    connection.close().await?;
    let mut command = program_of(&folder, &database)?;
    let head = l1.link.head().await?.number;
    command.arg("main.js").env("RPC", l1.link.url()).env("BLOCKS", format!("{}-{head}", l1.start_block));
    command.env("CONTRACTS", format!("{:#x},{:#x}", l1.locking_pool, l1.locking_info));
    let secs = until_rows(command, &database, "public", events).await?;
    world.drop_database(database).await?;
    Ok(secs)
}

/// Ponder over the dense chain.
pub async fn ponder() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let l1 = world.chain(backfill::plan(HUNDRED_THOUSAND)).await?.l1.clone();
    let what = "events in a second of Ponder with an empty cache over the chain of index.backfill_100k, from the start \
                of its process to its last historical row; nothing is promised of it";
    Ok(match run_ponder(world, &l1).await {
        Ok((events, cold, warm)) => Figure::new(events as f64 / cold, "events/s", 0.0, what)
            .with("wall_s", json!(rounded(cold)))
            .with("warm_events_per_s", json!(rounded(events as f64 / warm)))
            .with("rows", json!(events))
            .with("as_many_rows_as_events", json!(true)),
        Err(error) => {
            Figure::new(f64::NAN, "events/s", 0.0, what).with("not_run", json!(format!("{error:#}")))
        }
    }
    .with("settings", json!(PONDER)))
}

/// Events up to where Ponder calls the chain final, and the seconds for them without and with its cache.
async fn run_ponder(world: &World, l1: &L1) -> Result<(u64, f64, f64)> {
    let folder = installed("ponder", &PONDER_FILES).await?;
    let database = world.database().await?;
    let end = l1.link.head().await?.number - PONDER_DEPTH;
    let expected = oracle::up_to(l1, end).await?.events;
    let mut walls = Vec::new();
    for schema in ["cold", "warm"] {
        let mut command = Command::new("node");
        command.current_dir(&folder).args(["node_modules/ponder/dist/esm/bin/ponder.js", "start"]);
        command.args(["--schema", schema, "--port", &free_port()?.to_string()]);
        command.env("DATABASE_URL", &database.url).env("RPC", l1.link.url());
        command.env("CHAIN_ID", l1.chain_id.to_string()).env("START_BLOCK", l1.start_block.to_string());
        command.env("POOL", l1.locking_pool.to_string()).env("INFO", l1.locking_info.to_string());
        walls.push(until_rows(command, &database, schema, expected).await?);
    }
    world.drop_database(database).await?;
    Ok((expected, walls[0], walls[1]))
}

/// Seconds from the start of a program until its table has so many rows; then it is killed.
async fn until_rows(mut command: Command, database: &Database, schema: &str, expected: u64) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let begun = Instant::now();
    let mut child = command.spawn().context("starting it")?;
    tokio::select! {
        rows = tokio::time::timeout(RUN_MAX, rows_come(database, schema, expected)) => {
            rows.context("it takes too long")??;
        }
        status = child.wait() => bail!("it ended with {}", status?),
    }
    let secs = begun.elapsed().as_secs_f64();
    child.kill().await?;
    Ok(secs)
}

/// Until the table has exactly so many rows; more is an error.
async fn rows_come(database: &Database, schema: &str, expected: u64) -> Result<()> {
    let mut connection = PgConnection::connect(&database.url).await?;
    let sql = format!("SELECT count(*) FROM {schema}.chain_log");
    loop {
        // The table is not there at first.
        let rows = sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&mut connection).await.ok();
        let rows: Option<i64> = rows;
        let rows = u64::try_from(rows.unwrap_or(0))?;
        ensure!(rows <= expected, "{rows} rows, the chain has {expected} events");
        if rows == expected {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// node in the peer's folder, told of the database in the variables that SQD reads.
fn program_of(folder: &Path, database: &Database) -> Result<Command> {
    let (user, rest) = database.url.trim_start_matches("postgres://").split_once(':').context("a user")?;
    let (password, rest) = rest.split_once('@').context("a password")?;
    let (host, rest) = rest.split_once(':').context("a host")?;
    let (port, name) = rest.split_once('/').context("a port")?;
    let mut command = Command::new("node");
    command.current_dir(folder).env("PROMETHEUS_PORT", free_port()?.to_string());
    let known = [("USER", user), ("PASS", password), ("HOST", host), ("PORT", port), ("NAME", name)];
    for (variable, value) in known {
        command.env(format!("DB_{variable}"), value);
    }
    Ok(command)
}
