//! The rewards service: everything that is *earned*.
//!
//! It follows the indexer's event stream into a ledger (credits, claims, compounded rewards, what an
//! exit paid), answers balances and rates from it, and compares itself with the contracts all the time.
//! It sees no chain itself and knows no keys.

pub mod config;
mod db;
mod metrics;
mod operations;
mod reconcile;
mod rpc;

use std::sync::Arc;

use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::rewards::v1::rewards_service_server::RewardsServiceServer;
use runtime::client::Peer;
use runtime::health::Health;
use runtime::server::GrpcServer;
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;

pub use config::Config;

/// What the service is given from outside.
#[derive(Debug)]
pub struct Ports {
    /// Bound already, so that the address is known before anything starts.
    pub listener: TcpListener,
    /// Certificates.
    pub tls: Arc<Tls>,
    /// Connected as the role of the service.
    pub database: DatabaseConnection,
    /// Health of the process.
    pub health: Health,
    /// The indexer.
    pub indexer: Peer,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The migrations were not run, or the role is wrong.
    #[error("reading the ledger's tables")]
    Tables(#[source] store::Error),
}

/// Why the service stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The gRPC server broke.
    #[error("serving gRPC")]
    Serve(#[from] runtime::server::Error),
}

/// A client of the indexer.
pub(crate) type Indexer = IndexerServiceClient<Peer>;

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    config: Config,
    ports: Ports,
}

/// Checks that the tables are there and puts the parts together.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn build(config: Config, ports: Ports) -> Result<Service, BuildError> {
    db::position::all(&ports.database).await.map_err(BuildError::Tables)?;
    Ok(Service { config, ports })
}

impl Service {
    /// Serves and follows until the shutdown.
    ///
    /// # Errors
    /// When the server cannot serve.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Self { config, ports } = self;
        let Ports { listener, tls, database, health, indexer } = ports;
        let indexer = Indexer::new(indexer);
        let follow = reconcile::networks::Loop {
            config: config.clone(),
            database: database.clone(),
            indexer: indexer.clone(),
            health: health.check("rewards.indexer"),
            shutdown: shutdown.clone(),
        };
        shutdown.spawn("rewards networks", follow.run());
        let rewards = rpc::Rewards { database, indexer };
        GrpcServer::builder("rewards", listener, tls, api::methods::grpc(), health)
            .add(RewardsServiceServer::new(rewards), api::DESCRIPTORS)
            .serve(shutdown)
            .await?;
        Ok(())
    }
}
