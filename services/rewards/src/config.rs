//! The section `[rewards]` of the configuration.

use serde::{Deserialize, Serialize};

/// Settings of the service; all have defaults that suit every network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Seconds between two comparisons of the ledger with the contracts.
    pub reconcile_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { reconcile_secs: 30 }
    }
}
