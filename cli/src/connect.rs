//! Where the services are and who we are: one small TOML file.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::indexer::v1::nodes_service_client::NodesServiceClient;
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::lifecycle::v1::fleet_service_client::FleetServiceClient;
use api::lifecycle::v1::lifecycle_service_client::LifecycleServiceClient;
use api::lifecycle::v1::schedule_service_client::ScheduleServiceClient;
use api::lifecycle::v1::webhooks_service_client::WebhooksServiceClient;
use api::rewards::v1::rewards_service_client::RewardsServiceClient;
use runtime::client::{self, Peer};
use runtime::tls::{Tls, TlsConfig};
use serde::Deserialize;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Network when none is given.
    #[serde(default)]
    network: Option<String>,
    /// `host:port` of each service.
    addresses: Addresses,
    /// Certificate of the operator.
    tls: TlsConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addresses {
    keys: String,
    indexer: String,
    lifecycle: String,
    rewards: String,
}

/// Clients of all services; they connect when they are first used.
pub struct Session {
    file: File,
    network: Option<String>,
    tls: Arc<Tls>,
}

impl Session {
    /// Reads the file and the certificates.
    pub fn open(path: &Path, network: Option<String>) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "reading {}; give --config or SEQCTL_CONFIG (`make up` prints where it wrote one)",
                path.display()
            )
        })?;
        let file: File = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let tls = Tls::load(&file.tls).context("loading the operator's certificate")?;
        Ok(Self { network: network.or_else(|| file.network.clone()), file, tls })
    }

    /// The network to speak of.
    pub fn network(&self) -> Result<String> {
        match &self.network {
            Some(network) => Ok(network.clone()),
            None => bail!("no network: give --network, or `network = ...` in the configuration"),
        }
    }

    fn peer(&self, address: &str, service: &str) -> Peer {
        client::channel(address, service, Arc::clone(&self.tls)).with_methods(api::methods::grpc())
    }

    /// The keys service.
    pub fn keys(&self) -> KeysServiceClient<Peer> {
        // Archives are larger than what clients of gRPC take by default.
        KeysServiceClient::new(self.peer(&self.file.addresses.keys, "keys"))
            .max_decoding_message_size(runtime::server::BULK_BYTES_MAX)
    }

    /// The indexer.
    pub fn indexer(&self) -> IndexerServiceClient<Peer> {
        IndexerServiceClient::new(self.peer(&self.file.addresses.indexer, "indexer"))
    }

    /// The nodes of the indexer.
    pub fn nodes(&self) -> NodesServiceClient<Peer> {
        NodesServiceClient::new(self.peer(&self.file.addresses.indexer, "indexer"))
    }

    /// Lifecycle.
    pub fn lifecycle(&self) -> LifecycleServiceClient<Peer> {
        LifecycleServiceClient::new(self.peer(&self.file.addresses.lifecycle, "lifecycle"))
    }

    /// The webhooks of lifecycle.
    pub fn webhooks(&self) -> WebhooksServiceClient<Peer> {
        WebhooksServiceClient::new(self.peer(&self.file.addresses.lifecycle, "lifecycle"))
    }

    /// Fleet operations of lifecycle.
    pub fn fleets(&self) -> FleetServiceClient<Peer> {
        FleetServiceClient::new(self.peer(&self.file.addresses.lifecycle, "lifecycle"))
    }

    /// Schedules of lifecycle.
    pub fn schedules(&self) -> ScheduleServiceClient<Peer> {
        ScheduleServiceClient::new(self.peer(&self.file.addresses.lifecycle, "lifecycle"))
    }

    /// Rewards.
    pub fn rewards(&self) -> RewardsServiceClient<Peer> {
        RewardsServiceClient::new(self.peer(&self.file.addresses.rewards, "rewards"))
    }
}
