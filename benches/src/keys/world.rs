//! What a keys service runs in: a durable Postgres, certificates, a configuration, keys, and clients.
//!
//! Made once for all figures of a run; gone when [`World`] is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::keys::policy::call::relockCall;
use alloy_primitives::{Address, U256, address};
use alloy_sol_types::SolCall;
use anyhow::{Context, Result, bail};
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{
    CreateKeyRequest, GetPolicyRequest, Key, KeyRole, SetPolicyRequest, SignTransactionRequest, SigningIntent,
};
use api::types::v1::UnsignedTransaction;
use runtime::client::{Peer, channel};
use runtime::tls::{Tls, TlsConfig};
use testkit::{Cluster, Pki, free_port};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::MutexGuard;

use crate::postgres::{at, durable, migrate, role_url};
use crate::program::beside;
use crate::world::Kept;

pub type Client = KeysServiceClient<Peer>;

/// As many as there are clients in the figure of many.
pub const KEYS: usize = 20;
const TRUST_DOMAIN: &str = "metis.local";
const DATABASE: &str = "bench_keys";
const NETWORK: &str = "bench";
const CHAIN_ID: u64 = 31_337;
const POOL: Address = address!("00000000000000000000000000000000000000a1");
const INFO: Address = address!("00000000000000000000000000000000000000a2");
const METIS: Address = address!("00000000000000000000000000000000000000a3");
const BRIDGE: Address = address!("00000000000000000000000000000000000000a4");
const KEK: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";
const START_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

pub static WORLD: Kept<World> = Kept::none();

/// Everything around a keys service.
pub struct World {
    _cluster: Cluster,
    folder: tempfile::TempDir,
    pki: Pki,
    /// As superuser.
    pub url: String,
    service: Service,
    /// Owner keys that the preset lets relock.
    pub keys: Vec<Key>,
    /// Each nonce is signed once.
    nonce: AtomicU64,
}

/// A running `seqd keys`; killed when dropped.
pub struct Service {
    address: String,
    _child: Child,
}

/// The world of this process; nobody else measures while it is held.
pub async fn world() -> Result<MutexGuard<'static, Option<World>>> {
    WORLD.held(World::start).await
}

impl World {
    async fn start() -> Result<Self> {
        let (folder, cluster) = durable(DATABASE).await?;
        let url = at(cluster.url(), DATABASE);
        let pki = Pki::new(folder.path().join("certs"), TRUST_DOMAIN)?;
        pki.identity("keys")?;
        migrate(folder.path(), &url, "keys").await?;
        let service = Service::start(folder.path(), "keys", &role_url(&url, "keys")?).await?;
        let mut world =
            Self { _cluster: cluster, folder, pki, url, service, keys: Vec::new(), nonce: AtomicU64::new(0) };
        let mut operator = world.client("operator:bench")?;
        for number in 0..KEYS {
            let request = CreateKeyRequest {
                request_id: format!("00000000-0000-4000-8000-{number:012}"),
                name: format!("bench-{number}"),
                role: KeyRole::Owner.into(),
                ..CreateKeyRequest::default()
            };
            let key = operator.create_key(request).await?.into_inner().key.context("a key")?;
            world.keys.push(key);
        }
        lift_eth_windows(operator).await?;
        Ok(world)
    }

    /// A client with a connection of its own.
    ///
    /// # Errors
    /// When its certificate cannot be made.
    pub fn client(&self, name: &str) -> Result<Client> {
        self.client_of(&self.service, name)
    }

    /// The same of another service.
    ///
    /// # Errors
    /// As [`World::client`].
    pub fn client_of(&self, service: &Service, name: &str) -> Result<Client> {
        Ok(KeysServiceClient::new(channel(&service.address, "keys", self.tls(name)?)))
    }

    /// The way to the service for other clients than that of the keys.
    ///
    /// # Errors
    /// As [`World::client`].
    pub fn peer(&self, name: &str) -> Result<Peer> {
        Ok(channel(&self.service.address, "keys", self.tls(name)?))
    }

    /// Another service on the same database, reached at this place.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn another(&self, place: &str) -> Result<Service> {
        let url = role_url(&self.url, "keys")?;
        let (credentials, rest) = url.rsplit_once('@').context("a URL with a password")?;
        let (_, database) = rest.split_once('/').context("a URL with a database")?;
        let url = format!("{credentials}@{place}/{database}");
        Service::start(self.folder.path(), "another", &url).await
    }

    /// A request that was never made before: METIS goes out, so that a window is counted.
    pub fn request(&self, key: usize) -> SignTransactionRequest {
        let key = &self.keys[key % self.keys.len()];
        let from = key.public_key.as_ref().map(|public| public.address.clone()).unwrap_or_default();
        let call = relockCall { seqId: U256::from(17), amount: U256::ONE, lockReward: false };
        SignTransactionRequest {
            key_id: key.id.clone(),
            network: NETWORK.to_owned(),
            transaction: Some(UnsignedTransaction {
                chain_id: CHAIN_ID,
                from,
                to: POOL.to_string(),
                nonce: Some(self.nonce.fetch_add(1, Ordering::Relaxed)),
                value_wei: "0".to_owned(),
                data: format!("0x{}", hex::encode(call.abi_encode())),
                gas_limit: 500_000,
                max_fee_per_gas_wei: "20000000000".to_owned(),
                max_priority_fee_per_gas_wei: "1000000000".to_owned(),
            }),
            intent: SigningIntent::New.into(),
            operation_id: "0198c0de-0000-7000-8000-000000000000".to_owned(),
            approved_value_wei_max: String::new(),
        }
    }

    /// The address of a key.
    ///
    /// # Errors
    /// When the service told none.
    pub fn address(&self, key: usize) -> Result<Address> {
        let public = self.keys[key % self.keys.len()].public_key.as_ref().context("a public key")?;
        Ok(public.address.parse()?)
    }

    /// A folder to work in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn tls(&self, name: &str) -> Result<Arc<Tls>> {
        let identity = self.pki.identity(name)?;
        let config = TlsConfig {
            cert: identity.certificate,
            key: identity.key,
            ca: self.pki.ca(),
            trust_domain: TRUST_DOMAIN.to_owned(),
        };
        Tls::load(&config).context("loading a certificate")
    }
}

impl Service {
    async fn start(folder: &Path, name: &str, url: &str) -> Result<Self> {
        let path = |file: &str| -> PathBuf { folder.join(file) };
        let [grpc, admin] = [free_port()?, free_port()?];
        let (secret, kek) = (path(&format!("{name}.url")), path("kek"));
        fs::write(&secret, url)?;
        fs::write(&kek, KEK)?;
        let text = format!(
            "[tls]\ndir = {certs:?}\ntrust_domain = \"{TRUST_DOMAIN}\"\n\
             [telemetry]\nlog_format = \"json\"\nlog_filter = \"warn\"\n\
             [database]\nurls.keys = {{ file = {secret:?} }}\n\
             [listen]\nkeys = \"127.0.0.1:{grpc}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             [keys]\nkek = {{ file = {kek:?} }}\n\
             [networks.{NETWORK}]\nvariant = \"main\"\n\
             l1 = {{ rpc = [\"http://127.0.0.1:1\"], chain_id = {CHAIN_ID}, locking_pool = \"{POOL}\", locking_info = \"{INFO}\", \
             metis = \"{METIS}\", bridge = \"{BRIDGE}\", start_block = 0 }}\n",
            certs = path("certs"),
        );
        let (config, log) = (path(&format!("{name}.toml")), path(&format!("{name}.log")));
        fs::write(&config, text)?;
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(beside("seqd")?);
        command.arg("keys").arg("--config").arg(config);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let mut child = command.spawn().context("starting seqd")?;
        let address = format!("127.0.0.1:{grpc}");
        let begun = std::time::Instant::now();
        while TcpStream::connect(&address).await.is_err() {
            if child.try_wait()?.is_some() || begun.elapsed() > START_MAX {
                bail!("the service does not start: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Self { address, _child: child })
    }
}

/// The preset, without its bounds of ETH: more is signed here than anybody should.
async fn lift_eth_windows(mut operator: Client) -> Result<()> {
    let in_force = operator.get_policy(GetPolicyRequest {}).await?.into_inner().policy.context("a policy")?;
    let kept = in_force.toml.lines().filter(|line| !line.starts_with("eth_24h_wei_max"));
    let toml = kept.map(|line| format!("{line}\n")).collect();
    let set = SetPolicyRequest { toml, expected_version: in_force.version, validate_only: false };
    operator.set_policy(set).await?;
    Ok(())
}
