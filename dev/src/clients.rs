//! An operator's clients of all services, over gRPC with mTLS.

use std::sync::Arc;

use anyhow::{Context, Result};
use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::indexer::v1::nodes_service_client::NodesServiceClient;
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::lifecycle::v1::lifecycle_service_client::LifecycleServiceClient;
use api::rewards::v1::rewards_service_client::RewardsServiceClient;
use runtime::client::{self, Peer};
use runtime::tls::Tls;

use crate::stack::Access;

/// Clients that connect when they are first used; clones share the connections.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Keys.
    pub keys: KeysServiceClient<Peer>,
    /// Indexer.
    pub indexer: IndexerServiceClient<Peer>,
    /// Nodes of the indexer.
    pub nodes: NodesServiceClient<Peer>,
    /// Lifecycle.
    pub lifecycle: LifecycleServiceClient<Peer>,
    /// Rewards.
    pub rewards: RewardsServiceClient<Peer>,
}

impl Clients {
    /// Clients of a stack, as its operator.
    ///
    /// # Errors
    /// When the operator's certificate cannot be read.
    pub fn of(access: &Access) -> Result<Self> {
        let tls = Tls::load(&access.tls).context("loading the operator's certificate")?;
        let peer = |address: &str, service: &str| {
            client::channel(address, service, Arc::clone(&tls)).with_methods(api::methods::grpc())
        };
        let indexer = peer(&access.addresses.indexer, "indexer");
        Ok(Self {
            keys: KeysServiceClient::new(peer(&access.addresses.keys, "keys")),
            indexer: IndexerServiceClient::new(indexer.clone()),
            nodes: NodesServiceClient::new(indexer),
            lifecycle: LifecycleServiceClient::new(peer(&access.addresses.lifecycle, "lifecycle")),
            rewards: RewardsServiceClient::new(peer(&access.addresses.rewards, "rewards")),
        })
    }
}

/// A new idempotency id.
pub fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
