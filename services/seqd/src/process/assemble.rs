//! Which service is given what: the graph of calls between services stands here and nowhere else.

use std::collections::BTreeMap;
use std::pin::Pin;

use runtime::shutdown::Shutdown;

use super::{Common, Error, Peers};
use crate::config::{Config, Role};

/// A service that runs until the shutdown.
pub(super) type Part = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Builds one service.
pub(super) async fn service(
    role: Role,
    config: &Config,
    common: Common,
    peers: &Peers<'_>,
    shutdown: Shutdown,
) -> Result<Part, Error> {
    match role {
        Role::Keys => keys(config, common, shutdown).await,
        Role::Indexer => indexer(config, common, shutdown).await,
        Role::Lifecycle => lifecycle(config, common, peers, shutdown).await,
        Role::Rewards => rewards(config, common, peers, shutdown).await,
        Role::Gateway => gateway(config, common, peers, shutdown).await,
    }
}

async fn keys(config: &Config, common: Common, shutdown: Shutdown) -> Result<Part, Error> {
    let Common { listener, tls, database, health } = common;
    let ports = keys::Ports { listener, tls, database, health };
    let contracts = contracts(config)?;
    let service = keys::build(config.keys.clone(), contracts, ports).await.map_err(build(Role::Keys))?;
    Ok(Box::pin(async move { service.run(shutdown).await.map_err(run(Role::Keys)) }))
}

async fn indexer(config: &Config, common: Common, shutdown: Shutdown) -> Result<Part, Error> {
    let Common { listener, tls, database, health } = common;
    let ports = indexer::Ports { listener, tls, database, health };
    let service = indexer::build(config.indexer.clone(), config.networks.clone(), ports)
        .await
        .map_err(build(Role::Indexer))?;
    Ok(Box::pin(async move { service.run(shutdown).await.map_err(run(Role::Indexer)) }))
}

async fn lifecycle(
    config: &Config,
    common: Common,
    peers: &Peers<'_>,
    shutdown: Shutdown,
) -> Result<Part, Error> {
    let Common { listener, tls, database, health } = common;
    let (indexer, keys) = (peers.to(Role::Indexer), peers.to(Role::Keys));
    let ports = lifecycle::Ports { listener, tls, database, health, indexer, keys };
    let service = lifecycle::build(config.lifecycle.clone(), config.networks.clone(), ports)
        .await
        .map_err(build(Role::Lifecycle))?;
    Ok(Box::pin(async move { service.run(shutdown).await.map_err(run(Role::Lifecycle)) }))
}

async fn rewards(
    config: &Config,
    common: Common,
    peers: &Peers<'_>,
    shutdown: Shutdown,
) -> Result<Part, Error> {
    let Common { listener, tls, database, health } = common;
    let ports = rewards::Ports { listener, tls, database, health, indexer: peers.to(Role::Indexer) };
    let service = rewards::build(config.rewards.clone(), ports).await.map_err(build(Role::Rewards))?;
    Ok(Box::pin(async move { service.run(shutdown).await.map_err(run(Role::Rewards)) }))
}

async fn gateway(
    config: &Config,
    common: Common,
    peers: &Peers<'_>,
    shutdown: Shutdown,
) -> Result<Part, Error> {
    // The gateway's public side is plain HTTP: TLS for the outside is the load balancer's.
    let Common { listener, tls: _, database, health } = common;
    let ports = gateway::Ports {
        listener,
        database,
        health,
        indexer: peers.to(Role::Indexer),
        lifecycle: peers.to(Role::Lifecycle),
        rewards: peers.to(Role::Rewards),
    };
    let service = gateway::build(config.gateway.clone(), ports).await.map_err(build(Role::Gateway))?;
    Ok(Box::pin(async move { service.run(shutdown).await.map_err(run(Role::Gateway)) }))
}

/// What the keys service must know of each network to read calldata: it has no provider of its own.
fn contracts(config: &Config) -> Result<BTreeMap<String, keys::Contracts>, Error> {
    let mut contracts = BTreeMap::new();
    for (name, network) in &config.networks {
        let spec = network.spec(name).map_err(|source| Error::Network { network: name.clone(), source })?;
        let of_network = keys::Contracts {
            chain_id: spec.l1.chain_id,
            locking_pool: spec.l1.locking_pool,
            locking_info: spec.l1.locking_info,
            metis: spec.l1.metis,
        };
        contracts.insert(name.clone(), of_network);
    }
    Ok(contracts)
}

fn build<E: std::error::Error + Send + Sync + 'static>(role: Role) -> impl FnOnce(E) -> Error {
    move |source| Error::Build { service: role.name(), source: Box::new(source) }
}

fn run<E: std::error::Error + Send + Sync + 'static>(role: Role) -> impl FnOnce(E) -> Error {
    move |source| Error::Run { service: role.name(), source: Box::new(source) }
}
