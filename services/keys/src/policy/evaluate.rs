//! The verdict of the rules on one request.

use std::cmp::Ordering;

use alloy_primitives::{Address, U256};
use time::OffsetDateTime;

use super::call::{Call, Function};
use super::document::{Bounds, Effect, Keys, Policy, Rule, Targets, TypedData, Windows};
use super::field::Field;
use crate::db::key::{Labels, Role};

/// Ways of being allowed that are tried one after another: a small amount alone, a larger one with approvals, and
/// one more. Those beyond are the narrowest.
pub const ALLOWANCES_MAX: usize = 3;

/// What rules know of a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub role: Role,
    pub labels: &'a Labels,
}

/// What is judged.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub caller: &'a str,
    pub key: KeyFacts<'a>,
    /// The address of the key.
    pub account: Address,
    /// For rules that speak at certain hours only.
    pub now: OffsetDateTime,
    pub subject: Subject<'a>,
}

/// What is to be signed.
#[derive(Debug, Clone)]
pub enum Subject<'a> {
    Call(Sent<'a>),
    /// A text (EIP-191). It has no network.
    Message(&'a str),
    /// Typed data (EIP-712), with the network of its chain, if it is one of the policy.
    TypedData {
        network: Option<&'a str>,
        data: &'a TypedData,
    },
}

/// A call as it is sent.
#[derive(Debug, Clone)]
pub struct Sent<'a> {
    pub network: &'a str,
    pub call: &'a Call,
    pub value: U256,
    pub gas_limit: u64,
    pub max_fee_per_gas: U256,
    /// The key of this installation whose public key the call names. Needs to be looked for only if
    /// [`Policy::asks_signer_keys`].
    pub signer_key: Option<KeyFacts<'a>>,
}

/// Yes with the rule, or no with the nearest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, if the windows have room and the approvals are there.
    Allowed {
        rule: String,
        windows: Windows,
        approvals: u32,
    },
    Denied(Denial),
}

/// One way of being allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    pub rule: String,
    pub windows: Windows,
    pub approvals: u32,
}

/// Why not: what the nearest rule asks for, and what it met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that denies, or that comes nearest to allowing.
    pub rule: Option<String>,
    pub field: &'static str,
    pub bound: String,
    pub value: String,
}

impl Policy {
    /// Judges a request. The same request gets the same verdict in whatever order the rules stand. Of several rules
    /// that allow, the one that asks for the fewest approvals speaks.
    pub fn judge(&self, request: &Request<'_>) -> Verdict {
        match self.allowances(request) {
            Err(denial) => Verdict::Denied(denial),
            Ok((Allowance { rule, windows, approvals }, _)) => Verdict::Allowed { rule, windows, approvals },
        }
    }

    /// All ways of being allowed, the one with the fewest approvals first: if its window is full, the next may have
    /// room. Ways that ask for more and give no more are left out.
    pub fn allowances(&self, request: &Request<'_>) -> Result<(Allowance, Vec<Allowance>), Denial> {
        self.always(request)?;
        if let Some(rule) = self.denying(request).next() {
            return Err(Denial {
                rule: Some(rule.to_owned()),
                field: "effect",
                bound: "deny".to_owned(),
                value: request.subject.named(),
            });
        }
        let mut allowing: Vec<(&str, &Bounds)> = Vec::new();
        let mut nearest: Option<(Field, &Rule)> = None;
        for rule in &self.rules {
            let Effect::Allow(bounds) = &rule.effect else { continue };
            match rule.mismatch(bounds, self, request) {
                None => allowing.push((&rule.name, bounds)),
                Some(field) if nearest.is_none_or(|(before, _)| field > before) => {
                    nearest = Some((field, rule));
                }
                Some(_) => {}
            }
        }
        let mut ways = without_dominated(allowing).into_iter();
        match ways.next() {
            Some(first) => Ok((first, ways.collect())),
            None => Err(nearest.map_or_else(
                || Denial {
                    rule: None,
                    field: request.subject.kind(),
                    bound: "no rule allows anything".to_owned(),
                    value: request.subject.named(),
                },
                |(field, rule)| field.denial(rule, self, request),
            )),
        }
    }

    /// Rules that do not allow it, those that fit furthest first.
    pub fn nearest(&self, request: &Request<'_>, count: usize) -> Vec<Denial> {
        let mut misses: Vec<(Field, &Rule)> = self
            .rules
            .iter()
            .filter_map(|rule| match &rule.effect {
                Effect::Allow(bounds) => rule.mismatch(bounds, self, request).map(|field| (field, rule)),
                Effect::Deny => None,
            })
            .collect();
        // Stable, so that rules that fit equally far stay in order of their names.
        misses.sort_by_key(|(field, _)| std::cmp::Reverse(*field));
        misses.into_iter().take(count).map(|(field, rule)| field.denial(rule, self, request)).collect()
    }

    /// Names of the rules that deny it.
    pub fn denying<'a>(&'a self, request: &Request<'_>) -> impl Iterator<Item = &'a str> {
        self.rules
            .iter()
            .filter(|rule| rule.effect == Effect::Deny && rule.unselected(request).is_none())
            .map(|rule| rule.name.as_str())
    }

    /// Whether any rule asks for the key behind a public key.
    pub fn asks_signer_keys(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(&rule.effect, Effect::Allow(bounds) if bounds.signer_keys.is_some()))
    }

    /// What no rule can allow.
    fn always(&self, request: &Request<'_>) -> Result<(), Denial> {
        let denial = |field, bound: String, value: String| Err(Denial { rule: None, field, bound, value });
        let Subject::Call(sent) = &request.subject else {
            if request.key.role == Role::Sequencer {
                let bound = "updateSigner, for a sequencer key".to_owned();
                return denial(request.subject.kind(), bound, request.subject.named());
            }
            return Ok(());
        };
        let Some(contracts) = self.contracts.get(sent.network) else {
            return denial("network", "a network of the policy".to_owned(), sent.network.to_owned());
        };
        if let Call::Approve { spender, .. } = sent.call
            && *spender != contracts.locking_info
        {
            return denial("spender", contracts.locking_info.to_string(), spender.to_string());
        }
        let function = sent.call.function();
        if request.key.role == Role::Sequencer
            && !matches!(function, Function::UpdateSigner | Function::Cancel)
        {
            return denial("function", "updateSigner, for a sequencer key".to_owned(), function.to_string());
        }
        Ok(())
    }
}

impl Subject<'_> {
    /// The name of the field that says what is to be signed.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Call(_) => "function",
            Self::Message(_) => "message",
            Self::TypedData { .. } => "typed_data",
        }
    }

    /// What is to be signed, in a word.
    pub fn named(&self) -> String {
        match self {
            Self::Call(sent) => sent.call.function().to_string(),
            Self::Message(text) => text.chars().take(40).filter(|c| !c.is_control()).collect(),
            Self::TypedData { data, .. } => data.to_string(),
        }
    }

    fn network(&self) -> Option<&str> {
        match self {
            Self::Call(sent) => Some(sent.network),
            Self::Message(_) => None,
            Self::TypedData { network, .. } => *network,
        }
    }
}

impl Keys {
    /// The first thing of the key that is not as asked for.
    pub fn unfit(&self, key: &KeyFacts<'_>) -> Option<Field> {
        if !self.any_of.is_empty() && !self.any_of.contains(key.id) && !self.any_of.contains(key.name) {
            return Some(Field::Key);
        }
        if self.role.is_some_and(|role| role != key.role) {
            return Some(Field::Role);
        }
        let labelled = self.labels.iter().all(|(label, value)| key.labels.get(label) == Some(value));
        (!labelled).then_some(Field::Labels)
    }
}

impl Targets {
    fn include(&self, subject: &Subject<'_>) -> bool {
        match (self, subject) {
            (Self::All, _) => true,
            (Self::Functions(functions), Subject::Call(sent)) => functions.contains(&sent.call.function()),
            (Self::Messages(beginnings), Subject::Message(text)) => {
                beginnings.iter().any(|beginning| text.starts_with(beginning.as_str()))
            }
            (Self::TypedData(allowed), Subject::TypedData { data, .. }) => allowed.contains(data),
            _ => false,
        }
    }
}

impl Rule {
    /// Where the rule stops to select the request; nowhere if it selects it.
    fn unselected(&self, request: &Request<'_>) -> Option<Field> {
        if let Some(field) = self.keys.unfit(&request.key) {
            return Some(field);
        }
        if !self.callers.is_empty() && !self.callers.contains(request.caller) {
            return Some(Field::Caller);
        }
        // What has no network might be of any: rules that deny a network take it in. Rules that allow texts and
        // typed data name no networks.
        let elsewhere = request.subject.network().is_some_and(|network| !self.networks.contains(network));
        if !self.networks.is_empty() && elsewhere {
            return Some(Field::Network);
        }
        if !self.targets.include(&request.subject) {
            return Some(Field::Target);
        }
        let open = self.hours.is_empty() || self.hours.iter().any(|hours| hours.contain(request.now));
        (!open).then_some(Field::Hours)
    }

    fn mismatch(&self, bounds: &Bounds, policy: &Policy, request: &Request<'_>) -> Option<Field> {
        self.unselected(request).or_else(|| match &request.subject {
            Subject::Call(sent) => bounds.broken(policy, request, sent),
            Subject::Message(_) | Subject::TypedData { .. } => None,
        })
    }
}

impl Bounds {
    /// The first bound that does not hold.
    fn broken(&self, policy: &Policy, request: &Request<'_>, sent: &Sent<'_>) -> Option<Field> {
        let Sent { network, call, value, gas_limit, max_fee_per_gas, .. } = sent;
        let sequencer = call.sequencer();
        let amount = call.amount();
        let recipient = call.recipient();
        let total = max_fee_per_gas.saturating_mul(U256::from(*gas_limit));
        let listed = |list: &std::collections::BTreeSet<Address>, address: Option<Address>| {
            address.is_none_or(|address| list.is_empty() || list.contains(&address))
        };
        let registered = || {
            recipient.is_none_or(|recipient| {
                policy.registered.iter().any(|one| {
                    one.recipient == recipient && one.speaks_of(network, sequencer, request.account)
                })
            })
        };
        let new_owner = match call {
            Call::SetSequencerOwner { owner, .. } => Some(*owner),
            _ => None,
        };
        let checks = [
            (
                Field::Sequencer,
                self.sequencers.is_empty() || sequencer.is_none_or(|id| self.sequencers.contains(&id)),
            ),
            (Field::AmountMin, holds(self.amount_min, amount, |bound, amount| amount >= bound)),
            (Field::AmountMax, holds(self.amount_max, amount, |bound, amount| amount <= bound)),
            (Field::Recipient, listed(&self.recipients, recipient)),
            (Field::Registered, !self.recipient_registered || registered()),
            (Field::NewOwner, listed(&self.new_owners, new_owner)),
            (Field::SignerKey, self.signer_key_fits(sent)),
            (Field::Value, *value <= self.value_max),
            (Field::GasLimit, self.gas_limit_max.is_none_or(|bound| *gas_limit <= bound)),
            (Field::FeePerGas, *max_fee_per_gas <= self.max_fee_per_gas),
            (Field::TotalFee, total <= self.max_total_fee),
        ];
        checks.into_iter().find(|(_, holds)| !holds).map(|(field, _)| field)
    }

    /// A call that sets a signer sets one of these keys, and names its address.
    fn signer_key_fits(&self, sent: &Sent<'_>) -> bool {
        let (Some(wanted), Some(derived)) = (&self.signer_keys, sent.call.signer()) else { return true };
        let names_it = match sent.call {
            Call::LockWithRewardRecipient { signer, .. } => *signer == derived,
            _ => true,
        };
        names_it && sent.signer_key.as_ref().is_some_and(|key| wanted.unfit(key).is_none())
    }
}

fn holds(bound: Option<U256>, amount: Option<U256>, within: impl Fn(U256, U256) -> bool) -> bool {
    match (bound, amount) {
        (Some(bound), Some(amount)) => within(bound, amount),
        _ => true,
    }
}

/// In the order in which they are tried, without those for which another gives as much and asks no more.
fn without_dominated(mut allowing: Vec<(&str, &Bounds)>) -> Vec<Allowance> {
    allowing.sort_by(|(one, bounds), (other, others)| {
        bounds
            .approvals
            .cmp(&others.approvals)
            .then_with(|| narrowness(bounds.windows.metis_24h_max, others.windows.metis_24h_max))
            .then_with(|| narrowness(bounds.windows.eth_24h_max, others.windows.eth_24h_max))
            .then_with(|| one.cmp(other))
    });
    let mut kept: Vec<Allowance> = Vec::new();
    for (rule, bounds) in allowing {
        let dominated = kept.iter().any(|before| {
            // Those before ask for as few approvals or fewer.
            narrowness(before.windows.metis_24h_max, bounds.windows.metis_24h_max) != Ordering::Greater
                && narrowness(before.windows.eth_24h_max, bounds.windows.eth_24h_max) != Ordering::Greater
        });
        if !dominated && kept.len() < ALLOWANCES_MAX {
            let (windows, approvals) = (bounds.windows, bounds.approvals);
            kept.push(Allowance { rule: rule.to_owned(), windows, approvals });
        }
    }
    kept
}

/// The wider window first; none is endless.
fn narrowness(one: Option<U256>, other: Option<U256>) -> Ordering {
    match (one, other) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(one), Some(other)) => other.cmp(&one),
    }
}
