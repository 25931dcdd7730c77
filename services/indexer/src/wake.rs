//! Telling those who wait for a network that its tables changed. Only a hint: whoever waits also looks by
//! itself from time to time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Wake-ups by network; clones share them.
#[derive(Debug, Clone)]
pub struct Wake(Arc<BTreeMap<String, watch::Sender<()>>>);

impl Wake {
    /// Wake-ups for these networks.
    pub fn new(networks: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(networks.into_iter().map(|name| (name, watch::Sender::new(()))).collect()))
    }

    /// Something changed on a network.
    pub fn announce(&self, network: &str) {
        if let Some(sender) = self.0.get(network) {
            sender.send_replace(());
        }
    }

    /// Something may have changed anywhere.
    pub fn announce_all(&self) {
        for sender in self.0.values() {
            sender.send_replace(());
        }
    }

    /// To be told from now on; none for an unknown network.
    pub fn listen(&self, network: &str) -> Option<watch::Receiver<()>> {
        self.0.get(network).map(watch::Sender::subscribe)
    }
}
