//! Learns which networks there are and keeps one ledger for each.

use std::collections::BTreeSet;
use std::time::Duration;

use api::indexer::v1::ListNetworksRequest;
use runtime::health::Check;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use tracing::warn;

use super::{compare, follow};
use crate::{Config, Indexer};

/// Networks come with the indexer's configuration, so they change only when it restarts.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Asks the indexer for its networks and follows each new one. Assumes nothing; leaves behind one follower
/// and one comparer for each network. Twice is harmless: the followers hold a lease.
pub struct Loop {
    /// Settings.
    pub config: Config,
    /// Our schema.
    pub database: DatabaseConnection,
    /// The indexer.
    pub indexer: Indexer,
    /// Whether the indexer answers.
    pub health: Check,
    /// When to end.
    pub shutdown: Shutdown,
}

impl Loop {
    /// Runs until the drain begins.
    pub async fn run(mut self) {
        let mut known = BTreeSet::new();
        loop {
            match self.indexer.list_networks(ListNetworksRequest {}).await {
                Ok(answer) => {
                    self.health.ok();
                    for network in answer.into_inner().networks {
                        if known.insert(network.name.clone()) {
                            self.begin(network.name);
                        }
                    }
                }
                Err(status) => {
                    self.health.fail("the indexer does not answer");
                    warn!("asking the indexer for its networks: {}", status.message());
                }
            }
            tokio::select! {
                () = self.shutdown.draining() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn begin(&self, network: String) {
        let follower = follow::Loop {
            network: network.clone(),
            database: self.database.clone(),
            indexer: self.indexer.clone(),
            shutdown: self.shutdown.clone(),
        };
        let comparer = compare::Loop {
            network,
            interval: Duration::from_secs(self.config.reconcile_secs),
            database: self.database.clone(),
            indexer: self.indexer.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.shutdown.spawn("rewards follow", follower.run());
        self.shutdown.spawn("rewards compare", comparer.run());
    }
}
