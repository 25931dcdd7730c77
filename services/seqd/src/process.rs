//! Puts services together in one process: listeners first, so that every address is known, then the parts.

mod assemble;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use runtime::client::{self, Peer};
use runtime::config::Secret;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{Instrument, info, info_span};

use crate::config::{CONNECTIONS_DEFAULT, Config, Role};

/// Why a process cannot start, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or the address is none.
    #[error("listening on {address} for {service}")]
    Listen {
        /// Who wanted to listen.
        service: &'static str,
        /// Where.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificates of a service.
    #[error("loading the certificates of {service}")]
    Certificates {
        /// Whose.
        service: &'static str,
        /// What is wrong with them.
        #[source]
        source: runtime::tls::Error,
    },
    /// No URL for the service's role.
    #[error("`database.urls.{0}` is not configured")]
    DatabaseMissing(&'static str),
    /// The URL cannot be read from where it is said to be.
    #[error("reading the database URL of {service}")]
    DatabaseSecret {
        /// Whose.
        service: &'static str,
        /// What is wrong.
        #[source]
        source: runtime::config::Error,
    },
    /// Postgres refuses, or is not there.
    #[error("connecting {service} to its database")]
    Database {
        /// Whose.
        service: &'static str,
        /// What Postgres said.
        #[source]
        source: store::Error,
    },
    /// Something of the configuration does not fit.
    #[error("the section of network {network}")]
    Network {
        /// Which.
        network: String,
        /// What does not fit.
        #[source]
        source: chain::config::Invalid,
    },
    /// A service cannot start.
    #[error("starting {service}")]
    Build {
        /// Which.
        service: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A service broke while it ran.
    #[error("running {service}")]
    Run {
        /// Which.
        service: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The admin port broke.
    #[error("serving the admin port")]
    Admin(#[source] std::io::Error),
}

/// Services that run.
pub struct Running {
    /// Where each service is bound.
    pub addresses: BTreeMap<Role, SocketAddr>,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub admin: SocketAddr,
    /// Health of the process.
    pub health: Health,
    parts: JoinSet<Result<(), Error>>,
}

impl Running {
    /// Waits until all parts have ended; the first failure stops the others.
    ///
    /// # Errors
    /// The first failure.
    pub async fn ended(mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let mut first = Ok(());
        while let Some(ended) = self.parts.join_next().await {
            // A part that panicked was reported by the panic hook; the rest must not go on without it.
            let result = ended.unwrap_or(Ok(()));
            if !shutdown.is_stopped() {
                shutdown.drain();
                shutdown.stop();
            }
            if first.is_ok() {
                first = result;
            }
        }
        first
    }
}

/// What one service gets from the process.
struct Common {
    listener: TcpListener,
    tls: Arc<Tls>,
    database: DatabaseConnection,
    health: Health,
}

/// Starts the services of `roles` and returns when all of them are listening.
///
/// # Errors
/// When a part cannot start; nothing is left running then.
pub async fn start(config: Config, roles: &[Role], shutdown: Shutdown) -> Result<Running, Error> {
    let health = Health::new();
    let mut listeners = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for role in Role::ALL.into_iter().filter(|role| roles.contains(role)) {
        let listener = listen(role.name(), config.listen.of(role)).await?;
        addresses.insert(role, bound(role.name(), &listener)?);
        listeners.insert(role, listener);
    }
    let admin = listen("admin", &config.listen.admin).await?;
    let admin_address = bound("admin", &admin)?;
    let mut parts = JoinSet::new();
    for (role, listener) in listeners {
        let tls = Tls::load(&config.tls.of(role))
            .map_err(|source| Error::Certificates { service: role.name(), source })?;
        let database_url = database_url(&config, role)?;
        let database = connect(&config, role, &database_url).await?;
        let common = Common { listener, tls: Arc::clone(&tls), database, health: health.clone() };
        let peers = Peers { config: &config, addresses: &addresses, tls };
        let part = assemble::service(role, &config, common, &peers, shutdown.clone()).await?;
        info!("{} listens on {}", role.name(), addresses[&role]);
        parts.spawn(part.instrument(info_span!("service", service = role.name())));
    }
    let (admin_health, admin_shutdown) = (health.clone(), shutdown.clone());
    parts.spawn(async move {
        runtime::admin::serve(admin, admin_health, admin_shutdown).await.map_err(Error::Admin)
    });
    Ok(Running { addresses, admin: admin_address, health, parts })
}

/// How a service finds the others.
struct Peers<'a> {
    config: &'a Config,
    addresses: &'a BTreeMap<Role, SocketAddr>,
    tls: Arc<Tls>,
}

impl Peers<'_> {
    /// The configured address, else where it listens in this process, else where it would listen.
    fn to(&self, role: Role) -> Peer {
        let configured = self.config.peers.get(role.name()).cloned();
        let here = self.addresses.get(&role).map(ToString::to_string);
        let target = configured.or(here).unwrap_or_else(|| self.config.listen.of(role).to_owned());
        client::channel(target, role.name(), Arc::clone(&self.tls)).with_methods(api::methods::grpc())
    }
}

async fn listen(service: &'static str, address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen {
        service,
        address: address.to_owned(),
        source,
    })
}

fn bound(service: &'static str, listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { service, address: String::new(), source })
}

fn database_url(config: &Config, role: Role) -> Result<String, Error> {
    let service = role.name();
    let secret: &Secret = config.database.urls.get(service).ok_or(Error::DatabaseMissing(service))?;
    let exposed = secret.expose().map_err(|source| Error::DatabaseSecret { service, source })?;
    Ok(exposed.to_string())
}

async fn connect(config: &Config, role: Role, url: &str) -> Result<DatabaseConnection, Error> {
    let connections = match config.database.connections {
        0 => CONNECTIONS_DEFAULT,
        configured => configured,
    };
    store::connect(url, connections).await.map_err(|source| Error::Database { service: role.name(), source })
}
