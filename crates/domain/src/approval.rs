//! Who else must say yes before an operation is signed, and to exactly what.
//!
//! The rules are the operator's; which of them apply is decided at intake and kept with the operation, so that a later
//! change of the rules weakens nothing that was asked for before.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Keccak256};
use serde::{Deserialize, Serialize};

use crate::amount::Metis;
use crate::operation::Operation;

/// What the identities of people begin with. Any other speaks for somebody whom it does not name: the gateway for its API
/// keys, a service for its rules.
pub const PERSON: &str = "operator:";

/// Separates these digests from every other use of keccak256.
/// Version 1 left out account and words: whoever approved under it is asked again.
const OPERATION_TAG: &[u8] = b"sequencer.lifecycle.operation.v2";

/// When others must approve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Names of operations; empty for all.
    pub kinds: BTreeSet<String>,
    /// The sequencer has all of these; empty for every sequencer.
    pub labels: BTreeMap<String, String>,
    /// Only for operations that move at least this much; none for all, also those that move nothing.
    pub amount_from: Option<Metis>,
    /// What it asks for then.
    pub requirement: Requirement,
}

/// So many of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// Different identities.
    pub needed: u32,
    /// Who may decide; empty for everyone who may approve at all.
    pub approvers: BTreeSet<String>,
}

impl Requirement {
    /// Whether this identity counts for it.
    pub fn admits(&self, identity: &str) -> bool {
        self.approvers.is_empty() || self.approvers.contains(identity)
    }

    /// How many of those who approved count for it.
    pub fn have(&self, approved: &BTreeSet<String>) -> u32 {
        let count = approved.iter().filter(|identity| self.admits(identity)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Why a rule can never be met or says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleInvalid {
    /// Zero approvals are no rule.
    #[error("a rule needs at least one approval")]
    NothingNeeded,
    /// There are fewer approvers than it needs.
    #[error("{needed} approvals are needed, but only {approvers} may approve")]
    TooFewApprovers {
        /// Needed.
        needed: u32,
        /// Named.
        approvers: usize,
    },
    /// Who is not named could be anybody, also whoever asked.
    #[error("`{0}` is no person: name approvers as operator:alice")]
    NoPerson(String),
    /// A typo would leave the operation unguarded.
    #[error("`{0}` is no operation")]
    UnknownKind(String),
}

impl Rule {
    /// Whether it can be met and means something.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), RuleInvalid> {
        let Requirement { needed, approvers } = &self.requirement;
        if *needed == 0 {
            return Err(RuleInvalid::NothingNeeded);
        }
        if !approvers.is_empty() && approvers.len() < *needed as usize {
            return Err(RuleInvalid::TooFewApprovers { needed: *needed, approvers: approvers.len() });
        }
        if let Some(other) = approvers.iter().find(|approver| !approver.starts_with(PERSON)) {
            return Err(RuleInvalid::NoPerson(other.clone()));
        }
        match self.kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            Some(kind) => Err(RuleInvalid::UnknownKind(kind.clone())),
            None => Ok(()),
        }
    }

    fn applies(&self, kind: &str, labels: &BTreeMap<String, String>, amount: Metis) -> bool {
        let kinds = self.kinds.is_empty() || self.kinds.contains(kind);
        let labelled = self.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        kinds && labelled && self.amount_from.is_none_or(|from| amount >= from)
    }
}

/// The nine, as [`Operation::name`] gives them.
const KINDS: [&str; 9] = [
    "lock",
    "increase",
    "withdraw",
    "claim",
    "set_recipient",
    "set_owner",
    "rotate_signer",
    "unlock",
    "withdraw_final",
];

/// What all the rules that apply ask for; each must be met.
pub fn required(
    rules: &[Rule],
    kind: &str,
    labels: &BTreeMap<String, String>,
    amount: Metis,
) -> BTreeSet<Requirement> {
    let apply = rules.iter().filter(|rule| rule.applies(kind, labels, amount));
    apply.map(|rule| rule.requirement.clone()).collect()
}

/// Those of a sequencer's labels that rules match: without one of them it might need fewer approvals.
pub fn guarded_labels<'a>(
    rules: &'a [Rule],
    labels: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let is_named = |label: &(_, _)| rules.iter().any(|rule| rule.labels.iter().any(|named| named == *label));
    labels.iter().filter(is_named)
}

/// METIS that an operation moves or gives away, for `amount_from`: what it names, the reward it takes along, and for an
/// exit or a new owner the whole principal.
pub fn amount_at_stake(operation: &Operation, principal: Metis, reward: Metis) -> Metis {
    let sum = |one: Metis, other: Metis| one.checked_add(other).unwrap_or(Metis::MAX);
    match operation {
        Operation::Lock { amount, .. } | Operation::Withdraw { amount } => *amount,
        Operation::Increase { amount, with_rewards: false } => *amount,
        Operation::Increase { amount, with_rewards: true } => sum(*amount, reward),
        Operation::Claim { .. } => reward,
        Operation::Unlock { .. } | Operation::WithdrawFinal { .. } | Operation::SetOwner { .. } => {
            sum(principal, reward)
        }
        Operation::SetRecipient { .. } | Operation::RotateSigner { .. } => Metis::ZERO,
    }
}

/// The first requirement that these approvals do not meet, with how many count for it.
pub fn unmet<'a>(
    requirements: &'a BTreeSet<Requirement>,
    approved: &BTreeSet<String>,
) -> Option<(&'a Requirement, u32)> {
    requirements.iter().map(|one| (one, one.have(approved))).find(|(one, have)| *have < one.needed)
}

/// Why somebody may not decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MayNotDecide {
    /// It speaks for others and does not say for whom.
    #[error("{0} speaks for others: a decision needs the person's own certificate")]
    NoPerson(String),
    /// Four eyes are two pairs.
    #[error("{0} asked for it and cannot approve it")]
    Requester(String),
    /// No rule that applies names them.
    #[error("{0} is not among those who may decide")]
    NotAnApprover(String),
}

/// Whether `identity` may decide about what `requester` asked for.
///
/// # Errors
/// Why not.
pub fn may_decide(
    requirements: &BTreeSet<Requirement>,
    requester: &str,
    identity: &str,
) -> Result<(), MayNotDecide> {
    if !identity.starts_with(PERSON) {
        return Err(MayNotDecide::NoPerson(identity.to_owned()));
    }
    if requester == identity {
        return Err(MayNotDecide::Requester(identity.to_owned()));
    }
    if !requirements.iter().any(|one| one.admits(identity)) {
        return Err(MayNotDecide::NotAnApprover(identity.to_owned()));
    }
    Ok(())
}

/// Everything that makes two operations the same to whoever approves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<'a> {
    /// Network.
    pub network: &'a str,
    /// Sequencer in the register.
    pub sequencer: [u8; 16],
    /// Name of the operation.
    pub kind: &'a str,
    /// Who sends it.
    pub account: Address,
    /// The parameters as they were asked, in canonical bytes.
    pub parameters: &'a [u8],
    /// What they came to, in words: with the recipient and the signer that they only imply.
    pub words: &'a str,
    /// Recipient to be set first; empty if none.
    pub recipient_if_unset: &'a [u8],
    /// MANAGED or PREPARED.
    pub mode: &'a str,
    /// Microseconds since 1970, as stored.
    pub not_before: Option<i64>,
    /// Microseconds since 1970, as stored.
    pub deadline: Option<i64>,
}

/// Digest of an operation's content: what an approval is bound to.
pub fn digest(content: &Content<'_>) -> B256 {
    let Content { network, sequencer, kind, account, parameters, words, .. } = content;
    let Content { recipient_if_unset, mode, not_before, deadline, .. } = content;
    let time = |at: &Option<i64>| at.map(|at| at.to_be_bytes().to_vec()).unwrap_or_default();
    digest_of([
        OPERATION_TAG,
        network.as_bytes(),
        sequencer.as_slice(),
        kind.as_bytes(),
        account.as_slice(),
        parameters,
        words.as_bytes(),
        recipient_if_unset,
        mode.as_bytes(),
        &time(not_before),
        &time(deadline),
    ])
}

/// Digest of fields, each with its length, so that none can be mistaken for part of another. The first one says what
/// it is the digest of.
pub fn digest_of<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> B256 {
    let mut hasher = Keccak256::new();
    for field in fields {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests;
