//! The keys service: everything that is secret. Generation, import, backup, policy, conflict guard,
//! signing and the audit of every decision. It calls no other service; README.md tells the whole.

pub mod audit;
pub mod backend;
pub mod backup;
pub mod config;
pub mod crypto;
pub mod db;
mod decisions;
pub mod error;
pub mod import;
pub mod keyring;
pub mod message;
pub mod metrics;
mod operations;
pub mod policy;
mod rpc;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::keys::v1::keys_service_server::KeysServiceServer;
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
}

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
    start::forbid_core_dumps();
    start::ensure_policy(&ports.database, config.policy_preset, &contracts).await?;
    let check = ports.health.check("keys.unsealed");
    let rpc = match crypto::seal::unseal(&ports.database, config.source()?).await? {
        crypto::seal::Seal::Open(kek) => {
            check.ok();
            let (kek, metrics) = (Arc::new(kek), metrics::Metrics::new());
            let local = backend::Local::new(Arc::clone(&kek));
            let backends = backend::Backends::open(local, &config.backends, &metrics).await?;
            rpc::Rpc::opened(keyring::Keyring::open(ports.database.clone(), kek, backends, metrics).await?)
        }
        crypto::seal::Seal::Sealed(reason) => {
            check.fail(format!("sealed: {reason}"));
            rpc::Rpc::sealed(ports.database.clone(), reason)
        }
    };
    Ok(Service { ports, rpc })
}

impl Service {
    /// Serves until the shutdown. The only loops look at the health of remote backends; nothing else happens here
    /// unless it is asked for.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Ports { listener, tls, database: _, health } = self.ports;
        self.rpc.watch_backends(&health, &shutdown);
        let service = KeysServiceServer::new(self.rpc)
            .max_decoding_message_size(server::REQUEST_BYTES_MAX)
            .max_encoding_message_size(server::RESPONSE_BYTES_MAX);
        GrpcServer::builder(NAME, listener, tls, api::methods::grpc(), health)
            .add(service, api::DESCRIPTORS)
            .serve(shutdown)
            .await?;
        Ok(())
    }
}
