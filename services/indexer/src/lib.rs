//! Everything that is observed: the logs of the contracts on both chains, what they add up to, chain parameters,
//! epochs, and the health of nodes. Sends nothing to any chain.
//!
//! See `README.md` for what it owns and what happens when a neighbour is down.

pub mod config;
pub mod cursor;
pub mod db;
pub mod fold;
pub mod metrics;
pub mod nodes;
pub mod operations;
pub mod reconcile;
mod rpc;
pub mod source;
pub mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::chain::config::{Invalid, Network};
use ::chain::pool::PoolError;
use api::indexer::v1::indexer_service_server::IndexerServiceServer;
use api::indexer::v1::nodes_service_server::NodesServiceServer;
use chain::outbound::Policy;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use runtime::health::Health;
use runtime::report;
use runtime::server::GrpcServer;
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use sea_orm::DatabaseConnection;
use store::Holder;
use store::notify::{Wake as Notice, listener};
use tokio::net::TcpListener;

pub use config::Config;
use db::Layer;
use metrics::Metrics;
use nodes::client::{self, Client};
use nodes::gauges::Panel;
use operations::look::Looks;
use operations::{Context, Served};
use reconcile::chain::{Fatal, Follower};
use reconcile::commit::CHANNEL;
use reconcile::drift::Reconciler;
use reconcile::nodes::Prober;
use reconcile::ready::Ready;
use source::Source;
use wake::Wake;

/// Name of this service in certificates, metrics and health.
pub const NAME: &str = "indexer";

/// Notices may be lost, as between replicas; this is the longest that a message of a stream is late then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between attempts to listen for the commits of other replicas.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What the service is given by the process.
pub struct Ports {
    /// Where gRPC is served; bound already.
    pub listener: TcpListener,
    /// Certificates.
    pub tls: Arc<Tls>,
    /// The tables, as role `seq_indexer`.
    pub database: DatabaseConnection,
    /// Where checks are reported.
    pub health: Health,
}

/// Why the service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A network is not configured properly.
    #[error("reading the networks")]
    Network(#[from] Invalid),
    /// The endpoints of a network make no pool.
    #[error("setting up the endpoints of network {network}")]
    Endpoints {
        /// The network.
        network: String,
        /// Why not.
        #[source]
        source: PoolError,
    },
    /// This process cannot make HTTP clients.
    #[error("making the client for nodes")]
    Client(#[from] reqwest::Error),
    /// Balances of these addresses could not be read.
    #[error("reading the addresses to watch")]
    Watched(#[from] nodes::watch::Invalid),
}

/// Why the service stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Only the operator can help.
    #[error("following network {network}")]
    Chain {
        /// The network.
        network: String,
        /// Why.
        #[source]
        source: Fatal,
    },
    /// The server cannot serve.
    #[error("serving gRPC")]
    Server(#[from] runtime::server::Error),
}

/// The indexer, ready to run.
pub struct Service {
    config: Config,
    ports: Ports,
    context: Context,
    metrics: Metrics,
    holder: Holder,
}

/// Builds the service. Asks nobody yet: a chain that is away is found when running, and is no reason not to start.
///
/// # Errors
/// [`BuildError`] when the configuration makes no sense.
pub async fn build(
    config: Config,
    networks: BTreeMap<String, Network>,
    ports: Ports,
) -> Result<Service, BuildError> {
    let served = networks.iter().map(|(name, network)| Ok((name.clone(), serve(name, network)?)));
    let served = served.collect::<Result<BTreeMap<_, _>, BuildError>>()?;
    let wake = Wake::new(served.keys().cloned());
    let follows = |network: &str, layer| {
        let found = served.get(network);
        found.is_some_and(|served| layer == Layer::L1 || served.l2.is_some())
    };
    nodes::watch::check(&config.nodes.watched, follows)?;
    let client = Client::new(Policy::new(client::SETTING, config.nodes.allow.clone()))?;
    let context = Context { db: ports.database.clone(), networks: Arc::new(served), wake, client };
    let holder = Holder::new(NAME);
    Ok(Service { config, ports, context, metrics: Metrics::default(), holder })
}

fn serve(name: &str, network: &Network) -> Result<Served, BuildError> {
    let spec = network.spec(name)?;
    let failed = |source| BuildError::Endpoints { network: name.to_owned(), source };
    let source = |layer, pool| Source {
        network: name.to_owned(),
        layer,
        spec: spec.clone(),
        declared: network.variant,
        pool,
        care: Default::default(),
    };
    let l1 = source(Layer::L1, network.l1_pool(&spec).map_err(failed)?);
    let l2 = network.l2_pool(&spec).map_err(failed)?.map(|pool| source(Layer::L2, pool));
    Ok(Served { l1, l2, themis_network: network.themis_network.clone(), looks: Looks::default() })
}

impl Service {
    /// Serves gRPC and follows the chains until the shutdown.
    ///
    /// # Errors
    /// [`RunError`] where only the operator can help; the shutdown has then been asked for.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Self { config, ports, context, metrics, holder } = self;
        let Ports { listener, tls, database, health } = ports;
        let sources: Vec<Source> = context
            .networks
            .values()
            .flat_map(|served| [Some(served.l1.clone()), served.l2.clone()])
            .flatten()
            .collect();

        let ready = Ready::new(database.clone(), &health, &sources);
        shutdown.spawn("indexer ready", ready.run(shutdown.clone()));
        shutdown.spawn("indexer notices", notices(database.clone(), context.wake.clone(), shutdown.clone()));
        shutdown.spawn("indexer looks", looks(context.wake.clone(), shutdown.clone()));
        for served in context.networks.values() {
            let reconciler = Reconciler {
                db: database.clone(),
                served: served.clone(),
                holder: holder.clone(),
                metrics: metrics.clone(),
                every: Duration::from_secs(config.reconcile_secs.max(1)),
            };
            shutdown.spawn("indexer drift", reconciler.run(shutdown.clone()));
        }
        let prober = Prober {
            context: context.clone(),
            holder: holder.clone(),
            metrics: metrics.clone(),
            panel: Panel::new(),
            config: config.nodes.clone(),
            every: Duration::from_secs(config.probe_secs.max(1)),
        };
        shutdown.spawn("indexer nodes", prober.run(shutdown.clone()));

        let rpc = rpc::Rpc {
            context: context.clone(),
            metrics: metrics.clone(),
            exports: operations::export::Exports::default(),
            shutdown: shutdown.clone(),
        };
        let server = GrpcServer::builder(NAME, listener, tls, api::methods::grpc(), health)
            .add(IndexerServiceServer::new(rpc.clone()), api::DESCRIPTORS)
            .add(NodesServiceServer::new(rpc), api::DESCRIPTORS)
            .serve(shutdown.clone())
            .map(|served| served.map_err(RunError::Server));
        let chains = chains(sources, &database, &holder, (&metrics, &context.wake), &shutdown);
        let (served, followed) = tokio::join!(server, chains);
        followed.and(served)
    }
}

/// Follows all chains at once. The first that only the operator can mend stops the service.
async fn chains(
    sources: Vec<Source>,
    db: &DatabaseConnection,
    holder: &Holder,
    (metrics, wake): (&Metrics, &Wake),
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let mut followers: FuturesUnordered<_> = sources
        .into_iter()
        .map(|source| {
            let network = source.network.clone();
            let follower = Follower {
                db: db.clone(),
                source,
                holder: holder.clone(),
                metrics: metrics.clone(),
                wake: wake.clone(),
            };
            follower
                .run(shutdown.clone())
                .map(|done| done.map_err(|source| RunError::Chain { network, source }))
        })
        .collect();
    let mut first = Ok(());
    while let Some(done) = followers.next().await {
        if done.is_err() && first.is_ok() {
            shutdown.stop();
            first = done;
        }
    }
    first
}

/// Wakes everyone who waits now and then, since notices may be lost.
async fn looks(wake: Wake, shutdown: Shutdown) {
    while !shutdown.is_stopped() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => wake.announce_all(),
            () = shutdown.stopped() => {}
        }
    }
}

/// Passes on what other replicas commit. While listening fails, consumers look by themselves.
async fn notices(db: DatabaseConnection, wake: Wake, shutdown: Shutdown) {
    while !shutdown.is_draining() {
        match listener(&db, &[CHANNEL]).await {
            Ok(listener) => {
                let mut notices = listener.wakes();
                loop {
                    tokio::select! {
                        notice = notices.next() => match notice {
                            Notice::Notified { payload, .. } => wake.announce(&payload),
                            Notice::Missed => wake.announce_all(),
                        },
                        () = shutdown.stopped() => return,
                    }
                }
            }
            Err(error) => {
                tracing::warn!("the commits of other replicas cannot be heard: {}", report(&error));
                tokio::select! {
                    () = tokio::time::sleep(LISTEN_AGAIN) => {}
                    () = shutdown.draining() => {}
                }
            }
        }
    }
}
