//! Everything that runs: a [`World`] of Postgres, chains, contracts, network and certificates, and on
//! it the five services in this process.
//!
//! A test that kills services starts the world here and `seqd all --config` of
//! [`World::config_file`] as a process of its own.

mod access;
mod chain_config;
mod chains;
mod database;
mod home;
mod ports;
mod services;
mod world;

use std::path::PathBuf;
use std::time::Duration;

pub use access::{Access, Processes};
pub use services::Services;
pub use world::World;

/// Name of the network in every API.
pub const NETWORK: &str = "devnet";
/// Chain id of the consensus layer.
pub const THEMIS_NETWORK: &str = "devnet-1";

/// What kind of stack is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder that is kept for the next start; without one, a temporary folder that goes with the stack.
    pub data: Option<PathBuf>,
    /// Seconds between L1 blocks; below a second only where nothing is kept.
    pub l1_block_secs: f64,
    /// Seconds between L2 blocks.
    pub l2_block_secs: f64,
    /// Blocks of an L2 epoch.
    pub epoch_blocks: u64,
    /// L1 blocks on top after which a transaction counts as confirmed, here and in the consensus layer.
    pub confirmations: u64,
    /// Wall time between reward batches; none pays only when asked.
    pub batch_every: Option<Duration>,
    /// How long a producer's node may be down before its blocks go to another.
    pub respan_after: Duration,
    /// The well-known ports if they are free, rather than any.
    pub known_ports: bool,
}

impl Options {
    /// A stack to look at: the rhythm of a chain, rewards every half minute.
    pub fn to_look_at() -> Self {
        Self {
            data: None,
            l1_block_secs: 1.0,
            l2_block_secs: 1.0,
            epoch_blocks: 10,
            confirmations: 2,
            batch_every: Some(Duration::from_secs(30)),
            respan_after: Duration::from_secs(5),
            known_ports: true,
        }
    }

    /// A stack for a journey: blocks come fast, and rewards only when asked for, so that every wei is known.
    pub fn to_travel() -> Self {
        Self {
            l1_block_secs: 0.25,
            l2_block_secs: 1.0,
            confirmations: 1,
            batch_every: None,
            respan_after: Duration::from_secs(1),
            known_ports: false,
            ..Self::to_look_at()
        }
    }
}
