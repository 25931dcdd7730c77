//! What an indexer runs in: a durable Postgres, certificates, a configuration file, and chains.
//!
//! Made once for all figures of a run, since chains take their time; gone when [`World`] is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::contracts::L1;
use testkit::crowd::{Crowd, Plan};
use testkit::{Cluster, Pki, free_port};
use tokio::sync::MutexGuard;

use crate::postgres::{at, durable, migrate, role_url};
use crate::world::Kept;

/// Name of the network in the configuration.
pub const NETWORK: &str = "bench";
const TRUST_DOMAIN: &str = "metis.local";
/// Copied for each run.
const TEMPLATE: &str = "bench_template";
/// Between two looks at the head where there is no WebSocket.
const POLL_MS: u64 = 250;

pub static WORLD: Kept<World> = Kept::none();

/// Everything around an indexer.
pub struct World {
    cluster: Cluster,
    folder: tempfile::TempDir,
    made: AtomicU32,
    chain: Option<(Plan, Crowd)>,
}

/// A database of one run, with all migrations.
#[derive(Debug)]
pub struct Database {
    /// As superuser.
    pub url: String,
    /// As the service.
    service_url: String,
    name: String,
}

/// The world of this process; nobody else measures while it is held.
pub async fn world() -> Result<MutexGuard<'static, Option<World>>> {
    WORLD.held(World::start).await
}

impl World {
    async fn start() -> Result<Self> {
        let (folder, cluster) = durable(TEMPLATE).await?;
        let pki = Pki::new(folder.path().join("certs"), TRUST_DOMAIN)?;
        for name in ["indexer", "operator/bench"] {
            pki.identity(name)?;
        }
        migrate(folder.path(), &at(cluster.url(), TEMPLATE), "indexer").await?;
        Ok(Self { cluster, folder, made: AtomicU32::new(0), chain: None })
    }

    /// The chain of this plan, the one of the last figure if it is the same.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn chain(&mut self, plan: Plan) -> Result<&mut Crowd> {
        if self.chain.as_ref().is_none_or(|(made, _)| *made != plan) {
            // The other goes first: both would not fit on a small machine.
            self.chain = None;
            self.chain = Some((plan, Crowd::make(plan).await.context("making a chain")?));
        }
        self.chain.as_mut().map(|(_, crowd)| crowd).context("the chain was just made")
    }

    /// Takes the chain out, for figures that change it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn own_chain(&mut self, plan: Plan) -> Result<Crowd> {
        self.chain(plan).await?;
        self.chain.take().map(|(_, crowd)| crowd).context("the chain was just made")
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
        // The copy is written out before anything is measured.
        server.execute("CHECKPOINT").await?;
        server.close().await?;
        let url = at(self.cluster.url(), &name);
        Ok(Database { service_url: role_url(&url, "indexer")?, name, url })
    }

    /// Drops a database, so that its writes do not disturb what is measured next.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn drop_database(&self, database: Database) -> Result<()> {
        let mut server = PgConnection::connect(self.cluster.url()).await?;
        let sql = format!("DROP DATABASE {} WITH (FORCE)", database.name);
        server.execute(AssertSqlSafe(sql)).await?;
        server.execute("CHECKPOINT").await?;
        Ok(server.close().await?)
    }

    /// Writes the configuration of an indexer of this chain, asked at these URLs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(
        &self,
        l1: &L1,
        rpc: &[String],
        ws: Option<&str>,
        database: &Database,
    ) -> Result<Configured> {
        let [indexer, admin] = [free_port()?, free_port()?];
        let secret = self.path(&format!("{}.url", database.name));
        fs::write(&secret, &database.service_url)?;
        let ws = ws.map(|url| format!("ws = \"{url}\", ")).unwrap_or_default();
        // Several that may lie must agree.
        let quorum = if rpc.len() > 1 { "quorum = 2, " } else { "" };
        let text = format!(
            "[tls]\ndir = \"{certs}\"\ntrust_domain = \"{TRUST_DOMAIN}\"\n\
             [telemetry]\nlog_format = \"json\"\nlog_filter = \"warn\"\n\
             [database]\nurls.indexer = {{ file = \"{secret}\" }}\n\
             [listen]\nindexer = \"127.0.0.1:{indexer}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             [networks.{NETWORK}]\nvariant = \"main\"\nconfirmations = 2\npoll_ms = {POLL_MS}\n\
             l1 = {{ rpc = {rpc:?}, {ws}{quorum}chain_id = {chain}, locking_pool = \"{pool}\", locking_info = \"{info}\", \
             metis = \"{metis}\", bridge = \"{bridge}\", start_block = {start} }}\n",
            certs = self.path("certs").display(),
            secret = secret.display(),
            chain = l1.chain_id,
            pool = l1.locking_pool,
            info = l1.locking_info,
            metis = l1.metis,
            bridge = l1.bridge,
            start = l1.start_block,
        );
        let file = self.path(&format!("{}.toml", database.name));
        fs::write(&file, text)?;
        let log = self.path(&format!("{}.log", database.name));
        Ok(Configured { file, log, address: format!("127.0.0.1:{indexer}") })
    }

    /// The operator's certificate.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn operator(&self) -> Result<Arc<runtime::tls::Tls>> {
        let file = |name: &str| self.path("certs").join(name);
        let config = runtime::tls::TlsConfig {
            cert: file("operator-bench.pem"),
            key: file("operator-bench.key"),
            ca: file("ca.pem"),
            trust_domain: TRUST_DOMAIN.to_owned(),
        };
        runtime::tls::Tls::load(&config).context("loading a certificate")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// An indexer ready to be started.
#[derive(Debug, Clone)]
pub struct Configured {
    /// Its configuration.
    pub file: PathBuf,
    /// Where its log lines go.
    pub log: PathBuf,
    /// Its gRPC.
    pub address: String,
}

impl Configured {
    /// What it said last, for errors.
    pub fn said(&self) -> String {
        tail(&self.log)
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
