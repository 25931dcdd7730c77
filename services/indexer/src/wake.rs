//! Telling those who wait for a network that its tables changed. Only a hint, and therefore given
//! once a second without any reason as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Wake-ups by network, counted; clones share them.
#[derive(Debug, Clone)]
pub struct Wake(Arc<BTreeMap<String, watch::Sender<u64>>>);

impl Wake {
    /// Wake-ups for these networks.
    pub fn new(networks: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(networks.into_iter().map(|name| (name, watch::Sender::new(0))).collect()))
    }

    /// Something changed on a network.
    pub fn announce(&self, network: &str) {
        if let Some(sender) = self.0.get(network) {
            sender.send_modify(|version| *version += 1);
        }
    }

    /// Something may have changed anywhere.
    pub fn announce_all(&self) {
        for sender in self.0.values() {
            sender.send_modify(|version| *version += 1);
        }
    }

    /// To be told from now on; none for an unknown network.
    pub fn listen(&self, network: &str) -> Option<watch::Receiver<u64>> {
        self.0.get(network).map(watch::Sender::subscribe)
    }
}
