//! The keys service: everything that is secret. Generation, import, backup, policy, conflict guard,
//! signing and the audit of every decision. It calls no other service; README.md tells the whole.

pub mod audit;
pub mod backup;
pub mod config;
pub mod crypto;
pub mod db;
pub mod error;
pub mod floors;
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
pub mod keyring;
mod metrics;
mod operations;
pub mod policy;
mod rpc;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::keys::v1::keys_service_server::KeysServiceServer;
use audit::publish::Publisher;
use audit::webhook::Webhook;
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
    /// Not while sealed.
    publisher: Option<Publisher>,
}

/// Why the service cannot start. A missing or wrong key-encryption key is not among the reasons:
/// then it starts sealed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("reading the configuration of keys")]
    Config(#[from] config::Ambiguous),
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
    start::forbid_core_dumps();
    start::ensure_policy(&ports.database, config.policy_preset, &contracts).await?;
    let published = config.audit.head_file.as_deref().map(audit::head_file::last).transpose()?.flatten();
    floors::compare(&ports.database, published.map(|signed| signed.head)).await?;
    let check = ports.health.check("keys.unsealed");
    let (rpc, publisher) = match crypto::seal::unseal(&ports.database, config.source()?).await? {
        crypto::seal::Seal::Open(kek) => {
            let keyring = keyring::Keyring::open(ports.database.clone(), kek).await?;
            let publisher = publisher(&keyring, config.audit).await?;
            check.ok();
            (rpc::Rpc::opened(keyring), Some(publisher))
        }
        crypto::seal::Seal::Sealed(reason) => {
            check.fail(format!("sealed: {reason}"));
            (rpc::Rpc::sealed(ports.database.clone(), reason), None)
        }
    };
    Ok(Service { ports, rpc, publisher })
}

async fn publisher(keyring: &keyring::Keyring, config: config::Audit) -> Result<Publisher, BuildError> {
    let config::Audit { head_file, webhook, every_records, every_secs } = config;
    Ok(Publisher {
        db: keyring.db.clone(),
        key: audit::signer::open_or_make(&keyring.db, &keyring.kek).await?,
        file: head_file,
        webhook: webhook.map(Webhook::new).transpose()?.map(Arc::new),
        every_records: every_records.max(1),
        every: Duration::from_secs(every_secs.max(1)),
        metrics: keyring.metrics.clone(),
    })
}

impl Service {
    /// Serves until the shutdown. There is one loop, which publishes heads of the audit log.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Ports { listener, tls, database: _, health } = self.ports;
        if let Some(publisher) = self.publisher {
            shutdown.spawn("keys.heads", publisher.run(shutdown.clone()));
        }
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
