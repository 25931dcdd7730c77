//! The lifecycle service: everything that is intended. The register, the state machine with its history, operations,
//! and the transactions that carry them out. Only this service sends transactions; README.md tells the whole.

mod approval;
mod clock;
mod config;
mod db;
mod error;
mod failpoint;
mod fleet;
mod fleet_run;
mod head;
mod market;
mod metrics;
mod neighbours;
mod notify;
mod operations;
mod reconcile;
mod request;
mod rpc;
mod schedule;
mod signed;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::lifecycle::v1::fleet_service_server::FleetServiceServer;
use api::lifecycle::v1::lifecycle_service_server::LifecycleServiceServer;
use api::lifecycle::v1::schedule_service_server::ScheduleServiceServer;
use api::lifecycle::v1::webhooks_service_server::WebhooksServiceServer;
use chain::config::{Invalid, Network};
use chain::pool::PoolError;
use chain::verify::{self, VerifyError};
use domain::network::Variant;
use runtime::client::Peer;
use runtime::health::{Check, Health};
use runtime::server::{self, GrpcServer};
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use sea_orm::DatabaseConnection;
use store::notify::{Wake, listener};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use approval::config::{ApprovalRule, Approvals};
pub use clock::Clock;
pub use config::{Config, Fees, LabelBudget, Webhooks};
pub use failpoint::{Action, NotADevnet, Point};
use fleet::{Chain, Fleet};

/// Name of the service in identities, metrics and health.
pub const NAME: &str = "lifecycle";

/// What the process gives the service.
#[derive(Debug)]
pub struct Ports {
    /// Bound already.
    pub listener: TcpListener,
    pub tls: Arc<Tls>,
    /// As the role of this service.
    pub database: DatabaseConnection,
    pub health: Health,
    pub indexer: Peer,
    pub keys: Peer,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    fleet: Arc<Fleet>,
    listener: TcpListener,
    tls: Arc<Tls>,
    health: Health,
    followed: Vec<(Arc<Chain>, Check)>,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("reading the network {name}")]
    Network {
        name: String,
        #[source]
        source: Invalid,
    },
    #[error("opening the endpoints of {name}")]
    Endpoints {
        name: String,
        #[source]
        source: PoolError,
    },
    #[error("the contracts of {name} are not those of the configuration")]
    Contracts {
        name: String,
        #[source]
        source: VerifyError,
    },
    #[error("taking the failpoints")]
    Failpoints(#[source] NotADevnet),
    #[error("preparing to send notifications")]
    Notifications(#[source] notify::Unusable),
    #[error("reading lifecycle.approvals")]
    Approvals(#[source] approval::config::Invalid),
    #[error("listening for notifications of the database")]
    Listen(#[source] store::Error),
}

/// Why the service ended other than by shutdown.
#[derive(Debug, thiserror::Error)]
#[error("serving lifecycle")]
pub struct RunError(#[source] server::Error);

/// Checks the networks and connects everything; nothing runs yet.
///
/// # Errors
/// When the configuration is wrong, or a chain disagrees with it. An L1 that cannot be reached is no reason.
pub async fn build(
    config: Config,
    networks: BTreeMap<String, Network>,
    ports: Ports,
) -> Result<Service, BuildError> {
    let Ports { listener: socket, tls, database, health, indexer, keys } = ports;
    let mut chains = BTreeMap::new();
    for (name, network) in networks {
        chains.insert(name.clone(), Arc::new(open(name, &network).await?));
    }
    let chain_ids = chains.values().map(|chain: &Arc<Chain>| chain.chain_id);
    let failpoints =
        failpoint::Failpoints::new(config.failpoints.clone(), chain_ids).map_err(BuildError::Failpoints)?;
    let approval_rules = config.approvals.rules().map_err(BuildError::Approvals)?;
    let wakes = listener(&database, &[reconcile::follow::CHANNEL, db::operation::CHANNEL])
        .await
        .map_err(BuildError::Listen)?;
    let followed = chains
        .values()
        .map(|chain| (chain.clone(), health.check(format!("lifecycle.follow.{}", chain.name))))
        .collect();
    let desk = notify::Desk::open(&config.webhooks).map_err(BuildError::Notifications)?;
    let metrics = metrics::Metrics::default();
    metrics.begin(chains.keys());
    let fleet = Fleet {
        intake: operations::intake::Intake::start(&database, &failpoints),
        db: database,
        desk,
        networks: chains,
        neighbours: neighbours::Neighbours::new(indexer, keys),
        config,
        approval_rules,
        clock: Clock::default(),
        failpoints,
        wakes,
        work: watch::Sender::new(()),
        metrics,
        holder: store::Holder::new(NAME),
    };
    Ok(Service { fleet: Arc::new(fleet), listener: socket, tls, health, followed })
}

/// One network: its endpoints, and its contracts checked as far as the chain can be asked.
async fn open(name: String, network: &Network) -> Result<Chain, BuildError> {
    let spec = network.spec(&name).map_err(|source| BuildError::Network { name: name.clone(), source })?;
    let l1 = network.l1_pool(&spec).map_err(|source| BuildError::Endpoints { name: name.clone(), source })?;
    let (variant, implementation) = match verify::l1(&spec, &l1).await {
        Ok(contracts) => (contracts.variant, Some(contracts.pool_implementation)),
        Err(source @ VerifyError::Mismatched { .. }) => return Err(BuildError::Contracts { name, source }),
        Err(error) => {
            tracing::warn!("the contracts of {name} could not be checked: {}", runtime::report(&error));
            (Variant::Unknown, None)
        }
    };
    Ok(Chain {
        name,
        chain_id: spec.l1.chain_id,
        l1,
        locking_pool: spec.l1.locking_pool,
        locking_info: spec.l1.locking_info,
        metis: spec.l1.metis,
        bridge: spec.l1.bridge,
        confirmations: spec.l1.confirmations,
        variant: variant.or(network.variant),
        implementation,
        market: market::Market::default(),
        head: head::Head::default(),
    })
}

impl Service {
    /// Its wall clock, which tests put forward.
    pub fn clock(&self) -> Clock {
        self.fleet.clock.clone()
    }

    /// Serves gRPC and runs the loops until the shutdown, then gives the leases back.
    ///
    /// # Errors
    /// When the server cannot start.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Self { fleet, listener, tls, health, followed } = self;
        for (chain, check) in followed {
            shutdown.spawn(
                "follow",
                reconcile::follow::run(fleet.clone(), chain.clone(), check, shutdown.clone()),
            );
            shutdown.spawn("lanes", reconcile::lanes::run(fleet.clone(), chain.clone(), shutdown.clone()));
            shutdown.spawn("agenda", reconcile::agenda::run(fleet.clone(), chain.clone(), shutdown.clone()));
            shutdown.spawn("confirm", reconcile::confirm::run(fleet.clone(), chain, shutdown.clone()));
        }
        shutdown.spawn("notify", notify::courier::run(fleet.clone(), shutdown.clone()));
        shutdown.spawn("wake", wake(fleet.clone(), shutdown.clone()));
        let rpc = rpc::Rpc::new(fleet);
        let webhooks = WebhooksServiceServer::new(rpc.clone())
            .max_decoding_message_size(server::REQUEST_BYTES_MAX)
            .max_encoding_message_size(server::RESPONSE_BYTES_MAX);
        let service = LifecycleServiceServer::new(rpc.clone())
            .max_decoding_message_size(server::REQUEST_BYTES_MAX)
            .max_encoding_message_size(server::RESPONSE_BYTES_MAX);
        let fleets = FleetServiceServer::new(rpc.clone())
            .max_decoding_message_size(server::REQUEST_BYTES_MAX)
            .max_encoding_message_size(server::RESPONSE_BYTES_MAX);
        let schedules = ScheduleServiceServer::new(rpc)
            .max_decoding_message_size(server::REQUEST_BYTES_MAX)
            .max_encoding_message_size(server::RESPONSE_BYTES_MAX);
        GrpcServer::builder(NAME, listener, tls, api::methods::grpc(), health)
            .add(service, api::DESCRIPTORS)
            .add(webhooks, api::DESCRIPTORS)
            .add(fleets, api::DESCRIPTORS)
            .add(schedules, api::DESCRIPTORS)
            .serve(shutdown)
            .await
            .map_err(RunError)
    }
}

/// What other replicas did is work for our loops too.
async fn wake(fleet: Arc<Fleet>, shutdown: Shutdown) {
    let mut wakes = fleet.wakes.wakes();
    loop {
        tokio::select! {
            wake = wakes.next() => match wake {
                Wake::Missed | Wake::Notified { .. } => fleet.wake(),
            },
            () = shutdown.stopped() => return,
        }
    }
}
