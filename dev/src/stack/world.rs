//! What the services need around them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use chain_config::network;
use runtime::config::Secret;
use runtime::tls::TlsConfig;
use seqd::config::{Certificates, Config, Role};
use testkit::Pki;
use testkit::simulator::{self, Memory, Simulator};

use super::access::{Access, Processes};
use super::chains::Chains;
use super::database::Database;
use super::home::{Home, Saved};
use super::{NETWORK, Options, THEMIS_NETWORK, chain_config, ports};
use crate::announce::{Announce, State};

const TRUST_DOMAIN: &str = "metis.local";
/// The identity of people and tooling.
const OPERATOR: &str = "operator/dev";
/// Five services on one machine need few each.
const CONNECTIONS: u32 = 8;
/// Everything is on this machine, and people are looking.
const PROBE_SECS: u64 = 1;
const LOOK_MS: u64 = 200;
const FACTS_MS: u64 = 500;
const RECONCILE_SECS: u64 = 5;
const LOOPBACK: &str = "127.0.0.0/8";

/// Postgres, chains with contracts, the network, certificates and the configuration of the services.
#[derive(Debug)]
pub struct World {
    home: Home,
    database: Database,
    chains: Chains,
    simulator: Simulator,
    config: Config,
    access: Access,
    fresh: bool,
}

impl World {
    /// Starts everything but the services.
    ///
    /// # Errors
    /// When a part cannot start; what had started is stopped again.
    pub async fn start(options: &Options, announce: &Announce) -> Result<Self> {
        let home = Home::open(options.data.as_deref())?;
        let saved = home.saved()?;
        let fresh = saved.is_none();
        let (saved_chains, saved_database, memory) = match saved {
            Some(Saved { l1, l2, database, network }) => (Some((l1, l2)), Some(database), network),
            None => (None, None, Memory::default()),
        };
        let database = Database::start(&home, saved_database, announce);
        let chains = Chains::start(&home, saved_chains, options, announce);
        let (database, chains) = tokio::join!(database, chains);
        let (database, chains) = (database?, chains?);
        let (l1, l2) = (chains.l1.clone(), chains.l2.clone());
        announce.state(State::Migrating);
        database.migrate().await?;

        let simulated = simulator::Config {
            confirmations: options.confirmations,
            batch_every: options.batch_every,
            respan_after: options.respan_after,
            themis_network: THEMIS_NETWORK.to_owned(),
            memory,
            ..simulator::Config::default()
        };
        let simulator =
            Simulator::start(simulated, l1.clone(), l2.clone()).await.context("starting the network")?;
        let tls = certificates(&home)?;
        let config = configuration(&home, &database, &simulator, options)?;
        let access = Access {
            network: NETWORK.to_owned(),
            gateway: format!("http://{}", config.listen.gateway),
            gateway_ws: format!("ws://{}", config.listen.gateway),
            admin: format!("http://{}", config.listen.admin),
            addresses: config.listen.clone(),
            tls,
            trust_dir: home.path("certs"),
            simulator: simulator.control_url().to_owned(),
            processes: Processes { postgres: database.pid(), l1: chains.pids()[0], l2: chains.pids()[1] },
            l1,
            l2,
            api_key: None,
            seqd_config: home.path("seqd.toml"),
            seqctl_config: home.path("seqctl.toml"),
        };
        home.write(
            "seqd.toml",
            &toml::to_string_pretty(&config).context("writing the configuration of seqd")?,
        )?;
        home.write("seqctl.toml", &access.seqctl_toml()?)?;
        let mut world = Self { home, database, chains, simulator, config, access, fresh };
        world.publish(None)?;
        Ok(world)
    }

    /// Whether nothing was there before.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Governance, MPC, nodes and time.
    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// How to reach everything.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Configuration of the services.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same as a file, for `seqd all --config`.
    pub fn config_file(&self) -> PathBuf {
        self.access.seqd_config.clone()
    }

    /// Where [`Access`] stands as a file.
    pub fn stack_file(&self) -> PathBuf {
        self.home.path("stack.json")
    }

    /// From here on the database follows the chains.
    pub(super) fn begin(&self) -> Result<()> {
        if self.home.is_kept() { self.home.begin() } else { Ok(()) }
    }

    /// Writes `stack.json`.
    pub(super) fn publish(&mut self, api_key: Option<String>) -> Result<()> {
        self.access.api_key = api_key;
        self.home.write("stack.json", &serde_json::to_string_pretty(&self.access)?).map(drop)
    }

    /// Stops everything, in a bounded time.
    ///
    /// # Errors
    /// When a part did not stop in order; a kept folder is then not used again.
    pub async fn stop(self) -> Result<()> {
        let Self { home, database, chains, simulator, .. } = self;
        let saved = Saved {
            l1: simulator.l1().clone(),
            l2: simulator.l2().clone(),
            database: database.saved.clone(),
            network: simulator.memory(),
        };
        simulator.stop().await;
        let (chains, database) = tokio::join!(chains.stop(), database.stop());
        chains?;
        database?;
        if home.is_kept() {
            home.end(&saved)?;
        }
        Ok(())
    }
}

/// A new authority with every start: nobody can use an old certificate, and its key is never written.
fn certificates(home: &Home) -> Result<TlsConfig> {
    let dir = home.path("certs");
    let pki = Pki::new(&dir, TRUST_DOMAIN).context("making certificates")?;
    for role in Role::ALL {
        pki.identity(role.name())?;
    }
    let operator = pki.identity(OPERATOR)?;
    let trust_domain = TRUST_DOMAIN.to_owned();
    Ok(TlsConfig { cert: operator.certificate, key: operator.key, ca: pki.ca(), trust_domain })
}

fn configuration(
    home: &Home,
    database: &Database,
    simulator: &Simulator,
    options: &Options,
) -> Result<Config> {
    let mut config = Config {
        tls: Certificates { dir: home.path("certs"), trust_domain: TRUST_DOMAIN.to_owned() },
        listen: ports::choose(options.known_ports)?,
        ..Config::default()
    };
    config.database.admin_url = Some(database.admin_secret(home)?);
    config.database.urls = database.urls(home)?;
    config.database.connections = CONNECTIONS;
    config.networks.insert(NETWORK.to_owned(), network(simulator, options)?);
    config.keys.kek = Some(Secret::file(home.secret("kek")?));
    config.keys.rights.export_node_key = vec![OPERATOR.replace('/', ":")];
    config.indexer.probe_secs = PROBE_SECS;
    config.indexer.reconcile_secs = RECONCILE_SECS;
    // Nodes of the simulator listen on loopback.
    config.indexer.nodes.allow = vec![LOOPBACK.parse().context("parsing the network of loopback")?];
    config.rewards.reconcile_secs = RECONCILE_SECS;
    config.lifecycle.webhooks.secret_key = Some(Secret::file(home.secret("webhooks")?));
    // A receiver that somebody tries out listens on loopback too.
    config.lifecycle.webhooks.allow = vec![LOOPBACK.parse().context("parsing the network of loopback")?];
    config.lifecycle.webhooks.http = true;
    config.lifecycle.look_every_ms = LOOK_MS;
    config.lifecycle.facts_every_ms = FACTS_MS;
    config.lifecycle.lease_ttl_ms = Duration::from_secs(3).as_millis().try_into().unwrap_or(u64::MAX);
    Ok(config)
}
