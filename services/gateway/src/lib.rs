//! The gateway: everything that is *public*.
//!
//! JSON-RPC over HTTP and WebSocket in front, gRPC to the indexer, lifecycle and rewards behind. It owns the API keys
//! and nothing else, knows no chain, and answers nothing that it has not been told.

mod access;
mod args;
pub mod config;
mod db;
mod discover;
mod dispatch;
mod envelope;
mod fault;
mod feed;
mod http;
mod json;
mod key;
mod limits;
mod methods;
mod metrics;
mod mint;
mod neighbours;
mod quota;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::http::HeaderValue;
use runtime::client::Peer;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;

use crate::access::Keys;
use crate::dispatch::Dispatch;
use crate::feed::Feeds;
use crate::http::Edge;
use crate::methods::Context;
use crate::neighbours::Neighbours;
use crate::quota::Quotas;

pub use config::Config;
pub use mint::{MintError, mint_key};

/// What the service is given from outside.
#[derive(Debug)]
pub struct Ports {
    /// Plain HTTP, bound already; TLS for the outside is the load balancer's.
    pub listener: TcpListener,
    /// Connected as the role of the service.
    pub database: DatabaseConnection,
    /// Health of the process.
    pub health: Health,
    /// The indexer.
    pub indexer: Peer,
    /// Lifecycle.
    pub lifecycle: Peer,
    /// Rewards.
    pub rewards: Peer,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The migrations were not run, or the role is wrong.
    #[error("reading the table of API keys")]
    Tables(#[source] store::Error),
    /// An origin that is none, or all.
    #[error("gateway.origins: `{0}` is not an origin like https://app.example")]
    Origin(String),
    /// The rows of the methods contradict themselves.
    #[error("the method table is wrong")]
    Table(#[source] runtime::methods::Error),
}

/// Why the service stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Two methods have one name.
    #[error("registering the methods")]
    Methods(#[source] jsonrpsee::core::RegisterMethodError),
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    config: Config,
    origins: Vec<HeaderValue>,
    ports: Ports,
}

/// Checks the configuration and the tables.
///
/// # Errors
/// When either cannot be used.
pub async fn build(config: Config, ports: Ports) -> Result<Service, BuildError> {
    let origins = config.origins.iter().map(|text| origin(text)).collect::<Result<_, _>>()?;
    api::methods::jsonrpc().check().map_err(BuildError::Table)?;
    db::api_key::of_id(&ports.database, "").await.map_err(BuildError::Tables)?;
    Ok(Service { config, origins, ports })
}

/// An origin as browsers send it. `*` is none: what may be written is never open to all pages.
fn origin(text: &str) -> Result<HeaderValue, BuildError> {
    let refused = || BuildError::Origin(text.to_owned());
    let authority =
        text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(refused)?;
    if authority.is_empty() || authority.contains(['/', '*', '@', ' ']) {
        return Err(refused());
    }
    HeaderValue::from_str(text).map_err(|_| refused())
}

impl Service {
    /// Serves until the shutdown.
    ///
    /// # Errors
    /// When the methods cannot be registered; nothing was served then.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Self { config, origins, ports } = self;
        let Ports { listener, database, health, indexer, lifecycle, rewards } = ports;
        let neighbours = Neighbours::new(indexer, lifecycle, rewards);
        let feeds = Feeds::new(neighbours.lifecycle.clone(), shutdown.clone());
        let module = methods::module(Context { neighbours, feeds }).map_err(RunError::Methods)?;
        let edge = Arc::new(Edge {
            dispatch: Dispatch {
                methods: module.into(),
                table: api::methods::jsonrpc(),
                quotas: Quotas::new(&config),
            },
            keys: Keys::new(database),
            hosts: config.hosts,
            origins,
            health,
            shutdown: shutdown.clone(),
            sockets: AtomicUsize::new(0),
        });
        let sweeping = Arc::clone(&edge);
        let until = shutdown.clone();
        shutdown.spawn("quota sweep", async move { sweeping.dispatch.quotas.sweep(until).await });
        http::serve(listener, http::router(edge), &shutdown).await;
        Ok(())
    }
}
