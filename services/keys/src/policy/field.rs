//! The things that a rule looks at, in the order in which it looks: what comes later was reached by a rule that
//! fits further. Words are made only for the rule that is named in a refusal.

use std::collections::BTreeSet;

use alloy_primitives::U256;

use super::call::Call;
use super::document::{Effect, Keys, Policy, Rule, Targets};
use super::evaluate::{Denial, Request, Sent, Subject};
use crate::db::key::Role;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Key,
    Role,
    Labels,
    Caller,
    Network,
    /// Function, text or typed data.
    Target,
    Hours,
    Sequencer,
    AmountMin,
    AmountMax,
    Recipient,
    Registered,
    NewOwner,
    SignerKey,
    Value,
    GasLimit,
    FeePerGas,
    TotalFee,
}

impl Field {
    fn name(self, subject: &Subject<'_>) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Role => "role",
            Self::Labels => "labels",
            Self::Caller => "caller",
            Self::Network => "network",
            Self::Target => subject.kind(),
            Self::Hours => "hours",
            Self::Sequencer => "sequencer",
            Self::AmountMin | Self::AmountMax => "amount_wei",
            Self::Recipient => "recipient",
            Self::Registered => "recipient_registered",
            Self::NewOwner => "new_owner",
            Self::SignerKey => "signer_keys",
            Self::Value => "value_wei",
            Self::GasLimit => "gas_limit",
            Self::FeePerGas => "max_fee_per_gas_wei",
            Self::TotalFee => "max_total_fee_wei",
        }
    }

    /// Why `rule` does not allow the request: it does not fit in this field.
    pub fn denial(self, rule: &Rule, policy: &Policy, request: &Request<'_>) -> Denial {
        let (bound, value) = match &request.subject {
            Subject::Call(sent) if self > Self::Hours => self.words_of_bound(rule, policy, request, sent),
            _ => self.words_of_selection(rule, request),
        };
        Denial { rule: Some(rule.name.clone()), field: self.name(&request.subject), bound, value }
    }

    fn words_of_selection(self, rule: &Rule, request: &Request<'_>) -> (String, String) {
        let Request { caller, key, now, subject, .. } = request;
        match self {
            Self::Key => (list(&rule.keys.any_of), key.name.to_owned()),
            Self::Role => {
                let wanted = rule.keys.role.map(Role::as_str).unwrap_or_default();
                (wanted.to_owned(), key.role.as_str().to_owned())
            }
            Self::Labels => (format!("{:?}", rule.keys.labels), format!("{:?}", key.labels)),
            Self::Caller => (list(&rule.callers), (*caller).to_owned()),
            Self::Network => {
                let network = match subject {
                    Subject::Call(sent) => sent.network,
                    Subject::TypedData { network, .. } => network.unwrap_or_default(),
                    Subject::Message(_) => "",
                };
                (list(&rule.networks), network.to_owned())
            }
            Self::Hours => (list(&rule.hours), now.to_string()),
            _ => (words_of_targets(&rule.targets), subject.named()),
        }
    }

    fn words_of_bound(
        self,
        rule: &Rule,
        policy: &Policy,
        request: &Request<'_>,
        sent: &Sent<'_>,
    ) -> (String, String) {
        let Effect::Allow(bounds) = &rule.effect else { return Default::default() };
        let Sent { network, call, value, gas_limit, max_fee_per_gas, signer_key } = sent;
        let wei = |amount: Option<U256>| amount.map(|amount| amount.to_string()).unwrap_or_default();
        let recipient = || call.recipient().map(|address| address.to_string()).unwrap_or_default();
        match self {
            Self::Sequencer => (list(&bounds.sequencers), wei(call.sequencer())),
            Self::AmountMin => (format!("at least {}", wei(bounds.amount_min)), wei(call.amount())),
            Self::AmountMax => (wei(bounds.amount_max), wei(call.amount())),
            Self::Recipient => (list(&bounds.recipients), recipient()),
            Self::Registered => {
                let registered = policy
                    .registered
                    .iter()
                    .filter(|one| one.speaks_of(network, call.sequencer(), request.account))
                    .map(|one| one.recipient);
                let words = list(registered);
                (if words.is_empty() { "nothing is registered".to_owned() } else { words }, recipient())
            }
            Self::NewOwner => {
                let owner = match call {
                    Call::SetSequencerOwner { owner, .. } => owner.to_string(),
                    _ => String::new(),
                };
                (list(&bounds.new_owners), owner)
            }
            Self::SignerKey => {
                let wanted = bounds.signer_keys.as_ref().map(words_of_keys).unwrap_or_default();
                let named = signer_key.map_or_else(
                    || "no key of this installation, or the address of another one".to_owned(),
                    |key| key.name.to_owned(),
                );
                (wanted, named)
            }
            Self::Value => (bounds.value_max.to_string(), value.to_string()),
            Self::GasLimit => (bounds.gas_limit_max.unwrap_or_default().to_string(), gas_limit.to_string()),
            Self::FeePerGas => (bounds.max_fee_per_gas.to_string(), max_fee_per_gas.to_string()),
            _ => {
                let total = max_fee_per_gas.saturating_mul(U256::from(*gas_limit));
                (bounds.max_total_fee.to_string(), total.to_string())
            }
        }
    }
}

fn words_of_targets(targets: &Targets) -> String {
    match targets {
        Targets::All => "anything".to_owned(),
        Targets::Functions(functions) => list(functions),
        Targets::Messages(beginnings) => {
            format!("texts that begin with one of {:?}", beginnings.iter().collect::<BTreeSet<_>>())
        }
        Targets::TypedData(data) => list(data),
    }
}

fn words_of_keys(keys: &Keys) -> String {
    if keys.is_empty() {
        return "a key of this installation".to_owned();
    }
    let mut parts = Vec::new();
    if !keys.any_of.is_empty() {
        parts.push(list(&keys.any_of));
    }
    parts.extend(keys.role.map(|role| format!("role {}", role.as_str())));
    parts.extend(keys.labels.iter().map(|(label, value)| format!("{label}={value}")));
    parts.join(", ")
}

fn list<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}
