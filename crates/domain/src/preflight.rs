//! Every precondition of every operation as a named check with its verdict and numbers (P 1.10, 1.11),
//! in the order in which the contract looks, so that the first failing check is the revert to expect.
//!
//! Gathering the facts and the simulation at the end belong to the lifecycle service.

mod checks;
mod table;

use std::collections::BTreeMap;

use alloy_primitives::Address;

use crate::amount::{Eth, Metis};
use crate::fee::Oracle;
use crate::ids::{BatchId, SequencerId, Timestamp};
use crate::network::Variant;
use crate::operation::Operation;

pub use table::Source;

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Holds.
    Pass,
    /// Holds, but the operator should know.
    Warn,
    /// Does not hold.
    Fail,
    /// Could not be established.
    Unknown,
}

/// One precondition with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Stable UPPER_SNAKE name.
    pub name: &'static str,
    /// Outcome.
    pub verdict: Verdict,
    /// Registry reason when it does not hold, else empty.
    pub reason: &'static str,
    /// One sentence with the numbers.
    pub message: String,
    /// The values looked at.
    pub facts: BTreeMap<&'static str, String>,
}

/// What became of a signer address on chain: `seqSigners(address)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerUse {
    /// 0: never used.
    Unused,
    /// The signer of this sequencer.
    Of(SequencerId),
    /// 2^256-1: used once, never again.
    Burnt,
}

/// `sequencers(id).status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 1: exiting.
    Inactive,
    /// 2.
    Active,
    /// 3: exited.
    Unlocked,
}

/// `sequencers(id)` as far as the checks need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Id.
    pub id: SequencerId,
    /// Status.
    pub status: Status,
    /// Owner.
    pub owner: Address,
    /// Signer.
    pub signer: Address,
    /// Recipient; may be zero.
    pub recipient: Address,
    /// Principal.
    pub amount: Metis,
    /// Unclaimed reward.
    pub reward: Metis,
    /// Batch of the last lock, withdrawal or signer update.
    pub updated_batch: BatchId,
    /// From when unlockClaim is allowed.
    pub unlock_claim_time: Timestamp,
}

/// A node as the indexer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// No node is registered for the signer.
    Unregistered,
    /// Ready to lock.
    Ready,
    /// Not ready, with the reasons in words.
    NotReady(String),
}

/// All that the checks look at, read at one L1 block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Timestamp of that block.
    pub block_time: Timestamp,
    /// Variant of the pool's implementation.
    pub variant: Variant,
    /// `paused()`.
    pub paused: bool,
    /// `minLock()`.
    pub min_lock: Metis,
    /// `maxLock()`.
    pub max_lock: Metis,
    /// `currentBatch()`.
    pub current_batch: BatchId,
    /// `signerUpdateThrottle()`.
    pub signer_update_throttle: u64,
    /// `seqStatuses(2)`.
    pub active: u64,
    /// `seqStatuses(1)`.
    pub exiting: u64,
    /// Who would send.
    pub sender: Address,
    /// `whitelist(owner)`.
    pub owner_whitelisted: bool,
    /// `seqOwners(owner)`.
    pub owner_sequencer: Option<SequencerId>,
    /// `seqSigners` of the signer to be locked or rotated to; only for these two.
    pub new_signer: SignerUse,
    /// `whitelist(new_owner)`; only for set_owner.
    pub new_owner_whitelisted: bool,
    /// `seqOwners(new_owner)`; only for set_owner.
    pub new_owner_sequencer: Option<SequencerId>,
    /// The position, if there is one.
    pub record: Option<Record>,
    /// METIS of the owner.
    pub balance: Metis,
    /// Allowance of LockingInfo.
    pub allowance: Metis,
    /// ETH of the sender.
    pub eth: Eth,
    /// ETH needed at most: gas at the fee ceiling and value.
    pub eth_needed: Eth,
    /// Prices of the bridge; none where the operation bridges nothing, because there is no reward.
    pub oracle: Option<Oracle>,
    /// Bridge fee that will be sent.
    pub bridge_fee: Eth,
    /// Whether a drill has proven the backup of the signer's key; none for external keys.
    pub backup_proven: Option<bool>,
    /// The node of the signer to be locked or rotated to; only for these two.
    pub node: NodeState,
    /// Another managed operation of this sequencer that is not final, by id.
    pub open_operation: Option<String>,
    /// Another prepared one, which a wallet may send at any time, by id.
    pub open_prepared: Option<String>,
}

/// All checks of an operation, in the contract's order; what the contract does not ask comes last.
pub fn preflight(operation: &Operation, facts: &Facts) -> Vec<Check> {
    table::rows(operation, facts.variant).iter().map(|row| (row.look)(operation, facts)).collect()
}

/// Who would refuse if a check of this name fails.
pub fn source(check: &str) -> Source {
    table::source(check)
}

/// Whether nothing stands in the way.
pub fn passes(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.verdict != Verdict::Fail)
}

#[cfg(test)]
mod tests;
