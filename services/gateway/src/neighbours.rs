//! The services behind the gateway, and the block that an answer rests on where its message does not say.

use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::indexer::v1::nodes_service_client::NodesServiceClient;
use api::indexer::v1::{ListNetworksRequest, Network, SourceProgress};
use api::lifecycle::v1::lifecycle_service_client::LifecycleServiceClient;
use api::lifecycle::v1::{GetSequencerRequest, Sequencer, get_sequencer_request::Selector};
use api::reasons::NETWORK_NOT_FOUND;
use api::rewards::v1::rewards_service_client::RewardsServiceClient;
use api::types::v1::{AsOf, Finality, Layer};
use runtime::client::Peer;
use runtime::errors::Refusal;
use serde_json::Value;
use tonic::Status;

use crate::fault::Fault;
use crate::wire;

/// A client of lifecycle.
pub type Lifecycle = LifecycleServiceClient<Peer>;

/// Clients of all services that the gateway calls. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// What is observed.
    pub indexer: IndexerServiceClient<Peer>,
    /// Nodes.
    pub nodes: NodesServiceClient<Peer>,
    /// What is intended.
    pub lifecycle: Lifecycle,
    /// What is earned.
    pub rewards: RewardsServiceClient<Peer>,
}

impl Neighbours {
    /// Clients on these peers.
    pub fn new(indexer: Peer, lifecycle: Peer, rewards: Peer) -> Self {
        Self {
            indexer: IndexerServiceClient::new(indexer.clone()),
            nodes: NodesServiceClient::new(indexer),
            lifecycle: Lifecycle::new(lifecycle),
            rewards: RewardsServiceClient::new(rewards),
        }
    }

    /// All networks with their progress.
    pub async fn networks(&self) -> Result<Vec<Network>, Status> {
        Ok(self.indexer.clone().list_networks(ListNetworksRequest {}).await?.into_inner().networks)
    }

    /// One network.
    pub async fn network(&self, name: &str) -> Result<Network, Fault> {
        let found = self.networks().await?.into_iter().find(|network| network.name == name);
        found.ok_or_else(|| {
            Refusal::new(&NETWORK_NOT_FOUND, format!("network `{name}` is not configured here"))
                .field("network", "not configured here")
                .into()
        })
    }

    /// The block to which a network is indexed, as `asOf`.
    pub async fn as_of(&self, network: &str) -> Result<Value, Fault> {
        Ok(as_of(&self.network(network).await?))
    }

    /// One sequencer of the register.
    pub async fn sequencer(&self, id: &str) -> Result<Sequencer, Fault> {
        let request =
            GetSequencerRequest { network: String::new(), selector: Some(Selector::Id(id.to_owned())) };
        let answer = self.lifecycle.clone().get_sequencer(request).await.map_err(|status| {
            Fault::from(status)
                .rename_fields(|field| if field == "id" { "sequencer".to_owned() } else { field.to_owned() })
        })?;
        Ok(answer.into_inner().sequencer.unwrap_or_default())
    }

    /// The block that the register's view of a sequencer rests on, as `asOf`.
    pub async fn as_of_sequencer(&self, id: &str) -> Result<Value, Fault> {
        Ok(self.sequencer(id).await?.as_of.as_ref().map(wire::json).unwrap_or_default())
    }
}

/// Where the L1 of a network stands.
pub fn as_of(network: &Network) -> Value {
    let l1 = network.sources.iter().find(|source| source.layer() == Layer::L1);
    let Some(SourceProgress { indexed: Some(block), safe, finalized, .. }) = l1 else { return Value::Null };
    let finality = match block.number {
        number if number <= *finalized => Finality::Finalized,
        number if number <= *safe => Finality::Safe,
        _ => Finality::Latest,
    };
    wire::json(&AsOf { network: network.name.clone(), block: Some(block.clone()), finality: finality.into() })
}
