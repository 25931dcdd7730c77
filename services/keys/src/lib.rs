//! The keys service: everything that is secret. Generation, import, backup, policy, conflict guard,
//! signing and the audit of every decision. It calls no other service; README.md tells the whole.

pub mod audit;
#[cfg(feature = "aws-kms")]
pub mod aws;
pub mod backend;
pub mod backup;
pub mod config;
pub mod crypto;
pub mod db;
mod decisions;
pub mod error;
pub mod floors;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
pub mod import;
pub mod keyring;
pub mod message;
pub mod metrics;
mod operations;
pub mod policy;
mod rpc;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::keys::v1::keys_service_server::KeysServiceServer;
use audit::publish::Publisher;
use runtime::health::Health;
use runtime::server::{self, GrpcServer};
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;

pub use config::Config;
pub use policy::Contracts;

/// Name of the service in identities, metrics and health.
pub const NAME: &str = "keys";

/// What the process gives the service.
pub struct Ports {
    /// Bound already.
    pub listener: TcpListener,
    pub tls: Arc<Tls>,
    /// As the role of this service.
    pub database: DatabaseConnection,
    pub health: Health,
}

/// The service, ready to run.
pub struct Service {
    ports: Ports,
    rpc: rpc::Rpc,
    watch: watch::Watch,
    publisher: Publisher,
}

/// Stands as the reason until the first look is over.
const OPENING: &str = "the key-encryption key is being asked for";

/// Why the service cannot start. A missing or wrong key-encryption key is not among the reasons:
/// then it starts sealed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("reading the configuration of keys")]
    Config(#[from] config::Ambiguous),
    #[error("opening the backends of keys")]
    Backends(#[from] backend::OpenError),
    #[error("opening the installation of keys")]
    Open(#[from] error::Failure),
    #[error("comparing the database with the published heads")]
    HeadFile(#[from] audit::head_file::Unusable),
    #[error("preparing the webhook for heads")]
    Webhook(#[from] audit::webhook::NotTaken),
}

/// Why the service ended other than by shutdown.
#[derive(Debug, thiserror::Error)]
#[error("serving keys")]
pub struct RunError(#[from] server::Error);

/// Opens the installation. `contracts` are those of the configured networks, for the preset policy.
pub async fn build(
    config: Config,
    contracts: BTreeMap<String, Contracts>,
    ports: Ports,
) -> Result<Service, BuildError> {
    let memory_locked = crypto::memory::guard();
    start::ensure_policy(&ports.database, config.policy_preset, &contracts).await?;
    let published = config.audit.head_file.as_deref().map(audit::head_file::last).transpose()?.flatten();
    floors::compare(&ports.database, published.map(|signed| signed.head)).await?;
    let metrics = metrics::Metrics::new();
    let ring = Arc::new(crypto::Ring::new(config.sources()?));
    let local = backend::Local::new(Arc::clone(&ring));
    let watch = watch::Watch {
        db: ports.database.clone(),
        gate: Arc::new(gate::Gate::sealed(OPENING)),
        ring,
        backends: backend::Backends::open(local, &config.backends, &metrics).await?,
        metrics,
        check: ports.health.check("keys.unsealed"),
        panel: metrics::Panel::new(),
        rights: config.rights,
        memory_locked,
    };
    watch.check.fail(format!("sealed: {OPENING}"));
    // A source that is slow or away does not keep the service from answering that it is sealed.
    tokio::time::timeout(watch::START_WAIT, watch.open()).await.unwrap_or(Ok(()))?;
    let rpc = rpc::Rpc::new(ports.database.clone(), Arc::clone(&watch.gate));
    let publisher = Publisher::new(Arc::clone(&watch.gate), config.audit)?;
    Ok(Service { ports, rpc, watch, publisher })
}

impl Service {
    /// Serves until the shutdown, with loops beside that look after the key-encryption keys (`watch`), the health of
    /// remote backends and the published heads of the audit log.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Ports { listener, tls, database: _, health } = self.ports;
        let watch = self.watch;
        watch.backends.watch(&health, &shutdown);
        shutdown.spawn("keys.heads", self.publisher.run(shutdown.clone()));
        let of_watch = shutdown.clone();
        shutdown.spawn("keys.watch", async move {
            watch.look().await;
            watch.run(of_watch).await;
        });
        let service = KeysServiceServer::new(self.rpc)
            .max_decoding_message_size(server::BULK_BYTES_MAX)
            .max_encoding_message_size(server::BULK_BYTES_MAX);
        GrpcServer::builder(NAME, listener, tls, api::methods::grpc(), health)
            .add(service, api::DESCRIPTORS)
            .serve(shutdown)
            .await?;
        Ok(())
    }
}
