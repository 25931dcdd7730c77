//! The Postgres of figures that depend on the disk: a cluster of its own that writes durably.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use testkit::Cluster;
use testkit::postgres::Options;

/// As in the anchors: what a server of this size would have.
const SETTINGS: [&str; 2] = ["shared_buffers = '1GB'", "max_wal_size = '4GB'"];

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
