//! Another guard on the same Postgres, as a program of its own. If it does not install or end, it is reported as not run,
//! with the reason.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::Command;

use super::world::{World, world};
use crate::npm::{ended, installed};
use crate::report::{Figure, rounded};

const FILES: [&str; 2] = ["package.json", "main.js"];
const RUN_MAX: Duration = Duration::from_secs(60);
const SECONDS_EACH: &str = "4";
const DATABASE: &str = "peer_aztec";
const AZTEC: &str = "validator-ha-signer 4.1.2, 20 connections, duties ATTESTATION, called in its own process: no network, \
                     no policy, no audit";

/// Aztec's signer with 1 and with 20 callers.
pub async fn aztec() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let what = "signatures in a second of Aztec's HA signer with 20 callers on the same Postgres; nothing is promised of it";
    Ok(match run(world).await {
        Ok(told) => {
            let number = |clients: &str, name: &str| told[clients][name].as_f64().unwrap_or(f64::NAN);
            Figure::new(number("twenty", "rate"), "signatures/s", 0.0, what)
                .with("p99_ms", json!(rounded(number("twenty", "p99_ms"))))
                .with("one_caller_p50_ms", json!(rounded(number("one", "p50_ms"))))
                .with("one_caller_p99_ms", json!(rounded(number("one", "p99_ms"))))
        }
        Err(error) => {
            Figure::new(f64::NAN, "signatures/s", 0.0, what).with("not_run", json!(format!("{error:#}")))
        }
    }
    .with("settings", json!(AZTEC)))
}

async fn run(world: &World) -> Result<Value> {
    let folder = installed("aztec", &FILES).await?;
    let mut connection = PgConnection::connect(&world.url).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}"))).await?;
    connection.close().await?;
    let (server, _) = world.url.rsplit_once('/').context("a URL with a database")?;
    // In a file: arguments and variables of a process can be seen by others.
    let url = world.folder().join("aztec.url");
    fs::write(&url, format!("{server}/{DATABASE}"))?;
    let mut command = Command::new("node");
    command.current_dir(&folder).arg("main.js").env("LOG_LEVEL", "silent");
    command.env("DATABASE_URL_FILE", url).env("SECONDS_EACH", SECONDS_EACH);
    let output = ended(command, RUN_MAX).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().rev().find(|line| line.starts_with('{')).context("a line with figures")?;
    Ok(serde_json::from_str(line)?)
}
