//! Two chains with the contracts, a database, and the indexer over real gRPC.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, hex};
use api::indexer::v1 as wire;
use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::indexer::v1::nodes_service_client::NodesServiceClient;
use chain::config::{L1 as L1Config, L2 as L2Config, Network};
use chain::rpc::EndpointUrl;
use domain::amount::{Eth, Metis};
use domain::ids::SequencerId;
use domain::network::Variant;
use indexer::config::Nodes;
use indexer::nodes::watch::Watched;
use indexer::{Config, Ports, RunError, Service};
use runtime::client::{Peer, channel};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::tls::{Tls, TlsConfig};
use tempfile::TempDir;
use testkit::anvil::Options;
use testkit::contracts::{L1, L1Options, L2, L2Options, account, deploy_l1, deploy_l2, node_key};
use testkit::{Anvil, Pki, TestDb, wait_for, wait_until};
use tokio::task::JoinHandle;

/// Far longer than anything here takes, even on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const NETWORK: &str = "devnet";
pub const TRUST_DOMAIN: &str = "metis.test";

pub struct World {
    pub l1: L1,
    pub l2: L2,
    pub db: TestDb,
    pub network: Network,
    pki: Pki,
    _dir: TempDir,
    _l1_anvil: Anvil,
    _l2_anvil: Anvil,
}

/// A running indexer. It runs until [`Running::stop`] or [`Running::kill`].
pub struct Running {
    pub indexer: IndexerServiceClient<Peer>,
    pub nodes: NodesServiceClient<Peer>,
    pub health: Health,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
}

impl World {
    /// With anvil's usual distance of `finalized` behind the head (64 blocks).
    pub async fn new() -> Self {
        Self::with_slots(32).await
    }

    /// `finalized` is twice as many blocks behind the head.
    pub async fn with_slots(slots: u64) -> Self {
        runtime::install_crypto_provider();
        // Silent unless RUST_LOG asks; the first test wins, which is all the same.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let l1_options = Options {
            chain_id: Some(testkit::contracts::L1_CHAIN_ID),
            slots_in_an_epoch: Some(slots),
            accounts: Some(1),
            ..Options::default()
        };
        let l2_options = Options {
            chain_id: Some(testkit::contracts::L2_CHAIN_ID),
            hardfork: Some("berlin".to_owned()),
            ..l1_options.clone()
        };
        let (l1_anvil, l2_anvil) = tokio::join!(Anvil::start(l1_options), Anvil::start(l2_options));
        let (l1_anvil, l2_anvil) = (l1_anvil.expect("anvil runs"), l2_anvil.expect("anvil runs"));
        let l1 = deploy_l1(&l1_anvil, L1Options::default()).await.expect("the L1 contracts");
        let l2 = deploy_l2(&l2_anvil, L2Options::default()).await.expect("the L2 contract");
        let network = network(&l1, &l1_anvil, &l2, &l2_anvil);
        let dir = TempDir::new().expect("a folder");
        let pki = Pki::new(dir.path(), TRUST_DOMAIN).expect("a CA");
        let db = testkit::database().await;
        Self { l1, l2, db, network, pki, _dir: dir, _l1_anvil: l1_anvil, _l2_anvil: l2_anvil }
    }

    /// Indexers that start from now on have a database of their own; gives the one before, which must be kept while
    /// anything uses it.
    pub async fn fresh_database(&mut self) -> TestDb {
        std::mem::replace(&mut self.db, testkit::database().await)
    }

    /// Starts an indexer for the one network.
    pub async fn start(&self) -> Running {
        self.start_with([(NETWORK.to_owned(), self.network.clone())].into()).await
    }

    /// Starts an indexer for these networks.
    pub async fn start_with(&self, networks: BTreeMap<String, Network>) -> Running {
        self.start_watching(networks, Vec::new()).await
    }

    /// Starts an indexer for these networks that watches these balances too.
    pub async fn start_watching(
        &self,
        networks: BTreeMap<String, Network>,
        watched: Vec<Watched>,
    ) -> Running {
        let nodes = Nodes { allow: vec!["127.0.0.0/8".parse().expect("a network")], watched };
        let config = Config { reconcile_secs: 1, probe_secs: 1, nodes };
        serve(config, networks, &self.db, &self.pki).await
    }

    /// Whitelists, funds and locks; the id of the new sequencer.
    pub async fn lock(&self, name: &str, amount: u64) -> SequencerId {
        let owner = account(name);
        self.l1.whitelist(owner, true).await.expect("whitelisted");
        self.l1.fund(owner, Metis::whole(200_000), Eth::whole(10)).await.expect("funded");
        self.l1.lock(owner, &node_key(name), recipient(name), Metis::whole(amount)).await.expect("locked");
        self.l1.sequencer_of(owner).await.expect("the chain answers").expect("it has a sequencer")
    }

    /// Everything that can happen to a sequencer but its exit, with rewards on the way.
    pub async fn busy(&self, name: &str) -> SequencerId {
        let (l1, owner) = (&self.l1, account(name));
        let (signer, next) = (node_key(name), node_key(&format!("{name} next")));
        let id = self.lock(name, 20_000).await;
        l1.fund(signer.address(), Metis::ZERO, Eth::whole(10)).await.expect("funded");
        l1.submit_batch(&[(signer.address(), 700), (signer.address(), 300)]).await.expect("batch");
        l1.relock(owner, id, Metis::whole(5), true).await.expect("relocked with rewards");
        l1.relock(owner, id, Metis::whole(40), false).await.expect("relocked");
        l1.submit_batch(&[(signer.address(), 5_000)]).await.expect("batch");
        l1.withdraw(owner, id, Metis::whole(7)).await.expect("withdrawn");
        l1.claim(owner, id).await.expect("claimed");
        l1.submit_batch(&[(signer.address(), 10)]).await.expect("batch");
        l1.update_signer(signer.address(), id, &next).await.expect("rotated");
        l1.submit_batch(&[(next.address(), 123)]).await.expect("batch");
        l1.set_recipient(owner, id, account("elsewhere")).await.expect("recipient");
        id
    }

    /// The exit, with a reward that comes while it lasts.
    pub async fn leave(&self, name: &str, id: SequencerId, signer: Address) {
        let (l1, owner) = (&self.l1, account(name));
        l1.unlock(owner, id).await.expect("unlocked");
        l1.submit_batch(&[(signer, 77)]).await.expect("batch");
        l1.link.advance_time(22 * 24 * 60 * 60).await.expect("time passes");
        l1.unlock_claim(owner, id).await.expect("withdrawn");
    }
}

/// Starts an indexer on a database.
pub async fn serve(config: Config, networks: BTreeMap<String, Network>, db: &TestDb, pki: &Pki) -> Running {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let health = Health::new();
    let ports = Ports {
        listener,
        tls: tls(pki, "indexer"),
        database: db.connect("indexer").await,
        health: health.clone(),
    };
    let service: Service = indexer::build(config, networks, ports).await.expect("it is configured");
    let shutdown = Shutdown::new();
    let task = tokio::spawn(service.run(shutdown.clone()));
    let peer = channel(address, "indexer", tls(pki, "operator/tester")).with_methods(api::methods::grpc());
    let (indexer, nodes) = (IndexerServiceClient::new(peer.clone()), NodesServiceClient::new(peer));
    Running { indexer, nodes, health, shutdown, task }
}

fn tls(pki: &Pki, name: &str) -> Arc<Tls> {
    let identity = pki.identity(name).expect("a certificate");
    let config = TlsConfig {
        cert: identity.certificate,
        key: identity.key,
        ca: pki.ca(),
        trust_domain: TRUST_DOMAIN.to_owned(),
    };
    Tls::load(&config).expect("the certificates load")
}

pub fn recipient(name: &str) -> Address {
    account(&format!("{name} recipient"))
}

fn network(l1: &L1, l1_anvil: &Anvil, l2: &L2, l2_anvil: &Anvil) -> Network {
    let url = |text: String| text.parse::<EndpointUrl>().expect("a URL");
    Network {
        variant: Variant::Main,
        confirmations: Some(2),
        poll_ms: 50,
        l1: L1Config {
            rpc: vec![url(l1_anvil.url()).into()],
            ws: Some(l1_anvil.ws_url().parse().expect("a URL")),
            ..l1.settings()
        },
        l2: L2Config { rpc: vec![url(l2_anvil.url()).into()], ..l2.settings() },
        ..Network::default()
    }
}

impl Running {
    /// Stops it in order and says how it ended.
    pub async fn stop(self) -> Result<(), RunError> {
        self.shutdown.stop();
        let ended = self.task.await.expect("it does not panic");
        self.shutdown.finish().await.expect("all its loops end");
        ended
    }

    /// Kills it where it stands: nothing is given back, nothing is finished.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|ended| ended.is_cancelled()), "it was running");
        self.shutdown.stop();
    }

    /// How it ended by itself.
    pub async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(DEADLINE, self.task).await.expect("it ends").expect("it does not panic")
    }

    pub async fn source(&self, network: &str, layer: usize) -> Option<wire::SourceProgress> {
        let networks =
            self.indexer.clone().list_networks(wire::ListNetworksRequest {}).await.ok()?.into_inner();
        networks.networks.into_iter().find(|found| found.name == network)?.sources.into_iter().nth(layer)
    }

    /// Waits until both chains are indexed to their heads.
    pub async fn caught_up(&self, world: &World) {
        for (layer, link) in [&world.l1.link, &world.l2.link].into_iter().enumerate() {
            wait_until("the index is at the head", DEADLINE, || async {
                let head = link.head().await.expect("anvil answers").hash;
                let indexed = self.source(NETWORK, layer).await.and_then(|source| source.indexed);
                indexed.is_some_and(|indexed| indexed.hash == hex::encode_prefixed(head))
            })
            .await;
        }
    }

    /// Waits until index and contracts were compared at the head, and gives the result.
    pub async fn reconciled(&self, world: &World) -> wire::GetReconciliationResponse {
        self.caught_up(world).await;
        wait_for("the head is reconciled", DEADLINE, || async {
            let head = hex::encode_prefixed(world.l1.link.head().await.expect("anvil answers").hash);
            let request = wire::GetReconciliationRequest { network: NETWORK.to_owned() };
            let found = self.indexer.clone().get_reconciliation(request).await.ok()?.into_inner();
            let at_head = found.block.as_ref().is_some_and(|block| block.hash == head);
            at_head.then_some(found)
        })
        .await
    }

    /// Index and contracts agree at the head.
    pub async fn agrees(&self, world: &World) {
        let found = self.reconciled(world).await;
        assert_eq!((found.drift, found.first_difference.as_str()), (0, ""));
    }

    pub async fn record(&self, id: SequencerId) -> wire::SequencerRecord {
        let request = wire::GetSequencerRecordRequest {
            network: NETWORK.to_owned(),
            selector: Some(wire::get_sequencer_record_request::Selector::SequencerId(id.to_string())),
        };
        let found =
            self.indexer.clone().get_sequencer_record(request).await.expect("the record").into_inner();
        found.record.expect("an answer has a record")
    }

    /// All events, in pages of a few.
    pub async fn events(&self, filter: wire::ListEventsRequest) -> Vec<wire::ChainEvent> {
        let mut events = Vec::new();
        let mut page_token = String::new();
        loop {
            let network = NETWORK.to_owned();
            let request = wire::ListEventsRequest { network, page_size: 7, page_token, ..filter.clone() };
            let page = self.indexer.clone().list_events(request).await.expect("a page").into_inner();
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return events;
            }
        }
    }
}

/// Names of events, in order.
pub fn names(events: &[wire::ChainEvent]) -> Vec<String> {
    let name = |event: &wire::ChainEvent| {
        let text = format!("{:?}", event.event.as_ref().expect("an event says what happened"));
        text.split('(').next().unwrap_or_default().to_owned()
    };
    events.iter().map(name).collect()
}
