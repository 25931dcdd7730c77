//! The Postgres of figures that depend on the disk: a cluster of its own that writes durably.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use testkit::Cluster;
use testkit::postgres::Options;
use tokio::process::Command;

use crate::program::beside;

/// As in the anchors: what a server of this size would have.
const SETTINGS: [&str; 2] = ["shared_buffers = '1GB'", "max_wal_size = '4GB'"];

/// Of every role.
const PASSWORD: &str = "bench";

/// Starts one in a new folder, with an empty database of this name. The folder goes last.
///
/// # Errors
/// When the server does not start.
pub async fn durable(database: &str) -> Result<(TempDir, Cluster)> {
    let folder = tempfile::Builder::new().prefix("metis-bench-").tempdir().context("making a folder")?;
    // As root the server's user must get through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
    let options = || Options { dir: Some(folder.path().join("postgres")), durable: true };
    let first = Cluster::start(options()).await.context("starting PostgreSQL")?;
    let mut connection = PgConnection::connect(first.url()).await?;
    for setting in SETTINGS {
        connection.execute(AssertSqlSafe(format!("ALTER SYSTEM SET {setting}"))).await?;
    }
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await?;
    connection.close().await?;
    // Started again, the settings hold.
    drop(first);
    let cluster = Cluster::start(options()).await.context("starting PostgreSQL")?;
    Ok((folder, cluster))
}

/// The schema of a service, by the program that is measured.
///
/// # Errors
/// When it is not built, or fails.
pub async fn migrate(folder: &Path, url: &str, service: &str) -> Result<()> {
    let [admin, role, file] = ["admin.url", "role.url", "migrate.toml"].map(|name| folder.join(name));
    fs::write(&admin, url)?;
    fs::write(&role, role_url(url, service)?)?;
    let text =
        format!("[database]\nadmin_url = {{ file = {admin:?} }}\nurls.{service} = {{ file = {role:?} }}\n");
    fs::write(&file, text)?;
    let output = Command::new(beside("seqd")?).arg("migrate").arg("--config").arg(&file).output().await?;
    ensure!(output.status.success(), "migrating: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The same server's other database.
pub fn at(url: &str, database: &str) -> String {
    match url.rsplit_once('/') {
        Some((server, _)) => format!("{server}/{database}"),
        None => url.to_owned(),
    }
}

/// The same database as the role of a service.
///
/// # Errors
/// When the URL names nobody.
pub fn role_url(url: &str, service: &str) -> Result<String> {
    let (_, place) = url.rsplit_once('@').context("a URL with a user")?;
    Ok(format!("postgres://{}:{PASSWORD}@{place}", migrations::role_of(service)))
}
