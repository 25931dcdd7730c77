//! The section `[indexer]`. Networks have a section of their own, `[networks.<name>]`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::nodes::watch::Watched;

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
    /// Nodes of operators.
    pub nodes: Nodes,
}

/// The section `[indexer.nodes]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nodes {
    /// Networks that are not public, in which nodes may be nevertheless, as in `["10.0.0.0/8"]`. Addresses of loopback
    /// must be named too; link-local ones, where clouds give out credentials, are never allowed.
    pub allow: Vec<IpNet>,
    /// Addresses whose balances are watched, besides those of the MPC and the signers.
    pub watched: Vec<Watched>,
}

impl Default for Config {
    fn default() -> Self {
        Self { reconcile_secs: RECONCILE_SECS, probe_secs: PROBE_SECS, nodes: Nodes::default() }
    }
}
