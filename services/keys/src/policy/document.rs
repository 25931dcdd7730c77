//! The policy as checked, typed rules. How it is written in TOML stands in `text`.
//!
//! A document carries the contract addresses it speaks of, so that a version never changes its
//! meaning when configuration does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::call::Function;
use super::hours::Hours;
use crate::db::key::{Labels, Role};

/// A policy of 500 rules has about 150 KB; nobody reviews more.
pub const BYTES_MAX: usize = 256 * 1024;
/// Each decision looks at all rules.
pub const RULES_MAX: usize = 1000;
/// Each decision may look at all of them; a fleet has some hundred sequencers.
pub const REGISTERED_MAX: usize = 2000;
/// More people than that never agree in time.
pub const APPROVALS_MAX: u32 = 16;
/// The form of documents that is written today.
pub const FORMAT: u32 = 2;
/// The form before, without registered recipients, quorum, lower bounds, hours, approvals, windows of ETH and
/// messages. Stored versions of it are read for ever.
pub const FORMAT_BEFORE: u32 = 1;

/// The contracts of one network that keys are used with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// EIP-155 chain id of L1.
    pub chain_id: u64,
    /// LockingPool proxy.
    #[serde(with = "domain::address::text")]
    pub locking_pool: Address,
    /// LockingInfo proxy, the only spender of METIS.
    #[serde(with = "domain::address::text")]
    pub locking_info: Address,
    /// METIS token on L1.
    #[serde(with = "domain::address::text")]
    pub metis: Address,
}

/// A checked policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// By name of the network.
    pub contracts: BTreeMap<String, Contracts>,
    pub registered: Vec<Registered>,
    pub quorum: Quorum,
    /// Sorted by name, because order never matters.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Chains of the networks that it speaks of.
    pub fn chain_ids(&self) -> Vec<i64> {
        self.contracts.values().filter_map(|contracts| i64::try_from(contracts.chain_id).ok()).collect()
    }
}

/// Where rewards go, as operators have confirmed it. keys cannot ask the chain, and a value that came with the
/// request would prove nothing: so it stands in the document, which is reviewed, versioned and audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub network: String,
    /// Of this sequencer, if given.
    pub sequencer: Option<U256>,
    /// Of the sequencer of this owner, if given; one of the two is.
    pub owner: Option<Address>,
    pub recipient: Address,
}

/// Approvals that management calls need, by identities other than the one that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// To end the freeze of a key or label.
    pub thaw: u32,
    /// To replace the policy.
    pub set_policy: u32,
}

impl Default for Quorum {
    /// Whoever froze a key had a reason: a second person looks at it first.
    fn default() -> Self {
        Self { thaw: 1, set_policy: 0 }
    }
}

/// One rule. Empty sets of callers and networks and an empty `keys` select everything, which only a rule
/// that denies may do for keys and networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub keys: Keys,
    pub callers: BTreeSet<String>,
    pub networks: BTreeSet<String>,
    pub targets: Targets,
    /// When the rule speaks; empty for always.
    pub hours: Vec<Hours>,
    pub effect: Effect,
}

/// What a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Everything there is; only for rules that deny.
    All,
    /// Calls of these functions.
    Functions(BTreeSet<Function>),
    /// Texts (EIP-191) that begin with one of these.
    Messages(BTreeSet<String>),
    /// Typed data (EIP-712) of these contracts and types.
    TypedData(BTreeSet<TypedData>),
}

/// What typed data is allowed by. A token permit is one only if its type is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypedData {
    pub chain_id: u64,
    #[serde(with = "domain::address::text")]
    pub verifying_contract: Address,
    pub primary_type: String,
}

/// What a rule does with what it selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Deny,
    Allow(Box<Bounds>),
}

/// Which keys. Within one field any may match, all fields that are set must.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Ids or names.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub any_of: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// All of these labels, with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// Bounds of what is allowed. Those of transactions say nothing to messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// METIS named by the call.
    pub amount_min: Option<U256>,
    pub amount_max: Option<U256>,
    /// Sequencers that the call may be about; empty for any.
    pub sequencers: BTreeSet<U256>,
    /// Rewards may go only to these; empty for any.
    pub recipients: BTreeSet<Address>,
    /// Rewards may go only where the document has them registered.
    pub recipient_registered: bool,
    /// Ownership may go only to these; empty for any.
    pub new_owners: BTreeSet<Address>,
    /// The public key in the call must be of a key here, one of these.
    pub signer_keys: Option<Keys>,
    /// ETH sent along: 0 unless said otherwise.
    pub value_max: U256,
    pub gas_limit_max: Option<u64>,
    pub max_fee_per_gas: U256,
    /// Gas limit times fee per gas.
    pub max_total_fee: U256,
    pub windows: Windows,
    /// Distinct identities that must have approved exactly this, the caller not among them.
    pub approvals: u32,
}

/// Sums of one account in any 24 hours by the clock of the database; none is endless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Windows {
    /// METIS that is locked.
    pub metis_24h_max: Option<U256>,
    /// ETH: value and highest fee.
    pub eth_24h_max: Option<U256>,
}

/// Why a document is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the document has more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("line {line}: {problem}")]
    Syntax { line: usize, problem: String },
    #[error("format {0} is not known, only {FORMAT_BEFORE} and {FORMAT}")]
    Format(u32),
    #[error("more than {RULES_MAX} rules")]
    TooManyRules,
    #[error("rule {rule}: {problem}")]
    Rule { rule: String, problem: &'static str },
    #[error("rule {rule}: {field} is not an amount in wei")]
    Amount { rule: String, field: &'static str },
    #[error("rule {rule}: {field} needs format = {FORMAT}")]
    NeedsFormat { rule: String, field: &'static str },
    #[error("rule {rule}: {text} is not an address")]
    Address { rule: String, text: String },
    #[error(
        "rule {rule}: {text} is no time of day from 00:00 to 24:00, or the end is not after the beginning"
    )]
    Hours { rule: String, text: String },
    #[error("rule {rule}: network {network} has no contracts in this document")]
    Network { rule: String, network: String },
    #[error("registered recipient {number}: {problem}")]
    Registered { number: usize, problem: &'static str },
    #[error("quorum.{field}: at most {APPROVALS_MAX}")]
    Quorum { field: &'static str },
}

impl Keys {
    pub fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.role.is_none() && self.labels.is_empty()
    }
}

impl Registered {
    /// Whether this says where rewards of that sequencer (if the call names one) and owner go.
    pub fn speaks_of(&self, network: &str, sequencer: Option<U256>, owner: Address) -> bool {
        self.network == network
            && self.owner.is_none_or(|own| own == owner)
            && match (self.sequencer, sequencer) {
                (None, _) => true,
                (Some(own), Some(named)) => own == named,
                (Some(_), None) => false,
            }
    }
}

impl fmt::Display for TypedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_id, verifying_contract, primary_type } = self;
        write!(f, "{primary_type} of {verifying_contract} on chain {chain_id}")
    }
}
