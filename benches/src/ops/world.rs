//! What all stages share: a durable Postgres with a migrated template, and certificates.
//!
//! Made once for all figures of a run; gone when [`World`] is dropped.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use runtime::tls::{Tls, TlsConfig};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::{Cluster, Pki};
use tokio::process::Command;
use tokio::sync::MutexGuard;

use crate::postgres::durable;
use crate::program::beside;
use crate::world::Kept;

/// The services of a stage, callees first.
pub const SERVICES: [&str; 3] = ["keys", "indexer", "lifecycle"];
pub const TRUST_DOMAIN: &str = "metis.local";
const PASSWORD: &str = "bench";
/// Copied for each stage.
const TEMPLATE: &str = "bench_template";
const OPERATOR: &str = "operator/bench";

pub static WORLD: Kept<World> = Kept::none();

/// What all stages share.
pub struct World {
    cluster: Cluster,
    folder: tempfile::TempDir,
    pki: Pki,
    made: AtomicU32,
}

/// A database of one stage, with all migrations.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name, which is that of the stage too.
    pub name: String,
    /// As superuser.
    pub url: String,
}

/// The world of this process; nobody else measures while it is held.
pub async fn world() -> Result<MutexGuard<'static, Option<World>>> {
    WORLD.held(World::start).await
}

impl World {
    async fn start() -> Result<Self> {
        let (folder, cluster) = durable(TEMPLATE).await?;
        let pki = Pki::new(folder.path().join("certs"), TRUST_DOMAIN)?;
        for name in SERVICES.into_iter().chain([OPERATOR]) {
            pki.identity(name)?;
        }
        let world = Self { cluster, folder, pki, made: AtomicU32::new(0) };
        world.migrate().await?;
        Ok(world)
    }

    /// The template's schemas, by the program that is measured.
    async fn migrate(&self) -> Result<()> {
        let url = at(self.cluster.url(), TEMPLATE);
        let (admin, file) = (self.path("admin.url"), self.path("migrate.toml"));
        fs::write(&admin, &url)?;
        let text =
            format!("[database]\nadmin_url = {{ file = {admin:?} }}\n{}", self.urls("template", &url)?);
        fs::write(&file, text)?;
        let output = Command::new(beside("seqd")?).arg("migrate").arg("--config").arg(&file).output().await?;
        ensure!(output.status.success(), "migrating: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Lines of `[database]` with the URL of each service's role, kept in files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn urls(&self, stage: &str, url: &str) -> Result<String> {
        let (_, place) = url.rsplit_once('@').context("a URL with a password")?;
        let mut lines = String::new();
        for service in SERVICES {
            let secret = self.path(&format!("{stage}.{service}.url"));
            fs::write(&secret, format!("postgres://{}:{PASSWORD}@{place}", migrations::role_of(service)))?;
            lines.push_str(&format!("urls.{service} = {{ file = {secret:?} }}\n"));
        }
        Ok(lines)
    }

    /// A new database.
    ///
    /// # Errors
    /// When the server does not make it.
    pub async fn database(&self) -> Result<Database> {
        let name = format!("bench_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let mut server = PgConnection::connect(self.cluster.url()).await?;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))).await?;
        for grant in migrations::database_grants(&name).split(';').filter(|sql| !sql.trim().is_empty()) {
            server.execute(AssertSqlSafe(grant.to_owned())).await?;
        }
        server.close().await?;
        Ok(Database { url: at(self.cluster.url(), &name), name })
    }

    /// Drops a database, so that its writes do not disturb what is measured next.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn drop_database(&self, database: &Database) -> Result<()> {
        let mut server = PgConnection::connect(self.cluster.url()).await?;
        let sql = format!("DROP DATABASE {} WITH (FORCE)", database.name);
        server.execute(AssertSqlSafe(sql)).await?;
        server.execute("CHECKPOINT").await?;
        Ok(server.close().await?)
    }

    /// The certificates of an operator.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn operator(&self) -> Result<Arc<Tls>> {
        let identity = self.pki.identity(OPERATOR)?;
        let config = TlsConfig {
            cert: identity.certificate,
            key: identity.key,
            ca: self.pki.ca(),
            trust_domain: TRUST_DOMAIN.to_owned(),
        };
        Tls::load(&config).context("loading a certificate")
    }

    /// A file of this run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The same server's other database.
fn at(url: &str, database: &str) -> String {
    match url.rsplit_once('/') {
        Some((server, _)) => format!("{server}/{database}"),
        None => url.to_owned(),
    }
}
