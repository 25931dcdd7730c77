//! One test's world: a chain with the contracts, a database, the fakes, and the service, which can be killed and
//! started again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use api::indexer::v1::indexer_service_server::IndexerServiceServer;
use api::indexer::v1::nodes_service_server::NodesServiceServer;
use api::keys::v1::KeyRole;
use api::keys::v1::keys_service_server::KeysServiceServer;
use api::lifecycle::v1::lifecycle_service_client::LifecycleServiceClient;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use api::lifecycle::v1::webhooks_service_client::WebhooksServiceClient;
use api::lifecycle::v1::*;
use chain::config::{L1 as L1Config, Network};
use domain::amount::{Eth, Metis};
use domain::network::Variant;
use lifecycle::{Clock, Config};
use runtime::client::{Peer, channel};
use runtime::health::Health;
use runtime::server::GrpcServer;
use runtime::shutdown::Shutdown;
use runtime::tls::{Tls, TlsConfig};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use testkit::contracts::{L1, L1Options, deploy_l1, node_key};
use testkit::proxy::{Chance, Faults, NodeError};
use testkit::{Anvil, Pki, Proxy, TestDb, wait_for, wait_until};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::fakes::indexer::FakeIndexer;
use crate::fakes::keys::FakeKeys;

/// Longest wait for anything that must happen; two busy cores need it.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The one network of these tests.
pub const NETWORK: &str = "devnet";
pub const TRUST_DOMAIN: &str = "metis.test";
const OPERATOR: &str = "operator/test";

/// Everything of one test.
pub struct World {
    pub l1: L1,
    pub indexer: FakeIndexer,
    pub keys: FakeKeys,
    pub db: TestDb,
    pub client: LifecycleServiceClient<Peer>,
    variant: Variant,
    /// What the service asks instead of the chain itself, if anything.
    pub endpoints: Vec<String>,
    pub anvil: Anvil,
    pki: Pki,
    pub addresses: Addresses,
    /// Where the service is looked for.
    service: SocketAddr,
    instance: Option<Instance>,
    second: Option<Instance>,
    dir: TempDir,
}

/// Where the fakes listen.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub indexer: SocketAddr,
    pub keys: SocketAddr,
}

/// A running service in a runtime of its own, so that dropping the runtime kills it where it stands.
struct Instance {
    runtime: tokio::runtime::Runtime,
    peer: Peer,
    clock: Clock,
}

/// Settings that make tests quick.
pub fn quick() -> Config {
    Config { look_every_ms: 100, facts_every_ms: 200, lease_ttl_ms: 1_000, ..Config::default() }
}

impl World {
    /// A chain, a database and a running service.
    pub async fn start() -> Self {
        Self::with(quick()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::of_variant(config, Variant::Main).await
    }

    /// A running service that sees the chain through so many endpoints, in which a test may make faults.
    pub async fn behind(config: Config, endpoints: usize) -> (Self, Vec<Proxy>) {
        let mut world = Self::without_service(Variant::Main).await;
        let mut proxies = Vec::new();
        for _ in 0..endpoints {
            proxies.push(Proxy::start(world.anvil.url()).await.expect("a proxy"));
        }
        world.endpoints = proxies.iter().map(Proxy::url).collect();
        world.restart(config).await;
        (world, proxies)
    }

    /// The configuration says that the pool is of this variant; the contracts are of variant `main`.
    pub async fn of_variant(config: Config, variant: Variant) -> Self {
        let mut world = Self::without_service(variant).await;
        world.restart(config).await;
        world
    }

    /// Everything but the service.
    pub async fn without_service(variant: Variant) -> Self {
        Self::on(testkit::database().await, variant).await
    }

    /// Everything but the service, on this database.
    pub async fn on(db: TestDb, variant: Variant) -> Self {
        runtime::install_crypto_provider();
        let anvil = Anvil::start(testkit::anvil::Options::default()).await.expect("anvil starts");
        let l1 = deploy_l1(&anvil, L1Options::default()).await.expect("the contracts are deployed");
        let dir = TempDir::new().expect("a folder");
        let pki = Pki::new(dir.path(), TRUST_DOMAIN).expect("an authority");
        let settings = network(&[anvil.url()], &l1, variant);
        let pool = settings.l1_pool(&settings.spec(NETWORK).unwrap()).unwrap();
        let (indexer, keys) = (FakeIndexer::new(pool, &l1), FakeKeys::default());
        let addresses = Addresses {
            indexer: serve_indexer(&pki, indexer.clone()).await,
            keys: serve_keys(&pki, keys.clone()).await,
        };
        let (_, nowhere) = socket().await;
        let client = LifecycleServiceClient::new(channel(nowhere, "lifecycle", tls(&pki, OPERATOR)));
        Self {
            variant,
            endpoints: Vec::new(),
            l1,
            indexer,
            keys,
            db,
            client,
            anvil,
            pki,
            addresses,
            service: nowhere,
            instance: None,
            second: None,
            dir,
        }
    }

    /// The network as a service is told of it.
    pub fn settings(&self) -> Network {
        let own = [self.anvil.url()];
        let urls = if self.endpoints.is_empty() { &own[..] } else { &self.endpoints };
        network(urls, &self.l1, self.variant)
    }

    /// A folder with the authority and the certificates of the service, for processes.
    pub fn folder(&self) -> &Path {
        self.pki.identity("lifecycle").expect("a certificate");
        self.dir.path()
    }

    /// From now on the service is looked for there.
    pub fn look_at(&mut self, address: SocketAddr) {
        self.service = address;
        self.client = LifecycleServiceClient::new(channel(address, "lifecycle", tls(&self.pki, OPERATOR)));
    }

    /// Starts another replica on the same database.
    pub async fn second_replica(&mut self, config: Config) {
        let (second, _) = run(self.settings(), &self.pki, &self.db, self.addresses, config).await;
        self.second = Some(second);
    }

    /// Kills the service in the middle of whatever it does.
    pub fn kill(&mut self) {
        for Instance { runtime, .. } in self.instance.take().into_iter().chain(self.second.take()) {
            runtime.shutdown_background();
        }
    }

    /// The other half of the service.
    pub fn webhooks(&self) -> WebhooksServiceClient<Peer> {
        let instance = self.instance.as_ref().expect("the service runs");
        WebhooksServiceClient::new(instance.peer.clone())
    }

    /// Starts it again on the same database.
    pub async fn restart(&mut self, config: Config) {
        self.kill();
        let (instance, address) = run(self.settings(), &self.pki, &self.db, self.addresses, config).await;
        self.instance = Some(instance);
        self.look_at(address);
    }

    /// A channel to the service under this identity.
    pub fn peer_as(&self, identity: &str) -> Peer {
        channel(self.service, "lifecycle", tls(&self.pki, identity))
    }

    /// A client of another operator.
    pub fn operator(&self, name: &str) -> LifecycleServiceClient<Peer> {
        LifecycleServiceClient::new(self.peer_as(&format!("operator/{name}")))
    }

    /// Runs a statement as somebody who has the database's own password.
    pub async fn sql(&self, sql: &str) {
        self.db.admin().await.execute_unprepared(sql).await.expect("it runs");
    }

    /// The wall clock of the running service; a restarted one begins anew.
    pub fn clock(&self) -> Clock {
        self.instance.as_ref().expect("the service runs").clock.clone()
    }

    /// Adds keys `<name>-owner` and `<name>` to keys, funds the owner and the signer, and registers the sequencer. Its
    /// node is ready.
    pub async fn register(&mut self, name: &str) -> Sequencer {
        let (owner, signer) = (owner_name(name), name.to_owned());
        self.keys.add(&owner, KeyRole::Owner);
        self.keys.add(&signer, KeyRole::Sequencer);
        self.l1.fund(address(&owner), Metis::whole(200_000), Eth::whole(10)).await.expect("funds");
        self.l1.fund(address(&signer), Metis::ZERO, Eth::whole(10)).await.expect("funds");
        self.indexer.node(address(&signer), true, false);
        let request = registration(name);
        let answer = self.client.register_sequencer(request).await.expect("registered");
        answer.into_inner().sequencer.expect("the sequencer")
    }

    /// Registered and whitelisted, and the service knows it.
    pub async fn whitelisted(&mut self, name: &str) -> Sequencer {
        let sequencer = self.register(name).await;
        self.l1.whitelist(address(&owner_name(name)), true).await.expect("whitelisted");
        self.until_phase(&sequencer.id, Phase::Whitelisted).await
    }

    pub async fn sequencer(&self, id: &str) -> Sequencer {
        let selector = Some(get_sequencer_request::Selector::Id(id.to_owned()));
        let request = GetSequencerRequest { network: String::new(), selector };
        let answer = self.client.clone().get_sequencer(request).await.expect("it is there");
        answer.into_inner().sequencer.expect("the sequencer")
    }

    pub async fn until_phase(&self, id: &str, phase: Phase) -> Sequencer {
        wait_for(&format!("the sequencer is {}", phase.as_str_name()), DEADLINE, || async {
            Some(self.sequencer(id).await).filter(|sequencer| sequencer.phase() == phase)
        })
        .await
    }

    pub async fn operation(&self, id: &str) -> Operation {
        let request = GetOperationRequest { id: id.to_owned() };
        let answer = self.client.clone().get_operation(request).await.expect("it is there");
        answer.into_inner().operation.expect("the operation")
    }

    pub async fn until_state(&self, id: &str, state: OperationState) -> Operation {
        wait_for(&format!("the operation is {}", state.as_str_name()), DEADLINE, || async {
            // Confirmations need blocks.
            self.l1.link.mine(1).await.expect("a block");
            let operation = self.operation(id).await;
            assert!(
                operation.state() == state || operation.state() != OperationState::Failed,
                "failed: {}",
                operation.reason
            );
            Some(operation).filter(|operation| operation.state() == state)
        })
        .await
    }

    pub async fn until_failed(&self, id: &str) -> Operation {
        wait_for("the operation failed", DEADLINE, || async {
            Some(self.operation(id).await).filter(|operation| operation.state() == OperationState::Failed)
        })
        .await
    }

    /// Asks for a managed operation.
    pub async fn ask(&mut self, sequencer: &str, parameters: Parameters) -> Operation {
        let request = managed(sequencer, parameters);
        let answer = self.client.create_operation(request).await.expect("it is taken");
        answer.into_inner().operation.expect("the operation")
    }

    /// Asks for a managed operation and waits until it is confirmed.
    pub async fn done(&mut self, sequencer: &str, parameters: Parameters) -> Operation {
        let operation = self.ask(sequencer, parameters).await;
        self.until_state(&operation.id, OperationState::Confirmed).await
    }

    /// The next reward batch: what an owner takes out of the lock is throttled by batches (P 1.10).
    pub async fn next_batch(&self, name: &str) {
        self.l1.submit_batch(&[(address(name), 1)]).await.expect("it is taken");
    }

    pub async fn transitions(&self, sequencer: &str, include_undone: bool) -> Vec<Transition> {
        let request =
            ListTransitionsRequest { sequencer: sequencer.to_owned(), include_undone, ..Default::default() };
        let answer = self.client.clone().list_transitions(request).await.expect("a page");
        answer.into_inner().transitions
    }
}

/// Asks of an endpoint in which every loop has looked several times: each look asks one thing at least.
const ASKS_OF_LOOKS: u64 = 40;

/// Waits until the service has looked several times since.
pub async fn several_looks(endpoint: &Proxy) {
    let last = endpoint.counts().http + ASKS_OF_LOOKS;
    wait_until("the loops looked", DEADLINE, || async { endpoint.counts().http >= last }).await;
}

/// Transactions that were handed to an endpoint, taken or not.
pub fn handed_to(endpoint: &Proxy) -> u64 {
    endpoint.counts().by_method.get("eth_sendRawTransaction").copied().unwrap_or_default()
}

/// An endpoint that says this of every transaction, and takes none.
pub fn saying(message: &str) -> Faults {
    let methods = vec!["eth_sendRawTransaction"];
    let error = NodeError { chance: Chance::ALWAYS, code: -32_000, message: message.to_owned(), methods };
    Faults { node_error: Some(error), ..Faults::default() }
}

pub fn owner_name(name: &str) -> String {
    format!("{name}-owner")
}

/// The address of a named key.
pub fn address(key: &str) -> Address {
    node_key(key).address()
}

pub fn request_id() -> String {
    Uuid::now_v7().to_string()
}

/// The registration of a sequencer of keys of ours.
pub fn registration(name: &str) -> RegisterSequencerRequest {
    RegisterSequencerRequest {
        request_id: request_id(),
        network: NETWORK.to_owned(),
        name: name.to_owned(),
        owner: Some(Owner::OwnerKeyId(owner_name(name))),
        signer: Some(Signer::SignerKeyId(name.to_owned())),
        ..Default::default()
    }
}

pub fn lock(units: u64) -> Parameters {
    Parameters::Lock(LockParameters { amount_wei: Metis::whole(units).wei_string(), ..Default::default() })
}

pub fn managed(sequencer: &str, parameters: Parameters) -> CreateOperationRequest {
    CreateOperationRequest {
        request_id: request_id(),
        sequencer: sequencer.to_owned(),
        parameters: Some(OperationParameters { parameters: Some(parameters) }),
        mode: OperationMode::Managed.into(),
        validate_only: false,
        terms: None,
    }
}

fn network(urls: &[String], l1: &L1, variant: Variant) -> Network {
    let rpc = urls.iter().map(|url| url.parse().expect("a URL")).collect();
    let l1 = L1Config { rpc, ..l1.settings() };
    Network { variant, confirmations: Some(2), poll_ms: 20, l1, ..Network::default() }
}

fn tls(pki: &Pki, name: &str) -> Arc<Tls> {
    let identity = pki.identity(name).expect("a certificate");
    Tls::load(&TlsConfig {
        cert: identity.certificate,
        key: identity.key,
        ca: pki.ca(),
        trust_domain: TRUST_DOMAIN.to_owned(),
    })
    .expect("certificates")
}

/// A free port of ours.
pub async fn socket() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn serve_indexer(pki: &Pki, indexer: FakeIndexer) -> SocketAddr {
    let (listener, address) = socket().await;
    let server =
        GrpcServer::builder("indexer", listener, tls(pki, "indexer"), api::methods::grpc(), Health::new())
            .add(IndexerServiceServer::new(indexer.clone()), api::DESCRIPTORS)
            .add(NodesServiceServer::new(indexer), api::DESCRIPTORS);
    tokio::spawn(server.serve(Shutdown::new()));
    address
}

async fn serve_keys(pki: &Pki, keys: FakeKeys) -> SocketAddr {
    let (listener, address) = socket().await;
    let server = GrpcServer::builder("keys", listener, tls(pki, "keys"), api::methods::grpc(), Health::new())
        .add(KeysServiceServer::new(keys), api::DESCRIPTORS);
    tokio::spawn(server.serve(Shutdown::new()));
    address
}

async fn run(
    settings: Network,
    pki: &Pki,
    db: &TestDb,
    addresses: Addresses,
    config: Config,
) -> (Instance, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let networks = BTreeMap::from([(NETWORK.to_owned(), settings)]);
    let (tls_own, url) = (tls(pki, "lifecycle"), db.url_for("lifecycle"));
    let started = runtime.spawn(async move {
        let (listener, address) = socket().await;
        let ports = lifecycle::Ports {
            listener,
            database: store::connect(&url, 10).await.expect("the database"),
            health: Health::new(),
            indexer: channel(addresses.indexer, "indexer", tls_own.clone()),
            keys: channel(addresses.keys, "keys", tls_own.clone()),
            tls: tls_own,
        };
        let service = lifecycle::build(config, networks, ports).await.expect("the service is built");
        let clock = service.clock();
        tokio::spawn(service.run(Shutdown::new()));
        (address, clock)
    });
    let (address, clock) = started.await.expect("the service starts");
    let peer = channel(address, "lifecycle", tls(pki, OPERATOR));
    (Instance { runtime, peer, clock }, address)
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}
