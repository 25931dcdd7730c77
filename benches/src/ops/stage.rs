//! One stage: both chains with our contracts, a database, and the three services as processes.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{GetPolicyRequest, SetPolicyRequest};
use api::lifecycle::v1::lifecycle_service_client::LifecycleServiceClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::client::{Peer, channel};
use runtime::tls::Tls;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use testkit::Anvil;
use testkit::anvil::Options;
use testkit::contracts::{L1, L1Options, L2, L2Options, deploy_l1, deploy_l2};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::world::{Database, SERVICES, TRUST_DOMAIN, World};
use crate::index::free_port;
use crate::program::beside;

pub type Lifecycle = LifecycleServiceClient<Peer>;
pub type Keys = KeysServiceClient<Peer>;

/// Name of the network in the configuration.
pub const NETWORK: &str = "bench";
/// Gas of a block of L1, as on mainnet.
pub const BLOCK_GAS: u64 = 60_000_000;
/// While a stage is set up everything fits in a block.
const SETUP_GAS: u64 = 50_000_000_000;
/// Blocks of an L2 epoch: the shortest that the contract takes.
pub const EPOCH_BLOCKS: u64 = 2;
/// Between blocks of L1.
const BLOCK_SECS: u64 = 1;
/// 36 seconds, as three blocks of mainnet.
const REPLACE_AFTER_BLOCKS: u64 = 36;
const KEK: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";
const START_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
/// Lines of the log that an error shows.
const LINES_SHOWN: usize = 3;

/// A running stage; everything of it goes when it is dropped, but for the database.
pub struct Stage {
    pub l1: L1,
    pub l2: L2,
    pub database: Database,
    anvils: [Anvil; 2],
    services: Vec<Service>,
    tls: Arc<Tls>,
    file: PathBuf,
    log: PathBuf,
    addresses: [String; SERVICES.len()],
}

/// A running service; killed when dropped.
struct Service {
    name: &'static str,
    child: Child,
}

impl Stage {
    /// Chains, contracts and services, with nobody on them.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(world: &World) -> Result<Self> {
        let options = || Options { slots_in_an_epoch: Some(1), ..Options::default() };
        let first = Options { no_mining: true, gas_limit: Some(SETUP_GAS), ..options() };
        let first = Anvil::start(first).await?;
        let l1 = deploy_l1(&first, L1Options::default()).await?;
        let second = Anvil::start(Options {
            chain_id: Some(testkit::contracts::L2_CHAIN_ID),
            hardfork: Some("berlin".to_owned()),
            ..options()
        });
        let second = second.await?;
        let l2 = deploy_l2(&second, L2Options { epoch_blocks: EPOCH_BLOCKS, ..L2Options::default() }).await?;
        let database = world.database().await?;
        let file = world.path(&format!("{}.toml", database.name));
        let addresses = [local()?, local()?, local()?];
        let mut stage = Self {
            log: world.path(&format!("{}.log", database.name)),
            anvils: [first, second],
            services: Vec::new(),
            tls: world.operator()?,
            l1,
            l2,
            database,
            file,
            addresses,
        };
        fs::write(&stage.file, stage.configuration(world)?)?;
        for service in SERVICES {
            stage.begin(service).await?;
        }
        lift_eth_windows(stage.keys()).await?;
        Ok(stage)
    }

    fn configuration(&self, world: &World) -> Result<String> {
        let kek = world.path("kek");
        fs::write(&kek, KEK)?;
        let Self { l1, l2, database, anvils: [first, second], addresses: [keys, indexer, lifecycle], .. } =
            self;
        Ok(format!(
            "[tls]\ndir = {certs:?}\ntrust_domain = \"{TRUST_DOMAIN}\"\n\
             [telemetry]\nlog_format = \"json\"\nlog_filter = \"warn\"\n\
             [database]\n{urls}\
             [listen]\nkeys = \"{keys}\"\nindexer = \"{indexer}\"\nlifecycle = \"{lifecycle}\"\n\
             [keys]\nkek = {{ file = {kek:?} }}\n\
             [lifecycle]\nreplace_after_blocks = {REPLACE_AFTER_BLOCKS}\n\
             [networks.{NETWORK}]\nvariant = \"main\"\nconfirmations = 2\npoll_ms = 100\n\
             l1 = {{ rpc = [{l1_rpc:?}], ws = {l1_ws:?}, chain_id = {l1_id}, locking_pool = \"{pool}\", \
             locking_info = \"{info}\", metis = \"{metis}\", bridge = \"{bridge}\", start_block = {l1_start} }}\n\
             l2 = {{ rpc = [{l2_rpc:?}], ws = {l2_ws:?}, chain_id = {l2_id}, sequencer_set = \"{set}\", \
             start_block = {l2_start} }}\n",
            certs = world.path("certs"),
            urls = world.urls(&database.name, &database.url)?,
            l1_rpc = first.url(),
            l1_ws = first.ws_url(),
            l1_id = l1.chain_id,
            pool = l1.locking_pool,
            info = l1.locking_info,
            metis = l1.metis,
            bridge = l1.bridge,
            l1_start = l1.start_block,
            l2_rpc = second.url(),
            l2_ws = second.ws_url(),
            l2_id = l2.chain_id,
            set = l2.sequencer_set,
            l2_start = l2.start_block,
        ))
    }

    /// Starts a service and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not, with what it said last.
    pub async fn begin(&mut self, name: &'static str) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(beside("seqd")?);
        command.arg(name).arg("--config").arg(&self.file).env("SEQD__LISTEN__ADMIN", local()?);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().context("starting seqd")?;
        let address = self.address(name).to_owned();
        let begun = Instant::now();
        while TcpStream::connect(&address).await.is_err() {
            if child.try_wait()?.is_some() || begun.elapsed() > START_MAX {
                bail!("{name} does not start: {}", self.said());
            }
            tokio::time::sleep(LOOK).await;
        }
        self.services.push(Service { name, child });
        Ok(())
    }

    /// Kills a service, as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        let place = self.services.iter().position(|service| service.name == name);
        let mut service = self.services.swap_remove(place.context("a running service")?);
        let pid = service.child.id().with_context(|| format!("{name} has ended: {}", self.said()))?;
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGKILL)?;
        service.child.wait().await?;
        Ok(())
    }

    /// From now on a block comes in each second, with as much gas as on mainnet.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn with_the_clock(&self) -> Result<()> {
        let [first, _] = &self.anvils;
        first.rpc("evm_setBlockGasLimit", json!([format!("{BLOCK_GAS:#x}")])).await?;
        first.rpc("evm_setIntervalMining", json!([BLOCK_SECS])).await?;
        Ok(())
    }

    /// A client with a connection of its own.
    pub fn lifecycle(&self) -> Lifecycle {
        LifecycleServiceClient::new(self.peer("lifecycle"))
    }

    /// The same of keys.
    pub fn keys(&self) -> Keys {
        KeysServiceClient::new(self.peer("keys"))
    }

    fn peer(&self, name: &'static str) -> Peer {
        channel(self.address(name).to_owned(), name, self.tls.clone())
    }

    fn address(&self, name: &str) -> &str {
        let place = SERVICES.iter().position(|service| *service == name).unwrap_or_default();
        &self.addresses[place]
    }

    /// A connection to the database as superuser.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sql(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.database.url).await?)
    }

    /// What the services said last.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(LINES_SHOWN).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The preset, without its bounds of ETH: more is signed here than anybody should.
async fn lift_eth_windows(mut operator: Keys) -> Result<()> {
    let in_force = operator.get_policy(GetPolicyRequest {}).await?.into_inner().policy.context("a policy")?;
    let kept = in_force.toml.lines().filter(|line| !line.starts_with("eth_24h_wei_max"));
    let toml = kept.map(|line| format!("{line}\n")).collect();
    let set = SetPolicyRequest { toml, expected_version: in_force.version, validate_only: false };
    operator.set_policy(set).await?;
    Ok(())
}

fn local() -> Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}
