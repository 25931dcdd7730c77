//! The single checks. Each looks at facts only and says the numbers behind its verdict.

use alloy_primitives::Address;

use super::{Check, Facts, NodeState, Record, SignerUse, Status, Verdict};
use crate::amount::Metis;
use crate::exit;
use crate::network::Variant;

/// A check that holds or fails.
fn check(name: &'static str, reason: &'static str, holds: bool, message: String) -> Check {
    let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
    Check { name, verdict, reason: if holds { "" } else { reason }, message, facts: Default::default() }
}

impl Check {
    fn fact(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.insert(name, value.to_string());
        self
    }

    fn warn_instead(mut self) -> Self {
        if self.verdict == Verdict::Fail {
            self.verdict = Verdict::Warn;
        }
        self
    }
}

pub(super) fn not_paused(facts: &Facts) -> Check {
    let words = if facts.paused { "the pool is paused" } else { "the pool is not paused" };
    check("POOL_NOT_PAUSED", "POOL_PAUSED", !facts.paused, words.to_owned())
}

pub(super) fn whitelisted(facts: &Facts) -> Check {
    let holds = facts.owner_whitelisted;
    let words = if holds { "the owner is whitelisted" } else { "the owner is not whitelisted" };
    check("OWNER_WHITELISTED", "NOT_WHITELISTED", holds, words.to_owned())
}

pub(super) fn owner_free(facts: &Facts) -> Check {
    let words = match facts.owner_sequencer {
        None => "the owner has no live sequencer".to_owned(),
        Some(id) => format!("the owner has sequencer {id} already"),
    };
    check("OWNER_FREE", "OWNER_HAS_SEQUENCER", facts.owner_sequencer.is_none(), words)
}

pub(super) fn signer_unused(facts: &Facts) -> Check {
    let words = match facts.new_signer {
        SignerUse::Unused => "the signer was never used".to_owned(),
        SignerUse::Of(id) => format!("the signer belongs to sequencer {id}"),
        SignerUse::Burnt => "the signer was used before and is burnt".to_owned(),
    };
    check("SIGNER_UNUSED", "SIGNER_USED", facts.new_signer == SignerUse::Unused, words)
}

pub(super) fn in_range(amount: Metis, facts: &Facts) -> Check {
    let holds = facts.min_lock <= amount && amount <= facts.max_lock;
    let words = format!("{amount} METIS, allowed are {} to {}", facts.min_lock, facts.max_lock);
    check("AMOUNT_IN_RANGE", "LOCK_OUT_OF_RANGE", holds, words)
        .fact("amount_wei", amount.wei_string())
        .fact("min_lock_wei", facts.min_lock.wei_string())
        .fact("max_lock_wei", facts.max_lock.wei_string())
}

/// We approve as the first step where it is missing, so a low allowance is only worth knowing.
pub(super) fn allowance_planned(amount: Metis, facts: &Facts) -> Check {
    let holds = facts.allowance >= amount;
    let words = if holds {
        format!("LockingInfo may take {} METIS", facts.allowance)
    } else {
        format!("LockingInfo may take {} METIS; {amount} will be approved first", facts.allowance)
    };
    check("ALLOWANCE", "ALLOWANCE_TOO_LOW", holds, words)
        .fact("allowance_wei", facts.allowance.wei_string())
        .warn_instead()
}

pub(super) fn balance(amount: Metis, facts: &Facts) -> Check {
    let words = format!("the owner has {} METIS, {amount} are needed", facts.balance);
    check("METIS_BALANCE", "BALANCE_TOO_LOW", facts.balance >= amount, words)
        .fact("balance_wei", facts.balance.wei_string())
}

pub(super) fn recipient_given(recipient: Address) -> Check {
    let holds = recipient != Address::ZERO;
    let words =
        if holds { format!("rewards go to {recipient} on L2") } else { "no reward recipient".to_owned() };
    check("RECIPIENT_GIVEN", "NO_REWARD_RECIPIENT", holds, words)
}

pub(super) fn recipient_set(facts: &Facts) -> Check {
    with_record(facts, "RECIPIENT_SET", |record| {
        let holds = record.recipient != Address::ZERO;
        let words = if holds {
            format!("the reward recipient is {}", record.recipient)
        } else {
            "the reward recipient is empty: claim and exit revert".to_owned()
        };
        check("RECIPIENT_SET", "NO_REWARD_RECIPIENT", holds, words)
    })
}

pub(super) fn eth(facts: &Facts) -> Check {
    let words = format!(
        "the sender has {} ETH, at most {} are needed, {} of them for the bridge",
        facts.eth, facts.eth_needed, facts.bridge_fee
    );
    check("ETH_BALANCE", "ETH_TOO_LOW", facts.eth >= facts.eth_needed, words)
        .fact("eth_wei", facts.eth.wei_string())
        .fact("eth_needed_wei", facts.eth_needed.wei_string())
        .fact("bridge_fee_wei", facts.bridge_fee.wei_string())
}

pub(super) fn backup(facts: &Facts) -> Check {
    match facts.backup_proven {
        None => Check {
            verdict: Verdict::Warn,
            ..check(
                "BACKUP_PROVEN",
                "",
                true,
                "the signer's key is not ours: its backup is not known".to_owned(),
            )
        },
        Some(true) => check("BACKUP_PROVEN", "", true, "a restore drill has proven the backup".to_owned()),
        Some(false) => check(
            "BACKUP_PROVEN",
            "BACKUP_UNPROVEN",
            false,
            "no restore drill has proven the backup of the signer's key".to_owned(),
        ),
    }
}

pub(super) fn node(override_reason: Option<&str>, facts: &Facts) -> Check {
    let (holds, words) = match &facts.node {
        NodeState::Ready => (true, "the node is in sync".to_owned()),
        NodeState::Unregistered => (false, "no node is registered for the signer".to_owned()),
        NodeState::NotReady(why) => (false, format!("the node is not ready: {why}")),
    };
    match override_reason {
        Some(reason) if !holds => {
            check("NODE_READY", "NODE_NOT_READY", false, format!("{words}; overridden: {reason}"))
                .warn_instead()
        }
        _ => check("NODE_READY", "NODE_NOT_READY", holds, words),
    }
}

pub(super) fn nothing_open(facts: &Facts) -> Check {
    let words = match &facts.open_operation {
        None => "no other operation is open".to_owned(),
        Some(id) => format!("operation {id} is not finished"),
    };
    check("NOTHING_OPEN", "OPERATION_IN_FLIGHT", facts.open_operation.is_none(), words)
}

pub(super) fn active(facts: &Facts) -> Check {
    with_record(facts, "STATUS_ACTIVE", |record| {
        let holds = record.status == Status::Active;
        check(
            "STATUS_ACTIVE",
            "SEQUENCER_NOT_ACTIVE",
            holds,
            format!("the contract's status is {:?}", record.status),
        )
    })
}

pub(super) fn owned(facts: &Facts) -> Check {
    with_record(facts, "SENDER_IS_OWNER", |record| {
        let words = format!("the owner is {}, the sender {}", record.owner, facts.sender);
        check("SENDER_IS_OWNER", "NOT_SEQUENCER_OWNER", record.owner == facts.sender, words)
    })
}

pub(super) fn active_and_owned(facts: &Facts) -> [Check; 2] {
    [active(facts), owned(facts)]
}

pub(super) fn sent_by_signer(facts: &Facts) -> Check {
    with_record(facts, "SENDER_IS_SIGNER", |record| {
        let words = format!("the signer is {}, the sender {}", record.signer, facts.sender);
        check("SENDER_IS_SIGNER", "NOT_SEQUENCER_SIGNER", record.signer == facts.sender, words)
    })
}

pub(super) fn under_cap(amount: Metis, with_rewards: bool, facts: &Facts) -> Check {
    with_record(facts, "UNDER_CAP", |record| {
        let converted = if with_rewards { record.reward } else { Metis::ZERO };
        let total = record.amount.checked_add(amount).and_then(|sum| sum.checked_add(converted));
        let holds = total.is_some_and(|total| total <= facts.max_lock);
        let words = format!(
            "{} locked, {amount} and {converted} of reward to add, at most {} METIS; nothing is capped, the call reverts",
            record.amount, facts.max_lock
        );
        check("UNDER_CAP", "LOCK_CAP_EXCEEDED", holds, words).fact("locked_wei", record.amount.wei_string())
    })
}

pub(super) fn adds_something(amount: Metis, with_rewards: bool, facts: &Facts) -> Check {
    with_record(facts, "ADDS_SOMETHING", |record| {
        let holds = amount > Metis::ZERO || (with_rewards && record.reward > Metis::ZERO);
        let words = format!(
            "{amount} METIS and {} of reward",
            if with_rewards { record.reward } else { Metis::ZERO }
        );
        check("ADDS_SOMETHING", "NOTHING_TO_LOCK", holds, words)
    })
}

pub(super) fn withdraw_throttle(facts: &Facts) -> Check {
    with_record(facts, "WITHDRAW_THROTTLE", |record| {
        let words = format!(
            "the current batch is {}, the last lock, withdrawal or signer update was in {}",
            facts.current_batch, record.updated_batch
        );
        check("WITHDRAW_THROTTLE", "WITHDRAW_THROTTLED", facts.current_batch > record.updated_batch, words)
    })
}

pub(super) fn leaves_minimum(amount: Metis, facts: &Facts) -> Check {
    with_record(facts, "LEAVES_MINIMUM", |record| {
        let available = record.amount.checked_sub(facts.min_lock).unwrap_or(Metis::ZERO);
        let holds = amount > Metis::ZERO && amount <= available;
        let words = format!("{amount} METIS asked, {available} can leave above the minimum lock");
        check("LEAVES_MINIMUM", "WITHDRAW_ABOVE_AVAILABLE", holds, words)
            .fact("available_wei", available.wei_string())
    })
}

/// The contract would succeed silently and keep the ETH; for us that is a failure (P 1.10).
pub(super) fn reward_there(facts: &Facts) -> Check {
    with_record(facts, "REWARD_THERE", |record| {
        let holds = record.reward > Metis::ZERO;
        check("REWARD_THERE", "NO_REWARD", holds, format!("{} METIS unclaimed", record.reward))
            .fact("reward_wei", record.reward.wei_string())
    })
}

pub(super) fn signer_throttle(facts: &Facts) -> Check {
    with_record(facts, "SIGNER_THROTTLE", |record| {
        let first = record.updated_batch.0.saturating_add(facts.signer_update_throttle);
        let words =
            format!("the current batch is {}, a new signer is allowed from {first}", facts.current_batch);
        check("SIGNER_THROTTLE", "SIGNER_UPDATE_THROTTLED", facts.current_batch.0 >= first, words)
    })
}

pub(super) fn exit_allowed(facts: &Facts) -> Check {
    let holds = exit::allowed(facts.active, facts.exiting);
    let words = format!(
        "{} active, {} exiting, {} more may exit under the BFT rule",
        facts.active,
        facts.exiting,
        exit::capacity(facts.active, facts.exiting)
    );
    match facts.variant {
        Variant::Mainnet => check("EXIT_ALLOWED", "EXIT_RESTRICTED", holds, words),
        Variant::Main => check("EXIT_ALLOWED", "", true, "this contract has no BFT rule".to_owned()),
        // The simulation decides where the implementation is not known.
        _ => check("EXIT_ALLOWED", "EXIT_RESTRICTED", holds, words).warn_instead(),
    }
}

pub(super) fn exit_over(facts: &Facts) -> Check {
    with_record(facts, "EXIT_OVER", |record| {
        if record.status != Status::Inactive {
            let words = format!("the contract's status is {:?}", record.status);
            return check("EXIT_OVER", "NOT_EXITING", false, words);
        }
        let words = format!(
            "withdrawable from {} on, the block's time is {}",
            record.unlock_claim_time, facts.block_time
        );
        check("EXIT_OVER", "EXIT_PERIOD_NOT_OVER", record.unlock_claim_time <= facts.block_time, words)
            .fact("unlock_claim_time", record.unlock_claim_time)
    })
}

pub(super) fn new_owner_given(new_owner: Address) -> Check {
    check(
        "NEW_OWNER_GIVEN",
        "ADDRESS_ZERO",
        new_owner != Address::ZERO,
        format!("the new owner is {new_owner}"),
    )
}

pub(super) fn new_owner_whitelisted(facts: &Facts) -> Check {
    let holds = facts.new_owner_whitelisted;
    let words = if holds { "the new owner is whitelisted" } else { "the new owner is not whitelisted" };
    check("NEW_OWNER_WHITELISTED", "NOT_WHITELISTED", holds, words.to_owned())
}

/// The mainnet variant lets an owner have two, and then only remembers the last: legal, and a trap.
pub(super) fn new_owner_free(facts: &Facts) -> Check {
    let words = match facts.new_owner_sequencer {
        None => "the new owner has no sequencer".to_owned(),
        Some(id) => format!("the new owner has sequencer {id} already"),
    };
    check("NEW_OWNER_FREE", "OWNER_HAS_SEQUENCER", facts.new_owner_sequencer.is_none(), words)
}

fn with_record(facts: &Facts, name: &'static str, judge: impl FnOnce(&Record) -> Check) -> Check {
    match &facts.record {
        Some(record) => judge(record),
        None => check(name, "SEQUENCER_NOT_LOCKED", false, "nothing is locked yet".to_owned()),
    }
}
