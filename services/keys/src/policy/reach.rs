//! How far a key or an identity reaches: the most that it could move in 24 hours under a policy.
//!
//! An upper bound by the rules alone. Hours count as always open, balances and the state of the chain are not known
//! here, and of rules that deny only those count that hold at every hour.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;

use super::call::Function;
use super::document::{Bounds, Effect, Policy, Rule, Targets};
use super::evaluate::KeyFacts;
use crate::db::key::Role;

/// A sum, or all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    Wei(U256),
    Unbounded,
}

/// What could be done in 24 hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// METIS that goes into a lock.
    pub metis: Most,
    /// ETH for values and fees.
    pub eth: Most,
    pub can_unlock: bool,
    /// A sequencer with its principal can go to any owner.
    pub can_give_away: bool,
    /// Rewards can go anywhere.
    pub can_redirect_rewards: bool,
    pub can_sign_messages: bool,
}

impl Default for Most {
    fn default() -> Self {
        Self::Wei(U256::ZERO)
    }
}

impl Most {
    fn of(window: Option<U256>) -> Self {
        window.map_or(Self::Unbounded, Self::Wei)
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wei(one), Self::Wei(other)) => Self::Wei(one.max(other)),
            _ => Self::Unbounded,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wei(one), Self::Wei(other)) => Self::Wei(one.saturating_add(other)),
            _ => Self::Unbounded,
        }
    }
}

impl Reach {
    /// Both, of different accounts or networks.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { metis: self.metis.and(other.metis), eth: self.eth.and(other.eth), ..self.flags(other) }
    }

    /// By either of two rules of one account and network: both are measured by one sum, so the wider window holds.
    fn or(self, other: Self) -> Self {
        Self { metis: self.metis.or(other.metis), eth: self.eth.or(other.eth), ..self.flags(other) }
    }

    fn flags(self, other: Self) -> Self {
        Self {
            can_unlock: self.can_unlock || other.can_unlock,
            can_give_away: self.can_give_away || other.can_give_away,
            can_redirect_rewards: self.can_redirect_rewards || other.can_redirect_rewards,
            can_sign_messages: self.can_sign_messages || other.can_sign_messages,
            ..self
        }
    }

    /// By calls of one function within these bounds.
    fn by(function: Function, bounds: &Bounds) -> Self {
        use Function::{
            LockWithRewardRecipient, Relock, SetSequencerOwner, SetSequencerRewardRecipient, Unlock,
            UnlockClaim, Withdraw,
        };
        let anywhere = bounds.recipients.is_empty() && !bounds.recipient_registered;
        Self {
            metis: match function {
                LockWithRewardRecipient | Relock => Most::of(bounds.windows.metis_24h_max),
                _ => Most::default(),
            },
            eth: Most::of(bounds.windows.eth_24h_max),
            can_unlock: matches!(function, Withdraw | Unlock | UnlockClaim),
            can_give_away: function == SetSequencerOwner && bounds.new_owners.is_empty(),
            can_redirect_rewards: function == SetSequencerRewardRecipient && anywhere,
            can_sign_messages: false,
        }
    }
}

/// How far a key reaches, by rules that ask for no approvals and by all. Without `caller`: whoever asks.
pub fn of_key(policy: &Policy, key: KeyFacts<'_>, caller: Option<&str>) -> (Reach, Reach) {
    let denying: Vec<&Rule> = policy
        .rules
        .iter()
        .filter(|rule| {
            rule.effect == Effect::Deny && rule.hours.is_empty() && rule.keys.unfit(&key).is_none()
        })
        .filter(|rule| rule.callers.is_empty() || caller.is_some_and(|caller| rule.callers.contains(caller)))
        .collect();
    // By network, because each chain has windows of its own; messages stand under no name.
    let mut alone: BTreeMap<&str, Reach> = BTreeMap::new();
    let mut approved: BTreeMap<&str, Reach> = BTreeMap::new();
    for rule in &policy.rules {
        let Effect::Allow(bounds) = &rule.effect else { continue };
        let asks = caller.is_none_or(|caller| rule.callers.is_empty() || rule.callers.contains(caller));
        if !asks || rule.keys.unfit(&key).is_some() {
            continue;
        }
        for (network, reach) in by_rule(rule, bounds, key, &denying) {
            let both = [(&mut alone, bounds.approvals == 0), (&mut approved, true)];
            for (reaches, _) in both.into_iter().filter(|(_, counts)| *counts) {
                let before = reaches.entry(network).or_default();
                *before = before.or(reach);
            }
        }
    }
    let sum = |reaches: BTreeMap<&str, Reach>| reaches.into_values().fold(Reach::default(), Reach::and);
    (sum(alone), sum(approved))
}

fn by_rule<'a>(
    rule: &'a Rule,
    bounds: &'a Bounds,
    key: KeyFacts<'_>,
    denying: &[&Rule],
) -> Vec<(&'a str, Reach)> {
    let functions = match &rule.targets {
        Targets::Functions(functions) => functions,
        _ if key.role == Role::Sequencer || denying.iter().any(|deny| deny.targets == Targets::All) => {
            return Vec::new();
        }
        _ => return vec![("", Reach { can_sign_messages: true, ..Reach::default() })],
    };
    let mut reaches = Vec::new();
    for network in &rule.networks {
        for function in functions {
            let of_role =
                key.role == Role::Owner || matches!(function, Function::UpdateSigner | Function::Cancel);
            let denied = denying.iter().any(|deny| {
                (deny.networks.is_empty() || deny.networks.contains(network))
                    && match &deny.targets {
                        Targets::All => true,
                        Targets::Functions(denied) => denied.contains(function),
                        Targets::Messages(_) | Targets::TypedData(_) => false,
                    }
            });
            if of_role && !denied {
                reaches.push((network.as_str(), Reach::by(*function, bounds)));
            }
        }
    }
    reaches
}

/// The identities that rules name; "*" if some rule names none.
pub fn identities(policy: &Policy) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    for rule in policy.rules.iter().filter(|rule| matches!(rule.effect, Effect::Allow(_))) {
        if rule.callers.is_empty() {
            named.insert("*");
        }
        named.extend(rule.callers.iter().map(String::as_str));
    }
    named
}
