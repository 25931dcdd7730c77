//! The policy as an operator writes it, and the same as checked, typed rules.
//!
//! A document carries the contract addresses it speaks of, so that a version never changes its
//! meaning when configuration does.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use domain::amount::Eth;
use serde::{Deserialize, Serialize};

use super::call::Function;
use crate::db::key::{Labels, Role};

/// A policy of 500 rules has about 150 KB; nobody reviews more.
pub const BYTES_MAX: usize = 256 * 1024;
/// Each decision looks at all rules.
pub const RULES_MAX: usize = 1000;
/// The one form of documents there is.
pub const FORMAT: u32 = 1;

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
    /// Sorted by name, because order never matters.
    pub rules: Vec<Rule>,
}

/// One rule. Empty sets of callers, networks and functions and an empty `keys` select everything,
/// which only a rule that denies may do for keys, networks and functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub keys: Keys,
    pub callers: BTreeSet<String>,
    pub networks: BTreeSet<String>,
    pub functions: BTreeSet<Function>,
    pub effect: Effect,
}

/// What a rule does with what it selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Deny,
    Allow(Bounds),
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

/// Upper bounds of an allowed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// METIS named by the call.
    pub amount_max: Option<U256>,
    /// Rewards may go only to these; empty for any.
    pub recipients: BTreeSet<Address>,
    /// Ownership may go only to these; empty for any.
    pub new_owners: BTreeSet<Address>,
    /// ETH sent along: 0 unless said otherwise.
    pub value_max: U256,
    pub max_fee_per_gas: U256,
    /// Gas limit times fee per gas.
    pub max_total_fee: U256,
    /// METIS of one account in any 24 hours by the clock of the database.
    pub metis_24h_max: Option<U256>,
}

/// Why a document is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the document has more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("line {line}: {problem}")]
    Syntax { line: usize, problem: String },
    #[error("format {0} is not known, only {FORMAT}")]
    Format(u32),
    #[error("more than {RULES_MAX} rules")]
    TooManyRules,
    #[error("rule {rule}: {problem}")]
    Rule { rule: String, problem: &'static str },
    #[error("rule {rule}: {field} is not an amount in wei")]
    Amount { rule: String, field: &'static str },
    #[error("rule {rule}: {text} is not an address")]
    Address { rule: String, text: String },
    #[error("rule {rule}: network {network} has no contracts in this document")]
    Network { rule: String, network: String },
}

/// A document as it stands in TOML.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub format: u32,
    #[serde(default)]
    pub contracts: BTreeMap<String, Contracts>,
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleText>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EffectText {
    #[default]
    Allow,
    Deny,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleText {
    pub name: String,
    pub effect: EffectText,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub callers: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub functions: BTreeSet<Function>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub recipients: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub new_owners: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_wei_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_wei_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee_per_gas_wei: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_fee_wei: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metis_24h_wei_max: Option<String>,
    pub keys: Keys,
}

impl Policy {
    /// Reads and checks a document.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        let document: Document = toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
            Invalid::Syntax { line, problem: error.message().to_owned() }
        })?;
        let Document { format, contracts, rules } = document;
        if format != FORMAT {
            return Err(Invalid::Format(format));
        }
        if rules.len() > RULES_MAX {
            return Err(Invalid::TooManyRules);
        }
        let mut rules =
            rules.into_iter().map(|rule| rule.check(&contracts)).collect::<Result<Vec<_>, _>>()?;
        rules.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some([twin, _]) = rules.array_windows().find(|[one, other]| one.name == other.name) {
            return Err(Invalid::Rule { rule: twin.name.clone(), problem: "another rule has the same name" });
        }
        Ok(Self { contracts, rules })
    }
}

impl Keys {
    fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.role.is_none() && self.labels.is_empty()
    }
}

impl RuleText {
    fn check(self, contracts: &BTreeMap<String, Contracts>) -> Result<Rule, Invalid> {
        let problem = |problem| Err(Invalid::Rule { rule: self.name.clone(), problem });
        if self.name.is_empty() {
            return problem("a rule needs a name");
        }
        if let Some(network) = self.networks.iter().find(|name| !contracts.contains_key(*name)) {
            return Err(Invalid::Network { rule: self.name.clone(), network: network.clone() });
        }
        let effect = match self.effect {
            EffectText::Deny if self.has_bounds() => {
                return problem("a rule that denies has no bounds: it denies all that it selects");
            }
            EffectText::Deny => Effect::Deny,
            EffectText::Allow if self.keys.is_empty() => return problem("a rule that allows names its keys"),
            EffectText::Allow if self.networks.is_empty() => {
                return problem("a rule that allows names its networks");
            }
            EffectText::Allow if self.functions.is_empty() => {
                return problem("a rule that allows names its functions");
            }
            EffectText::Allow => Effect::Allow(self.bounds()?),
        };
        let Self { name, callers, networks, functions, keys, .. } = self;
        Ok(Rule { name, keys, callers, networks, functions, effect })
    }

    fn has_bounds(&self) -> bool {
        let amounts = [
            &self.amount_wei_max,
            &self.value_wei_max,
            &self.max_fee_per_gas_wei,
            &self.max_total_fee_wei,
            &self.metis_24h_wei_max,
        ];
        amounts.iter().any(|amount| amount.is_some())
            || !self.recipients.is_empty()
            || !self.new_owners.is_empty()
    }

    fn bounds(&self) -> Result<Bounds, Invalid> {
        let amount = |field: &'static str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Eth::parse_wei(text)
                .map(|wei| Some(wei.0))
                .map_err(|_| Invalid::Amount { rule: self.name.clone(), field }),
        };
        let needed = |field: &'static str, text: &Option<String>| {
            amount(field, text)?.ok_or(Invalid::Amount { rule: self.name.clone(), field })
        };
        let addresses = |texts: &BTreeSet<String>| -> Result<BTreeSet<Address>, Invalid> {
            let parse = |text: &String| {
                domain::address::parse(text)
                    .map_err(|_| Invalid::Address { rule: self.name.clone(), text: text.clone() })
            };
            texts.iter().map(parse).collect()
        };
        Ok(Bounds {
            amount_max: amount("amount_wei_max", &self.amount_wei_max)?,
            recipients: addresses(&self.recipients)?,
            new_owners: addresses(&self.new_owners)?,
            value_max: amount("value_wei_max", &self.value_wei_max)?.unwrap_or_default(),
            max_fee_per_gas: needed("max_fee_per_gas_wei", &self.max_fee_per_gas_wei)?,
            max_total_fee: needed("max_total_fee_wei", &self.max_total_fee_wei)?,
            metis_24h_max: amount("metis_24h_wei_max", &self.metis_24h_wei_max)?,
        })
    }
}
