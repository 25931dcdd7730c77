//! The policy as an operator writes it: TOML, checked word by word.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use domain::amount::Eth;
use serde::{Deserialize, Serialize};

use super::call::Function;
use super::document::{
    APPROVALS_MAX, BYTES_MAX, Bounds, Contracts, Effect, FORMAT, FORMAT_BEFORE, Invalid, Keys, Policy,
    Quorum, REGISTERED_MAX, RULES_MAX, Registered, Rule, Targets, TypedData, Windows,
};
use super::hours::HoursText;

/// A document as it stands in TOML.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumText>,
    #[serde(default)]
    pub contracts: BTreeMap<String, Contracts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registered: Vec<RegisteredText>,
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleText>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QuorumText {
    pub thaw: Option<u32>,
    pub set_policy: Option<u32>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RegisteredText {
    pub network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub recipient: String,
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
    pub messages: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sequencers: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub recipients: BTreeSet<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recipient_registered: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub new_owners: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_wei_min: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_wei_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_wei_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gas_limit_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee_per_gas_wei: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_fee_wei: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metis_24h_wei_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eth_24h_wei_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    pub keys: Keys,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer_keys: Option<Keys>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<HoursText>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub typed_data: BTreeSet<TypedData>,
}

impl Document {
    /// Reads a document; what it says is not yet checked.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        if text.len() > BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
            Invalid::Syntax { line, problem: error.message().to_owned() }
        })
    }
}

impl Policy {
    /// Reads and checks a document.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let Document { format, quorum, contracts, registered, rules } = Document::read(text)?;
        if format != FORMAT && format != FORMAT_BEFORE {
            return Err(Invalid::Format(format));
        }
        if format == FORMAT_BEFORE && (quorum.is_some() || !registered.is_empty()) {
            let field = if quorum.is_some() { "quorum" } else { "registered" };
            return Err(Invalid::NeedsFormat { rule: "none".to_owned(), field });
        }
        if rules.len() > RULES_MAX {
            return Err(Invalid::TooManyRules);
        }
        let quorum = quorum.map(QuorumText::check).transpose()?.unwrap_or_default();
        let registered = registered_of(registered, &contracts)?;
        let mut rules =
            rules.into_iter().map(|rule| rule.check(format, &contracts)).collect::<Result<Vec<_>, _>>()?;
        rules.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some([twin, _]) = rules.array_windows().find(|[one, other]| one.name == other.name) {
            return Err(Invalid::Rule { rule: twin.name.clone(), problem: "another rule has the same name" });
        }
        Ok(Self { contracts, registered, quorum, rules })
    }
}

impl QuorumText {
    fn check(self) -> Result<Quorum, Invalid> {
        let usual = Quorum::default();
        let quorum = Quorum {
            thaw: self.thaw.unwrap_or(usual.thaw),
            set_policy: self.set_policy.unwrap_or(usual.set_policy),
        };
        match quorum {
            Quorum { thaw, .. } if thaw > APPROVALS_MAX => Err(Invalid::Quorum { field: "thaw" }),
            Quorum { set_policy, .. } if set_policy > APPROVALS_MAX => {
                Err(Invalid::Quorum { field: "set_policy" })
            }
            quorum => Ok(quorum),
        }
    }
}

fn registered_of(
    texts: Vec<RegisteredText>,
    contracts: &BTreeMap<String, Contracts>,
) -> Result<Vec<Registered>, Invalid> {
    if texts.len() > REGISTERED_MAX {
        return Err(Invalid::Registered { number: texts.len(), problem: "too many of them" });
    }
    let one = |(number, text): (usize, RegisteredText)| {
        let number = number + 1;
        let RegisteredText { network, sequencer, owner, recipient } = text;
        let problem = |problem| Invalid::Registered { number, problem };
        if !contracts.contains_key(&network) {
            return Err(problem("the network has no contracts in this document"));
        }
        if sequencer.is_none() && owner.is_none() {
            return Err(problem("name a sequencer or an owner"));
        }
        let address = |text: String, what| domain::address::parse_nonzero(&text).map_err(|_| problem(what));
        Ok(Registered {
            network,
            sequencer: sequencer
                .map(|text| number_of(&text).ok_or_else(|| problem("the sequencer is no number")))
                .transpose()?,
            owner: owner.map(|text| address(text, "the owner is no address")).transpose()?,
            recipient: address(recipient, "the recipient is no address")?,
        })
    };
    texts.into_iter().enumerate().map(one).collect()
}

/// A decimal number, as sequencer ids and amounts of wei are written.
fn number_of(text: &str) -> Option<U256> {
    Eth::parse_wei(text).ok().map(|number| number.0)
}

impl RuleText {
    fn check(self, format: u32, contracts: &BTreeMap<String, Contracts>) -> Result<Rule, Invalid> {
        let problem = |problem| Invalid::Rule { rule: self.name.clone(), problem };
        if self.name.is_empty() {
            return Err(problem("a rule needs a name"));
        }
        if format == FORMAT_BEFORE
            && let Some(field) = self.newer_field()
        {
            return Err(Invalid::NeedsFormat { rule: self.name.clone(), field });
        }
        if let Some(network) = self.networks.iter().find(|name| !contracts.contains_key(*name)) {
            return Err(Invalid::Network { rule: self.name.clone(), network: network.clone() });
        }
        let targets = self.targets()?;
        let effect = match self.effect {
            EffectText::Deny if self.has_bounds() => {
                return Err(problem("a rule that denies has no bounds: it denies all that it selects"));
            }
            EffectText::Deny => Effect::Deny,
            EffectText::Allow if self.keys.is_empty() => {
                return Err(problem("a rule that allows names its keys"));
            }
            EffectText::Allow => Effect::Allow(Box::new(self.bounds(&targets)?)),
        };
        let rule = self.name.clone();
        let hours = self.hours.into_iter().map(HoursText::check).collect::<Result<_, _>>();
        let hours = hours.map_err(|text| Invalid::Hours { rule, text })?;
        let Self { name, callers, networks, keys, .. } = self;
        Ok(Rule { name, keys, callers, networks, targets, hours, effect })
    }

    /// A field that documents of format 1 do not have.
    fn newer_field(&self) -> Option<&'static str> {
        let fields = [
            ("amount_wei_min", self.amount_wei_min.is_some()),
            ("sequencers", !self.sequencers.is_empty()),
            ("recipient_registered", self.recipient_registered),
            ("signer_keys", self.signer_keys.is_some()),
            ("gas_limit_max", self.gas_limit_max.is_some()),
            ("eth_24h_wei_max", self.eth_24h_wei_max.is_some()),
            ("approvals", self.approvals.is_some()),
            ("hours", !self.hours.is_empty()),
            ("messages", !self.messages.is_empty()),
            ("typed_data", !self.typed_data.is_empty()),
        ];
        fields.into_iter().find(|(_, given)| *given).map(|(field, _)| field)
    }

    fn targets(&self) -> Result<Targets, Invalid> {
        let problem = |problem| Err(Invalid::Rule { rule: self.name.clone(), problem });
        let allows = self.effect == EffectText::Allow;
        match (self.functions.is_empty(), self.messages.is_empty(), self.typed_data.is_empty()) {
            (true, true, true) if allows => {
                problem("a rule that allows names its functions, messages or typed data")
            }
            (true, true, true) => Ok(Targets::All),
            (false, true, true) if allows && self.networks.is_empty() => {
                problem("a rule that allows names its networks")
            }
            (false, true, true) => Ok(Targets::Functions(self.functions.clone())),
            (true, _, _) if !self.networks.is_empty() => {
                problem("messages and typed data have no networks: typed data names its chain")
            }
            (true, false, true) => Ok(Targets::Messages(self.messages.clone())),
            (true, true, false) => Ok(Targets::TypedData(self.typed_data.clone())),
            _ => problem("functions, messages and typed data need rules of their own"),
        }
    }

    /// Bounds that only a rule about functions can have.
    fn has_bounds_of_calls(&self) -> bool {
        let amounts = [
            &self.amount_wei_min,
            &self.amount_wei_max,
            &self.value_wei_max,
            &self.max_fee_per_gas_wei,
            &self.max_total_fee_wei,
            &self.metis_24h_wei_max,
            &self.eth_24h_wei_max,
        ];
        amounts.iter().any(|amount| amount.is_some())
            || self.gas_limit_max.is_some()
            || self.signer_keys.is_some()
            || self.recipient_registered
            || [&self.recipients, &self.new_owners, &self.sequencers].iter().any(|list| !list.is_empty())
    }

    fn has_bounds(&self) -> bool {
        self.has_bounds_of_calls() || self.approvals.is_some()
    }

    fn bounds(&self, targets: &Targets) -> Result<Bounds, Invalid> {
        let problem = |problem| Invalid::Rule { rule: self.name.clone(), problem };
        let approvals = self.approvals.unwrap_or_default();
        if approvals > APPROVALS_MAX {
            return Err(problem("more approvals than 16"));
        }
        if !matches!(targets, Targets::Functions(_)) {
            return if self.has_bounds_of_calls() {
                Err(problem("messages and typed data have no amounts, values, fees or recipients"))
            } else {
                Ok(Bounds { approvals, ..Bounds::default() })
            };
        }
        let amount = |field: &'static str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => number_of(text).map(Some).ok_or(Invalid::Amount { rule: self.name.clone(), field }),
        };
        let needed = |field: &'static str, text: &Option<String>| {
            amount(field, text)?.ok_or(Invalid::Amount { rule: self.name.clone(), field })
        };
        let bounds = Bounds {
            amount_min: amount("amount_wei_min", &self.amount_wei_min)?,
            amount_max: amount("amount_wei_max", &self.amount_wei_max)?,
            sequencers: self
                .sequencers
                .iter()
                .map(|text| number_of(text).ok_or_else(|| problem("a sequencer is a decimal number")))
                .collect::<Result<_, _>>()?,
            recipients: self.addresses(&self.recipients)?,
            recipient_registered: self.recipient_registered,
            new_owners: self.addresses(&self.new_owners)?,
            signer_keys: self.signer_keys.clone(),
            value_max: amount("value_wei_max", &self.value_wei_max)?.unwrap_or_default(),
            gas_limit_max: self.gas_limit_max,
            max_fee_per_gas: needed("max_fee_per_gas_wei", &self.max_fee_per_gas_wei)?,
            max_total_fee: needed("max_total_fee_wei", &self.max_total_fee_wei)?,
            windows: Windows {
                metis_24h_max: amount("metis_24h_wei_max", &self.metis_24h_wei_max)?,
                eth_24h_max: amount("eth_24h_wei_max", &self.eth_24h_wei_max)?,
            },
            approvals,
        };
        match (bounds.amount_min, bounds.amount_max) {
            (Some(least), Some(most)) if least > most => {
                Err(problem("amount_wei_min is above amount_wei_max"))
            }
            _ => Ok(bounds),
        }
    }

    fn addresses(&self, texts: &BTreeSet<String>) -> Result<BTreeSet<Address>, Invalid> {
        let parse = |text: &String| {
            domain::address::parse(text)
                .map_err(|_| Invalid::Address { rule: self.name.clone(), text: text.clone() })
        };
        texts.iter().map(parse).collect()
    }
}
