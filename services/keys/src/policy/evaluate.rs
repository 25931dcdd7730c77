//! The verdict of the rules on one call.

use alloy_primitives::{Address, U256};

use super::call::{Call, Function};
use super::document::{Bounds, Effect, Policy, Rule};
use crate::db::key::{Labels, Role};

/// What is judged.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub caller: &'a str,
    pub key_id: &'a str,
    pub key_name: &'a str,
    pub role: Role,
    pub labels: &'a Labels,
    pub network: &'a str,
    pub call: &'a Call,
    pub value: U256,
    pub gas_limit: u64,
    pub max_fee_per_gas: U256,
}

/// Yes with the rule, or no with the nearest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, if the window has room.
    Allowed {
        rule: String,
        metis_24h_max: Option<U256>,
    },
    Denied(Denial),
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
    /// Judges a call. The same request gets the same verdict in whatever order the rules stand.
    pub fn judge(&self, request: &Request<'_>) -> Verdict {
        if let Err(denial) = self.always(request) {
            return Verdict::Denied(denial);
        }
        if let Some(rule) =
            self.rules.iter().find(|rule| rule.effect == Effect::Deny && rule.selects(request).is_ok())
        {
            return Verdict::Denied(Denial {
                rule: Some(rule.name.clone()),
                field: "effect",
                bound: "deny".to_owned(),
                value: request.call.function().to_string(),
            });
        }
        let mut allowed: Option<(&Rule, Option<U256>)> = None;
        let mut nearest: Option<(usize, Denial)> = None;
        for rule in &self.rules {
            let Effect::Allow(bounds) = &rule.effect else { continue };
            match rule.selects(request).and_then(|()| bounds.hold(request)) {
                // The widest window decides: a rule with room allows, whatever the others count.
                Ok(()) if allowed.is_none_or(|(_, window)| wider(bounds.metis_24h_max, window)) => {
                    allowed = Some((rule, bounds.metis_24h_max));
                }
                Ok(()) => {}
                Err((passed, denial)) => {
                    if nearest.as_ref().is_none_or(|(before, _)| passed > *before) {
                        nearest = Some((passed, Denial { rule: Some(rule.name.clone()), ..denial }));
                    }
                }
            }
        }
        match (allowed, nearest) {
            (Some((rule, metis_24h_max)), _) => Verdict::Allowed { rule: rule.name.clone(), metis_24h_max },
            (None, Some((_, denial))) => Verdict::Denied(denial),
            (None, None) => Verdict::Denied(Denial {
                rule: None,
                field: "function",
                bound: "no rule allows anything".to_owned(),
                value: request.call.function().to_string(),
            }),
        }
    }

    /// What no rule can allow.
    fn always(&self, request: &Request<'_>) -> Result<(), Denial> {
        let denial = |field, bound: String, value: String| Err(Denial { rule: None, field, bound, value });
        let Some(contracts) = self.contracts.get(request.network) else {
            return denial("network", "a network of the policy".to_owned(), request.network.to_owned());
        };
        if let Call::Approve { spender, .. } = request.call
            && *spender != contracts.locking_info
        {
            return denial("spender", contracts.locking_info.to_string(), spender.to_string());
        }
        let function = request.call.function();
        if request.role == Role::Sequencer && !matches!(function, Function::UpdateSigner | Function::Cancel) {
            return denial("function", "updateSigner, for a sequencer key".to_owned(), function.to_string());
        }
        Ok(())
    }
}

/// How far a rule fits, and where it stops to.
type Mismatch = (usize, Denial);

fn check(
    passed: usize,
    holds: bool,
    field: &'static str,
    bound: impl FnOnce() -> String,
    value: impl FnOnce() -> String,
) -> Result<(), Mismatch> {
    if holds { Ok(()) } else { Err((passed, Denial { rule: None, field, bound: bound(), value: value() })) }
}

impl Rule {
    fn selects(&self, request: &Request<'_>) -> Result<(), Mismatch> {
        let keys = &self.keys;
        let named = keys.any_of.is_empty()
            || keys.any_of.contains(request.key_id)
            || keys.any_of.contains(request.key_name);
        let labelled = keys.labels.iter().all(|(label, value)| request.labels.get(label) == Some(value));
        let function = request.call.function();
        let list =
            |words: &std::collections::BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(", ");
        let name = || request.key_name.to_owned();
        check(0, named, "key", || list(&keys.any_of), name)?;
        let role = keys.role.is_none_or(|role| role == request.role);
        check(
            1,
            role,
            "role",
            || keys.role.map(Role::as_str).unwrap_or_default().to_owned(),
            || request.role.as_str().to_owned(),
        )?;
        check(2, labelled, "labels", || format!("{:?}", keys.labels), || format!("{:?}", request.labels))?;
        let called = self.callers.is_empty() || self.callers.contains(request.caller);
        check(3, called, "caller", || list(&self.callers), || request.caller.to_owned())?;
        let on_network = self.networks.is_empty() || self.networks.contains(request.network);
        check(4, on_network, "network", || list(&self.networks), || request.network.to_owned())?;
        let known = self.functions.is_empty() || self.functions.contains(&function);
        check(
            5,
            known,
            "function",
            || self.functions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            || function.to_string(),
        )
    }
}

impl Bounds {
    fn hold(&self, request: &Request<'_>) -> Result<(), Mismatch> {
        let at_most = |passed, field, bound: U256, value: U256| {
            check(passed, value <= bound, field, || bound.to_string(), || value.to_string())
        };
        if let (Some(bound), Some(amount)) = (self.amount_max, request.call.amount()) {
            at_most(6, "amount_wei", bound, amount)?;
        }
        if let Some(recipient) = request.call.recipient() {
            one_of(7, "recipient", &self.recipients, recipient)?;
        }
        if let Call::SetSequencerOwner { owner, .. } = request.call {
            one_of(8, "new_owner", &self.new_owners, *owner)?;
        }
        at_most(9, "value_wei", self.value_max, request.value)?;
        at_most(10, "max_fee_per_gas_wei", self.max_fee_per_gas, request.max_fee_per_gas)?;
        let total = request.max_fee_per_gas.saturating_mul(U256::from(request.gas_limit));
        at_most(11, "max_total_fee_wei", self.max_total_fee, total)
    }
}

fn one_of(
    passed: usize,
    field: &'static str,
    allowed: &std::collections::BTreeSet<Address>,
    value: Address,
) -> Result<(), Mismatch> {
    let list = || allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    check(passed, allowed.is_empty() || allowed.contains(&value), field, list, || value.to_string())
}

/// Whether `window` has more room than `than`; none is endless.
fn wider(window: Option<U256>, than: Option<U256>) -> bool {
    match (window, than) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(window), Some(than)) => window > than,
    }
}
