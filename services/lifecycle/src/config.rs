//! The section `[lifecycle]`.

use std::collections::BTreeMap;
use std::time::Duration;

use chain::fees::{FeePolicy, Urgency};
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
    /// What transactions may cost.
    pub fees: Fees,
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
            fees: Fees::default(),
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

/// What transactions may cost: `[lifecycle.fees]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fees {
    /// The most ever paid for a unit of gas, wei. Where the market is above it, operations wait.
    pub max_fee_per_gas_wei: u64,
    /// The least tip, wei for each unit of gas.
    pub tip_min_wei: u64,
    /// The highest tip, wei for each unit of gas.
    pub tip_max_wei: u64,
    /// Percentile of the tips of recent blocks for what has just been asked for.
    pub percentile: u8,
    /// The same for what is urgent: waited for `urgent_after_secs`, or hurried by hand.
    pub urgent_percentile: u8,
    /// How long a transaction waits until it is urgent, and how long before its deadline an operation begins to be; the tip
    /// grows evenly over that time.
    pub urgent_after_secs: u64,
    /// The most that all managed transactions of a network may cost in 24 hours, wei; none for no such bound. Counted
    /// are what receipts say was paid and the most that those in flight may cost.
    pub budget_per_day_wei: Option<u64>,
    /// Further budgets for the sequencers with a label.
    pub budgets: Vec<LabelBudget>,
}

/// The budget of the sequencers with one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelBudget {
    /// Name of the label.
    pub label: String,
    /// Its value.
    pub value: String,
    /// The most that their transactions may cost on a network in 24 hours, wei.
    pub per_day_wei: u64,
}

impl Default for Fees {
    fn default() -> Self {
        Self {
            max_fee_per_gas_wei: 200_000_000_000,
            tip_min_wei: 100_000_000,
            tip_max_wei: 5_000_000_000,
            percentile: 50,
            urgent_percentile: 90,
            // 25 blocks of L1: by then three replacements were not enough.
            urgent_after_secs: 300,
            budget_per_day_wei: None,
            budgets: Vec::new(),
        }
    }
}

impl Fees {
    /// What may be paid for a unit of gas.
    pub fn policy(&self) -> FeePolicy {
        FeePolicy {
            max_fee_ceiling: u128::from(self.max_fee_per_gas_wei),
            tip_min: u128::from(self.tip_min_wei),
            tip_max: u128::from(self.tip_max_wei),
            percentile: self.percentile,
            urgent_percentile: self.urgent_percentile,
        }
    }

    /// How urgent something is after this wait, with so much time left until its deadline, if it has one.
    pub fn urgency(&self, waited: Duration, left: Option<Duration>) -> Urgency {
        Urgency::of(waited, left, Duration::from_secs(self.urgent_after_secs))
    }
}
