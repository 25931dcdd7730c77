//! The single checks. Each looks at facts only and says the numbers behind its verdict. Those of what is around the
//! contract are in `around`.

mod around;

use alloy_primitives::Address;

use super::{Check, Facts, Record, SignerUse, Status, Verdict};
use crate::amount::{Eth, Metis};
use crate::exit;
use crate::fee;
use crate::network::Variant;
use crate::operation::Operation;

pub(super) use self::around::{backup, eth, node, nothing_open};

/// Names that the table needs too.
pub(super) mod names {
    pub const ETH_BALANCE: &str = "ETH_BALANCE";
    pub const RECIPIENT_GIVEN_AT_LOCK: &str = "LOCK_RECIPIENT_GIVEN";
    pub const REWARD_THERE: &str = "REWARD_THERE";
    pub const BACKUP_PROVEN: &str = "BACKUP_PROVEN";
    pub const NODE_READY: &str = "NODE_READY";
    pub const NOTHING_OPEN: &str = "NOTHING_OPEN";
}

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

pub(super) fn not_paused(_: &Operation, facts: &Facts) -> Check {
    let words = if facts.paused { "the pool is paused" } else { "the pool is not paused" };
    check("POOL_NOT_PAUSED", "POOL_PAUSED", !facts.paused, words.to_owned()).fact("paused", facts.paused)
}

pub(super) fn whitelisted(operation: &Operation, facts: &Facts) -> Check {
    let holds = facts.owner_whitelisted;
    let words = if holds { "the owner is whitelisted" } else { "the owner is not whitelisted" };
    let made =
        check("OWNER_WHITELISTED", "NOT_WHITELISTED", holds, words.to_owned()).fact("sender", facts.sender);
    unless_known(operation, facts, made)
}

pub(super) fn owner_free(_: &Operation, facts: &Facts) -> Check {
    let words = match facts.owner_sequencer {
        None => "the owner has no live sequencer".to_owned(),
        Some(id) => format!("the owner has sequencer {id} already"),
    };
    let made = check("OWNER_FREE", "OWNER_HAS_SEQUENCER", facts.owner_sequencer.is_none(), words);
    match facts.owner_sequencer {
        Some(id) => made.fact("sequencer_id", id),
        None => made,
    }
}

pub(super) fn signer_unused(_: &Operation, facts: &Facts) -> Check {
    let words = match facts.new_signer {
        SignerUse::Unused => "the signer was never used".to_owned(),
        SignerUse::Of(id) => format!("the signer belongs to sequencer {id}"),
        SignerUse::Burnt => "the signer was used before and is burnt".to_owned(),
    };
    let made = check("SIGNER_UNUSED", "SIGNER_USED", facts.new_signer == SignerUse::Unused, words);
    match facts.new_signer {
        SignerUse::Of(id) => made.fact("sequencer_id", id),
        SignerUse::Burnt => made.fact("burnt", true),
        SignerUse::Unused => made,
    }
}

pub(super) fn in_range(operation: &Operation, facts: &Facts) -> Check {
    let amount = operation.amount();
    let holds = facts.min_lock <= amount && amount <= facts.max_lock;
    let words = format!("{amount} METIS, allowed are {} to {}", facts.min_lock, facts.max_lock);
    check("AMOUNT_IN_RANGE", "LOCK_OUT_OF_RANGE", holds, words)
        .fact("amount_wei", amount.wei_string())
        .fact("min_lock_wei", facts.min_lock.wei_string())
        .fact("max_lock_wei", facts.max_lock.wei_string())
}

/// We approve as the first step where it is missing, so a low allowance is only worth knowing.
pub(super) fn allowance(operation: &Operation, facts: &Facts) -> Check {
    let amount = operation.amount();
    let holds = facts.allowance >= amount;
    let words = if holds {
        format!("LockingInfo may take {} METIS", facts.allowance)
    } else {
        format!("LockingInfo may take {} METIS; {amount} will be approved first", facts.allowance)
    };
    check("ALLOWANCE", "ALLOWANCE_TOO_LOW", holds, words)
        .fact("allowance_wei", facts.allowance.wei_string())
        .fact("amount_wei", amount.wei_string())
        .warn_instead()
}

pub(super) fn balance(operation: &Operation, facts: &Facts) -> Check {
    let amount = operation.amount();
    let words = format!("the owner has {} METIS, {amount} are needed", facts.balance);
    check("METIS_BALANCE", "BALANCE_TOO_LOW", facts.balance >= amount, words)
        .fact("balance_wei", facts.balance.wei_string())
        .fact("amount_wei", amount.wei_string())
}

/// The contract takes a lock without recipient, which then blocks claim and exit (P 1.10).
pub(super) fn lock_recipient(operation: &Operation, _: &Facts) -> Check {
    let recipient = operation.recipient();
    let words = given(recipient);
    check(names::RECIPIENT_GIVEN_AT_LOCK, "NO_REWARD_RECIPIENT", recipient != Address::ZERO, words)
        .fact("recipient", recipient)
}

pub(super) fn recipient_given(operation: &Operation, _: &Facts) -> Check {
    let recipient = operation.recipient();
    check("RECIPIENT_GIVEN", "ADDRESS_ZERO", recipient != Address::ZERO, given(recipient))
        .fact("recipient", recipient)
}

fn given(recipient: Address) -> String {
    if recipient == Address::ZERO {
        "no reward recipient".to_owned()
    } else {
        format!("rewards go to {recipient} on L2")
    }
}

pub(super) fn recipient_set(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "RECIPIENT_SET", |record| {
        let holds = record.recipient != Address::ZERO;
        let words = if holds {
            format!("the reward recipient is {}", record.recipient)
        } else {
            "the reward recipient is empty: claim and exit revert".to_owned()
        };
        check("RECIPIENT_SET", "NO_REWARD_RECIPIENT", holds, words).fact("recipient", record.recipient)
    })
}

/// The value is the exact quote: the bridge keeps what is above it, and the contract keeps all of it where there is no
/// reward (P 1.10).
pub(super) fn bridge_fee(operation: &Operation, facts: &Facts) -> Check {
    const NAME: &str = "BRIDGE_FEE";
    let reward = facts.record.as_ref().map_or(Metis::ZERO, |record| record.reward);
    let Some(oracle) = facts.oracle.filter(|_| !reward.is_zero()) else {
        let words = "there is no reward to bridge: nothing is paid, because it would be lost";
        let holds = facts.bridge_fee == Eth::ZERO;
        return check(NAME, "FEE_TOO_LOW", holds, words.to_owned()).fact("bridge_fee_wei", "0");
    };
    let quote = fee::quote(operation.l2_gas(), oracle, reward);
    let words = format!(
        "the bridge asks {} ETH for {reward} METIS: the larger of {} and {} gas, {} wei each",
        facts.bridge_fee,
        operation.l2_gas(),
        oracle.min_l2_gas,
        oracle.discount
    );
    check(NAME, "FEE_TOO_LOW", quote == Some(facts.bridge_fee), words)
        .fact("bridge_fee_wei", facts.bridge_fee.wei_string())
        .fact("l2_gas", operation.l2_gas())
        .fact("min_l2_gas", oracle.min_l2_gas)
        .fact("wei_per_l2_gas", oracle.discount)
}

pub(super) fn active(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "STATUS_ACTIVE", |record| {
        let words = format!("the contract's status is {:?}", record.status);
        check("STATUS_ACTIVE", "SEQUENCER_NOT_ACTIVE", record.status == Status::Active, words)
            .fact("status", format!("{:?}", record.status).to_uppercase())
    })
}

pub(super) fn owned(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "SENDER_IS_OWNER", |record| {
        let words = format!("the owner is {}, the sender {}", record.owner, facts.sender);
        check("SENDER_IS_OWNER", "NOT_SEQUENCER_OWNER", record.owner == facts.sender, words)
            .fact("owner", record.owner)
            .fact("sender", facts.sender)
    })
}

pub(super) fn sent_by_signer(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "SENDER_IS_SIGNER", |record| {
        let words = format!("the signer is {}, the sender {}", record.signer, facts.sender);
        check("SENDER_IS_SIGNER", "NOT_SEQUENCER_SIGNER", record.signer == facts.sender, words)
            .fact("signer", record.signer)
            .fact("sender", facts.sender)
    })
}

pub(super) fn under_cap(operation: &Operation, facts: &Facts) -> Check {
    with_record(facts, "UNDER_CAP", |record| {
        let (amount, converted) = (operation.amount(), converted(operation, record));
        let total = record.amount.checked_add(amount).and_then(|sum| sum.checked_add(converted));
        let holds = total.is_some_and(|total| total <= facts.max_lock);
        let words = format!(
            "{} locked, {amount} and {converted} of reward to add, at most {} METIS; nothing is capped, the call reverts",
            record.amount, facts.max_lock
        );
        check("UNDER_CAP", "LOCK_CAP_EXCEEDED", holds, words)
            .fact("locked_wei", record.amount.wei_string())
            .fact("reward_wei", converted.wei_string())
            .fact("max_lock_wei", facts.max_lock.wei_string())
    })
}

pub(super) fn adds_something(operation: &Operation, facts: &Facts) -> Check {
    with_record(facts, "ADDS_SOMETHING", |record| {
        let (amount, converted) = (operation.amount(), converted(operation, record));
        let holds = !amount.is_zero() || !converted.is_zero();
        check("ADDS_SOMETHING", "NOTHING_TO_LOCK", holds, format!("{amount} METIS and {converted} of reward"))
            .fact("amount_wei", amount.wei_string())
            .fact("reward_wei", converted.wei_string())
    })
}

/// The reward that an increase turns into principal.
fn converted(operation: &Operation, record: &Record) -> Metis {
    match operation {
        Operation::Increase { with_rewards: true, .. } => record.reward,
        _ => Metis::ZERO,
    }
}

/// The first implementations have no such function (P 1.2, 1.11).
pub(super) fn withdraw_supported(_: &Operation, facts: &Facts) -> Check {
    const NAME: &str = "WITHDRAW_SUPPORTED";
    let missing = "this implementation of the pool returns no part of the principal: only an exit returns it, as a whole";
    let unknown = "nothing is known of this implementation, the first ones return no part of the principal: the simulation decides";
    let refused = |words: &str| check(NAME, "WITHDRAW_UNSUPPORTED", false, words.to_owned());
    let made = match facts.variant {
        Variant::V1 => refused(missing),
        Variant::Unknown => refused(unknown).warn_instead(),
        Variant::Main | Variant::Mainnet => {
            check(NAME, "", true, "a part of the principal can leave".to_owned())
        }
    };
    made.fact("variant", facts.variant.name())
}

pub(super) fn withdraw_throttle(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "WITHDRAW_THROTTLE", |record| {
        let words = format!(
            "the current batch is {}, the last lock, withdrawal or signer update was in {}",
            facts.current_batch, record.updated_batch
        );
        check("WITHDRAW_THROTTLE", "WITHDRAW_THROTTLED", facts.current_batch > record.updated_batch, words)
            .fact("current_batch", facts.current_batch)
            .fact("updated_batch", record.updated_batch)
    })
}

pub(super) fn leaves_minimum(operation: &Operation, facts: &Facts) -> Check {
    with_record(facts, "LEAVES_MINIMUM", |record| {
        let amount = operation.amount();
        let available = record.amount.checked_sub(facts.min_lock).unwrap_or(Metis::ZERO);
        let holds = amount > Metis::ZERO && amount <= available;
        let words = format!("{amount} METIS asked, {available} can leave above the minimum lock");
        check("LEAVES_MINIMUM", "WITHDRAW_ABOVE_AVAILABLE", holds, words)
            .fact("locked_wei", record.amount.wei_string())
            .fact("min_lock_wei", facts.min_lock.wei_string())
            .fact("available_wei", available.wei_string())
    })
}

/// The contract would succeed silently and keep the ETH; for us that is a failure (P 1.10).
pub(super) fn reward_there(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, names::REWARD_THERE, |record| {
        let holds = record.reward > Metis::ZERO;
        check(names::REWARD_THERE, "NO_REWARD", holds, format!("{} METIS unclaimed", record.reward))
            .fact("reward_wei", record.reward.wei_string())
    })
}

pub(super) fn signer_throttle(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "SIGNER_THROTTLE", |record| {
        let first = record.updated_batch.0.saturating_add(facts.signer_update_throttle);
        let words =
            format!("the current batch is {}, a new signer is allowed from {first}", facts.current_batch);
        check("SIGNER_THROTTLE", "SIGNER_UPDATE_THROTTLED", facts.current_batch.0 >= first, words)
            .fact("current_batch", facts.current_batch)
            .fact("updated_batch", record.updated_batch)
            .fact("throttle_batches", facts.signer_update_throttle)
    })
}

pub(super) fn exit_allowed(_: &Operation, facts: &Facts) -> Check {
    let holds = exit::allowed(facts.active, facts.exiting);
    let words = format!(
        "{} active, {} exiting, {} more may exit under the BFT rule",
        facts.active,
        facts.exiting,
        exit::capacity(facts.active, facts.exiting)
    );
    let made = match facts.variant {
        Variant::Mainnet => check("EXIT_ALLOWED", "EXIT_RESTRICTED", holds, words),
        Variant::Main => check("EXIT_ALLOWED", "", true, "this contract has no BFT rule".to_owned()),
        // The simulation decides where the implementation is not known.
        _ => check("EXIT_ALLOWED", "EXIT_RESTRICTED", holds, words).warn_instead(),
    };
    made.fact("active", facts.active).fact("exiting", facts.exiting)
}

pub(super) fn exit_over(_: &Operation, facts: &Facts) -> Check {
    with_record(facts, "EXIT_OVER", |record| {
        if record.status != Status::Inactive {
            let words = format!("the contract's status is {:?}", record.status);
            return check("EXIT_OVER", "NOT_EXITING", false, words)
                .fact("status", format!("{:?}", record.status).to_uppercase());
        }
        let words = format!(
            "withdrawable from {} on, the block's time is {}",
            record.unlock_claim_time, facts.block_time
        );
        check("EXIT_OVER", "EXIT_PERIOD_NOT_OVER", record.unlock_claim_time <= facts.block_time, words)
            .fact("unlock_claim_time", record.unlock_claim_time)
            .fact("block_time", facts.block_time)
    })
}

pub(super) fn new_owner_given(operation: &Operation, _: &Facts) -> Check {
    let new_owner = operation.new_owner();
    check(
        "NEW_OWNER_GIVEN",
        "ADDRESS_ZERO",
        new_owner != Address::ZERO,
        format!("the new owner is {new_owner}"),
    )
    .fact("new_owner", new_owner)
}

pub(super) fn new_owner_whitelisted(operation: &Operation, facts: &Facts) -> Check {
    let holds = facts.new_owner_whitelisted;
    let words = if holds { "the new owner is whitelisted" } else { "the new owner is not whitelisted" };
    let made = check("NEW_OWNER_WHITELISTED", "NOT_WHITELISTED", holds, words.to_owned())
        .fact("new_owner", operation.new_owner());
    unless_known(operation, facts, made)
}

/// The mainnet variant lets an owner have two, and then only remembers the last: legal, and a trap.
pub(super) fn new_owner_free(operation: &Operation, facts: &Facts) -> Check {
    let words = match facts.new_owner_sequencer {
        None => "the new owner has no sequencer".to_owned(),
        Some(id) => format!("the new owner has sequencer {id} already, which the pool would forget"),
    };
    let made = check("NEW_OWNER_FREE", "OWNER_HAS_SEQUENCER", facts.new_owner_sequencer.is_none(), words)
        .fact("new_owner", operation.new_owner());
    if facts.variant == Variant::Mainnet { made.warn_instead() } else { unless_known(operation, facts, made) }
}

/// Where the variants differ and ours is not known, the simulation decides.
fn unless_known(operation: &Operation, facts: &Facts, made: Check) -> Check {
    let differs = matches!(operation, Operation::SetOwner { .. });
    let known = matches!(facts.variant, Variant::Main | Variant::Mainnet);
    if differs && !known { made.warn_instead() } else { made }
}

fn with_record(facts: &Facts, name: &'static str, judge: impl FnOnce(&Record) -> Check) -> Check {
    match &facts.record {
        Some(record) => judge(record),
        None => check(name, "SEQUENCER_NOT_LOCKED", false, "nothing is locked yet".to_owned()),
    }
}
