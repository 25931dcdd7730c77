//! The section `[lifecycle]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::approval::config::Approvals;
use crate::failpoint::{Action, Point};

/// Settings of this service. The defaults suit mainnet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a prepared operation waits for its wallet.
    pub prepared_expiry_secs: u64,
    /// The most ever paid for a unit of gas, wei.
    pub max_fee_per_gas_wei: u64,
    /// The least tip, wei for each unit of gas.
    pub tip_min_wei: u64,
    /// The highest tip, wei for each unit of gas.
    pub tip_max_wei: u64,
    /// Blocks after which a transaction that is not mined is replaced with higher fees.
    pub replace_after_blocks: u64,
    /// Longest time between two looks of a loop; wake-ups make it look sooner.
    pub look_every_ms: u64,
    /// Time between two looks at nodes, keys and parameters for flags and for LOCKED to become ACTIVE.
    pub facts_every_ms: u64,
    /// How long a lease outlives a holder that was killed.
    pub lease_ttl_ms: u64,
    /// Below this an account is flagged LOW_ETH, wei.
    pub low_eth_wei: u64,
    /// When others must approve.
    pub approvals: Approvals,
    /// For the tests of crashes: what happens at a point of a send. Refused unless every network is a devnet.
    pub failpoints: BTreeMap<Point, Action>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prepared_expiry_secs: 3_600,
            max_fee_per_gas_wei: 200_000_000_000,
            tip_min_wei: 100_000_000,
            tip_max_wei: 5_000_000_000,
            // Peers: Chainlink 3 blocks, op-stack 48 s.
            replace_after_blocks: 3,
            look_every_ms: 1_000,
            facts_every_ms: 2_000,
            lease_ttl_ms: 6_000,
            low_eth_wei: 50_000_000_000_000_000,
            approvals: Approvals::default(),
            failpoints: BTreeMap::new(),
        }
    }
}

impl Config {
    /// What may be paid.
    pub fn fee_policy(&self) -> chain::fees::FeePolicy {
        chain::fees::FeePolicy {
            max_fee_ceiling: u128::from(self.max_fee_per_gas_wei),
            tip_min: u128::from(self.tip_min_wei),
            tip_max: u128::from(self.tip_max_wei),
            percentile: 50,
        }
    }
}
