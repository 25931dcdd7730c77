//! Others on the same chain, the same Postgres and in the same run, as programs of their own.
//!
//! One that does not install or end is reported as not run, with the reason.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use testkit::contracts::L1;
use tokio::process::Command;

use super::backfill::{self, HUNDRED_THOUSAND};
use super::oracle;
use super::world::{Database, World, free_port, world};
use crate::npm::{ended, installed};
use crate::report::{Figure, rounded};

const RUN_MAX: Duration = Duration::from_secs(180);
const FILES: [&str; 3] = ["package.json", "main.js", "lib/model/index.js"];
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
                end; nothing is promised of it";
    Ok(match run_sqd(world, &l1).await {
        Ok((secs, rows)) => Figure::new(truth.events as f64 / secs, "events/s", 0.0, what)
            .with("wall_s", json!(rounded(secs)))
            .with("rows", json!(rows))
            .with("rows_equal_chain", json!(rows == truth.events)),
        Err(error) => {
            Figure::new(f64::NAN, "events/s", 0.0, what).with("not_run", json!(format!("{error:#}")))
        }
    }
    .with("settings", json!(SQD)))
}

async fn run_sqd(world: &World, l1: &L1) -> Result<(f64, u64)> {
    let folder = installed("sqd", &FILES).await?;
    let database = world.database().await?;
    let mut connection = PgConnection::connect(&database.url).await?;
    connection.execute(SQD_TABLE).await?;
    let mut command = program_of(&folder, &database)?;
    let head = l1.link.head().await?.number;
    command.arg("main.js").env("RPC", l1.link.url()).env("BLOCKS", format!("{}-{head}", l1.start_block));
    command.env("CONTRACTS", format!("{:#x},{:#x}", l1.locking_pool, l1.locking_info));
    let begun = Instant::now();
    ended(command, RUN_MAX).await?;
    let secs = begun.elapsed().as_secs_f64();
    let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM chain_log").fetch_one(&mut connection).await?;
    connection.close().await?;
    world.drop_database(database).await?;
    Ok((secs, rows.try_into()?))
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
