//! The section `[indexer]`. Networks have a section of their own, `[networks.<name>]`.

use serde::{Deserialize, Serialize};

/// A comparison reads every record; on a quiet network once in a quarter of a minute is plenty.
const RECONCILE_SECS: u64 = 15;
/// Nodes are asked as often as Metis' own exporter does.
const PROBE_SECS: u64 = 5;

/// How the indexer behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Seconds between two comparisons of the index with the contracts.
    pub reconcile_secs: u64,
    /// Seconds between two probes of a node.
    pub probe_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { reconcile_secs: RECONCILE_SECS, probe_secs: PROBE_SECS }
    }
}
