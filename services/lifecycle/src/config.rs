//! The section `[lifecycle]`.

use std::collections::BTreeMap;

use ipnet::IpNet;
use runtime::config::Secret;
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
    /// Notifications to endpoints of others.
    pub webhooks: Webhooks,
}

/// The section `[lifecycle.webhooks]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// 64 hex digits, under which the secrets of webhooks are sealed at rest. Without it there are no webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Secret>,
    /// Keys before that one, which still open what was sealed under them.
    pub secret_key_previous: Vec<Secret>,
    /// Networks that are not public, in which endpoints may be nevertheless, as in `["10.0.0.0/8"]`.
    pub allow: Vec<IpNet>,
    /// Also takes http URLs, for endpoints within the own network: the messages can then be read on the way.
    pub http: bool,
    /// How long what happened can be replayed, and deliveries are kept.
    pub keep_days: u32,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            secret_key: None,
            secret_key_previous: Vec::new(),
            allow: Vec::new(),
            http: false,
            keep_days: 90,
        }
    }
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
            webhooks: Webhooks::default(),
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
