//! How long `make up` takes, without the compiler.
//!
//! The bound is what the stack cannot be faster than: the same Postgres and two anvils, started beside each other
//! with nothing else.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use testkit::anvil::Options as AnvilOptions;
use testkit::postgres::Options as PostgresOptions;
use testkit::{Anvil, Cluster};

use crate::report::{Figure, rounded};
use crate::stack::Stack;

/// On a new folder.
pub const FRESH: &str = "up.fresh_ready_s";
/// On the folder of an earlier run.
pub const KEPT: &str = "up.kept_ready_s";
const FRESH_TARGET: f64 = 15.0;
const KEPT_TARGET: f64 = 5.0;
const WHAT: &str = "from the start of `dev up` until all five services are healthy; `ready_s` until the fleet is shown, \
                    too";

/// On a new folder.
pub async fn fresh() -> Result<Figure> {
    let mut stack = Stack::start(&["up"])?;
    let healthy = stack.until("healthy").await?;
    let ready = stack.until("ready").await?;
    let stopped = stack.stop().await?;
    let bound = bare(PostgresOptions::default()).await?;
    let figure = Figure::new(healthy.secs, "s", FRESH_TARGET, WHAT);
    let figure = figure.limit(bound, "initdb, start of Postgres, and two anvils beside it");
    Ok(figure.with("ready_s", json!(rounded(ready.secs))).with("stop_s", json!(rounded(stopped))))
}

/// On the folder of an earlier run, which had the demo fleet.
pub async fn kept() -> Result<Figure> {
    let folder = Folder::new();
    let data = folder.0.join("stack");
    let path = data.to_str().context("a path that is text")?;
    let arguments = ["up", "--data", path];
    let mut first = Stack::start(&arguments)?;
    first.until("ready").await?;
    let stopped = first.stop().await?;
    let mut second = Stack::start(&arguments)?;
    let healthy = second.until("healthy").await?;
    let ready = second.until("ready").await?;
    second.stop().await?;
    let options = || PostgresOptions { dir: Some(folder.0.join("bare")), durable: true };
    drop(Cluster::start(options()).await?);
    let bound = bare(options()).await?;
    let figure = Figure::new(healthy.secs, "s", KEPT_TARGET, WHAT);
    let figure =
        figure.limit(bound, "start of Postgres on a folder that is there, and two empty anvils beside it");
    Ok(figure.with("ready_s", json!(rounded(ready.secs))).with("first_stop_s", json!(rounded(stopped))))
}

/// Seconds until Postgres and two anvils answer, and nothing else.
async fn bare(options: PostgresOptions) -> Result<f64> {
    let anvil = || AnvilOptions { accounts: Some(1), ..AnvilOptions::default() };
    let begun = Instant::now();
    let (postgres, l1, l2) =
        tokio::join!(Cluster::start(options), Anvil::start(anvil()), Anvil::start(anvil()));
    let secs = begun.elapsed().as_secs_f64();
    drop((postgres?, l1?, l2?));
    Ok(secs)
}

/// A folder that Postgres can be in when we are root, and that goes at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("metis-bench-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
