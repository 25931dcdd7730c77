//! The one plan that all nine operations share: which calls, in which order, with which gas, and what would happen.

use alloy_primitives::{Address, Bytes, U256};
use api::types::v1 as types;
use chain::calldata;
use chain::fees::{Fees, Urgency};
use chain::rpc::{BlockId, CallRequest, NodeError, call};
use domain::amount::Eth;
use domain::ids::SequencerId;
use domain::operation::Operation;
use domain::preflight::{self, Check, Facts, Verdict};
use domain::revert::Revert;

use super::facts::{Picture, Subject, gather};
use crate::db::cursor::Hold;
use crate::error::Error;
use crate::fleet::{Chain, Fleet};

/// Step name of the approval that precedes a call which takes METIS.
pub const APPROVE: &str = "approve";
/// Step name of the recipient that is set before a call which needs one.
pub const RECIPIENT: &str = "recipient";
/// Gas of an approval, with room for tokens that keep books.
const APPROVE_GAS: u64 = 100_000;
/// Head room over an estimate: state moves between estimate and inclusion. In percent.
const GAS_HEADROOM_PERCENT: u64 = 130;

/// Whether a step only prepares the call of its operation: then that is still to come.
pub fn is_preparation(step_name: &str) -> bool {
    matches!(step_name, APPROVE | RECIPIENT)
}

/// One call of an operation, before nonce and fees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// "approve", "recipient", or the name of the operation.
    pub step_name: &'static str,
    pub target: Address,
    pub value: U256,
    pub data: Bytes,
    pub gas_limit: u64,
    pub words: String,
}

/// How the gas of a call that stands alone is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gas {
    /// From what its simulation used, which says what it will cost: it is planned again before it is sent.
    Simulated,
    /// As a node estimates it, which runs the call many times: for what is signed.
    Estimated,
}

/// What an operation would do now.
#[derive(Debug, Clone)]
pub struct Plan {
    pub picture: Picture,
    pub checks: Vec<Check>,
    /// In order; the first one is next.
    pub calls: Vec<Call>,
    pub sender: Address,
    pub fees: Fees,
}

impl Plan {
    /// Whether nothing stands in the way.
    pub fn passes(&self) -> bool {
        preflight::passes(&self.checks)
    }

    /// The first check that does not hold: the revert to expect.
    pub fn first_failure(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.verdict == Verdict::Fail)
    }

    /// A call as wallets and the wire know it.
    pub fn unsigned(&self, chain: &Chain, call: &Call) -> types::UnsignedTransaction {
        types::UnsignedTransaction {
            chain_id: chain.chain_id,
            from: self.sender.to_string(),
            to: call.target.to_string(),
            nonce: None,
            value_wei: call.value.to_string(),
            data: call.data.to_string(),
            gas_limit: call.gas_limit,
            max_fee_per_gas_wei: self.fees.max_fee_per_gas.to_string(),
            max_priority_fee_per_gas_wei: self.fees.max_priority_fee_per_gas.to_string(),
        }
    }
}

/// Reads the facts, makes the checks and the calls, and simulates them from the real sender.
pub async fn plan(
    fleet: &Fleet,
    chain: &Chain,
    operation: &Operation,
    subject: &Subject,
    gas: Gas,
) -> Result<Plan, Error> {
    let mut picture = gather(fleet, chain, operation, subject).await?;
    let sender = subject.sender(operation);
    let fees = suggested_fees(fleet, chain).await?;
    let mut calls = calls(chain, operation, subject.seq_id, &picture.facts);
    let recipient = recipient_first(operation, subject, &picture.facts);
    if let Some(recipient) = recipient {
        let set = Operation::SetRecipient { recipient };
        calls.insert(
            0,
            Call {
                step_name: RECIPIENT,
                target: chain.locking_pool,
                value: U256::ZERO,
                data: data(&set, subject.seq_id.unwrap_or_default()),
                gas_limit: gas_without_estimate(&set),
                words: set.words(),
            },
        );
    }
    let simulation = simulate(chain, operation, sender, &mut calls, &picture, gas).await;
    picture.facts.eth_needed = eth_needed(&calls, &fees);
    let mut checks = preflight::preflight(operation, &picture.facts);
    if let Some(recipient) = recipient {
        checks.iter_mut().filter(|check| check.name == "RECIPIENT_SET").for_each(|check| {
            check.verdict = Verdict::Warn;
            check.message = format!("the reward recipient is empty; {recipient} will be set first");
        });
    }
    checks.extend(subject.hold.as_ref().map(held));
    checks.extend(subject.approved.as_deref().map(|words| as_approved(words, operation)));
    checks.push(simulation);
    Ok(Plan { picture, checks, calls, sender, fees })
}

/// The recipient that is to be set first: the caller named one, and the contract has none.
fn recipient_first(operation: &Operation, subject: &Subject, facts: &Facts) -> Option<Address> {
    let needs = matches!(operation, Operation::Claim { .. } | Operation::Unlock { .. });
    let is_empty = facts.record.as_ref().is_some_and(|record| record.recipient == Address::ZERO);
    subject.recipient_if_unset.filter(|_| needs && is_empty)
}

/// Fees that are enough now; at the ceiling where the market is above it, which waits and does not fail.
pub async fn suggested_fees(fleet: &Fleet, chain: &Chain) -> Result<Fees, Error> {
    let policy = fleet.config.fees.policy();
    Ok(chain.market.fees(&chain.l1, &policy, Urgency::CALM).await?.unwrap_or(Fees {
        max_fee_per_gas: policy.max_fee_ceiling,
        max_priority_fee_per_gas: policy.tip_min.min(policy.max_fee_ceiling),
    }))
}

/// The calls of an operation: an approval first, where LockingInfo may not take enough METIS yet.
pub fn calls(chain: &Chain, operation: &Operation, seq_id: Option<SequencerId>, facts: &Facts) -> Vec<Call> {
    let mut calls = Vec::new();
    let takes = operation.takes();
    if facts.allowance < takes {
        calls.push(Call {
            step_name: APPROVE,
            target: chain.metis,
            value: U256::ZERO,
            data: calldata::approve(chain.locking_info, takes),
            gas_limit: APPROVE_GAS,
            words: format!("allow LockingInfo to take {takes} METIS"),
        });
    }
    calls.push(Call {
        step_name: operation.name(),
        target: chain.locking_pool,
        value: facts.bridge_fee.0,
        data: data(operation, seq_id.unwrap_or_default()),
        gas_limit: gas_without_estimate(operation),
        words: operation.words(),
    });
    calls
}

fn data(operation: &Operation, seq_id: SequencerId) -> Bytes {
    match operation {
        Operation::Lock { amount, recipient, signer, override_node: _ } => {
            calldata::lock(signer, *recipient, *amount)
        }
        Operation::Increase { amount, with_rewards } => calldata::increase(seq_id, *amount, *with_rewards),
        Operation::Withdraw { amount } => calldata::withdraw(seq_id, *amount),
        Operation::Claim { l2_gas } => calldata::claim(seq_id, *l2_gas),
        Operation::SetRecipient { recipient } => calldata::set_recipient(seq_id, *recipient),
        Operation::SetOwner { new_owner } => calldata::set_owner(seq_id, *new_owner),
        Operation::RotateSigner { new_signer } => calldata::rotate_signer(seq_id, new_signer),
        Operation::Unlock { l2_gas } => calldata::unlock(seq_id, *l2_gas),
        Operation::WithdrawFinal { l2_gas } => calldata::withdraw_final(seq_id, *l2_gas),
    }
}

/// Used where the call cannot be estimated before another one is mined. Measured on our contracts and doubled; the
/// real bridge costs more.
const fn gas_without_estimate(operation: &Operation) -> u64 {
    match operation {
        Operation::Lock { .. } => 800_000,
        Operation::Unlock { .. } | Operation::WithdrawFinal { .. } | Operation::Claim { .. } => 900_000,
        Operation::RotateSigner { .. } | Operation::Increase { .. } | Operation::Withdraw { .. } => 300_000,
        Operation::SetRecipient { .. } | Operation::SetOwner { .. } => 200_000,
    }
}

/// The most that the calls can cost.
pub fn eth_needed(calls: &[Call], fees: &Fees) -> Eth {
    let cost = |call: &Call| {
        call.value.saturating_add(U256::from(call.gas_limit).saturating_mul(U256::from(fees.max_fee_per_gas)))
    };
    Eth(calls.iter().map(cost).fold(U256::ZERO, U256::saturating_add))
}

/// Runs the calls from the real sender at the pinned block, and takes their gas from that where they succeed.
pub async fn simulate(
    chain: &Chain,
    operation: &Operation,
    sender: Address,
    calls: &mut [Call],
    picture: &Picture,
    gas: Gas,
) -> Check {
    let at = BlockId::Hash(picture.block.hash);
    if (calls.len() > 1 || gas == Gas::Simulated)
        && let Some(check) = simulate_in_order(chain, sender, calls, at).await
    {
        return check;
    }
    let later = calls.len() > 1;
    let Some(next) = calls.first_mut() else {
        return simulation(Verdict::Pass, "", "nothing to call".to_owned());
    };
    let request = request(sender, next);
    let both = (call::call(&request, at).attempt(), call::estimate_gas(&request).attempt());
    match chain.l1.ask(both).await {
        Err(error) => {
            tracing::debug!("a simulation could not be run: {}", runtime::report(&error));
            simulation(
                Verdict::Unknown,
                "SIMULATION_UNAVAILABLE",
                "no L1 endpoint ran the simulation".to_owned(),
            )
        }
        Ok((Err(refused), _)) => refused_simulation(operation, &refused),
        Ok((Ok(_), estimate)) => {
            if let Ok(gas) = estimate {
                next.gas_limit = with_headroom(gas);
            }
            if later {
                let words = "the first call succeeds; this endpoint cannot simulate the next one after it, which is \
                             done when it is mined";
                simulation(Verdict::Warn, "", words.to_owned())
            } else {
                succeeds(sender, next)
            }
        }
    }
}

fn succeeds(sender: Address, call: &Call) -> Check {
    let mut check = simulation(Verdict::Pass, "", format!("the call succeeds from {sender}"));
    check.facts.insert("gas_limit", call.gas_limit.to_string());
    check
}

/// All calls, each on what the one before it did. None where no endpoint can do that.
async fn simulate_in_order(chain: &Chain, sender: Address, calls: &mut [Call], at: BlockId) -> Option<Check> {
    let requests: Vec<CallRequest> = calls.iter().map(|call| request(sender, call)).collect();
    let simulated = match chain.l1.ask(call::simulate(&requests, at)).await {
        Ok(simulated) if simulated.len() == calls.len() => simulated,
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!("no endpoint simulates several calls: {}", runtime::report(&error));
            return None;
        }
    };
    let reverted = simulated.iter().enumerate().find_map(|(place, one)| Some((place, one.revert_data()?)));
    if let Some((place, data)) = reverted {
        let name = calls.get(place)?.step_name;
        let (reason, words) = explain(name, &Revert::decode(&data));
        return Some(simulation(Verdict::Fail, reason, format!("{name} reverts: {words}")));
    }
    if let ([call], [result]) = (&mut *calls, simulated.as_slice()) {
        call.gas_limit = with_headroom(result.gas_used);
        return Some(succeeds(sender, call));
    }
    for (call, result) in calls.iter_mut().zip(simulated) {
        // What was used is no estimate of what must be there: it never lowers the limit we know to be enough.
        call.gas_limit = call.gas_limit.max(with_headroom(result.gas_used));
    }
    let words = format!("each of the {} calls succeeds on the one before it, from {sender}", calls.len());
    Some(simulation(Verdict::Pass, "", words))
}

fn request(sender: Address, call: &Call) -> CallRequest {
    CallRequest {
        from: Some(sender),
        to: call.target,
        value: call.value,
        input: call.data.clone(),
        gas: None,
    }
}

fn with_headroom(gas: u64) -> u64 {
    gas.saturating_mul(GAS_HEADROOM_PERCENT) / 100
}

fn refused_simulation(operation: &Operation, refused: &NodeError) -> Check {
    match chain::revert::of_node(refused) {
        Some(revert) => {
            let (reason, words) = explain(operation.name(), &revert);
            simulation(Verdict::Fail, reason, format!("the call reverts: {words}"))
        }
        None => simulation(
            Verdict::Unknown,
            "SIMULATION_UNAVAILABLE",
            format!("the node did not run the call: {}", refused.message),
        ),
    }
}

/// Reason and words of a revert, as they apply to the operation of this name.
pub fn explain(operation: &str, revert: &Revert) -> (&'static str, String) {
    (revert.reason_in(operation), revert.words())
}

/// What the register says may have changed since people read what it comes to.
fn as_approved(words: &str, operation: &Operation) -> Check {
    let now = operation.words();
    let holds = words.ends_with(&now);
    let (verdict, reason, message) = if holds {
        (Verdict::Pass, "", "it is what was approved".to_owned())
    } else {
        let message = format!("approved was `{words}`, by now it would be to {now}: ask again");
        (Verdict::Fail, api::reasons::APPROVAL_DIGEST_MISMATCH.name, message)
    };
    Check { name: "AS_APPROVED", verdict, reason, message, facts: Default::default() }
}

/// A warning, not a failure: the operation is taken and waits.
fn held(hold: &Hold) -> Check {
    let facts = hold.reorg_id.map(|id| ("reorg_id", id.to_string())).into_iter().collect();
    let name = api::reasons::NETWORK_HELD.name;
    Check { name, verdict: Verdict::Warn, reason: name, message: hold.words(), facts }
}

fn simulation(verdict: Verdict, reason: &'static str, message: String) -> Check {
    Check { name: "SIMULATION", verdict, reason, message, facts: Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_a_plan_can_cost_counts_every_call() {
        let call = |gas_limit, value| Call {
            step_name: APPROVE,
            target: Address::ZERO,
            value: U256::from(value),
            data: Bytes::new(),
            gas_limit,
            words: String::new(),
        };
        let fees = Fees { max_fee_per_gas: 10, max_priority_fee_per_gas: 1 };
        assert_eq!(eth_needed(&[call(3, 0), call(4, 5)], &fees), Eth(U256::from(75)));
    }
}
