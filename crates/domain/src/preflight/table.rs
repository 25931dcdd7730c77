//! Which checks each operation has, in the order in which the contract makes them (P 1.10), by variant (P 1.11).

use super::checks::{self as look, names};
use super::{Check, Facts};
use crate::network::Variant;
use crate::operation::Operation;

/// Who refuses when a check does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The contracts revert.
    Contract,
    /// No node takes the transaction.
    Node,
    /// Nobody but us: what would succeed, and be a mistake.
    Ours,
}

/// One row of the table.
pub(super) struct Row {
    /// Makes the check.
    pub look: fn(&Operation, &Facts) -> Check,
}

macro_rules! rows {
    ($($look:path),+ $(,)?) => { &[$(Row { look: $look }),+] };
}

const LOCK: &[Row] = rows![
    look::not_paused,
    look::whitelisted,
    look::owner_free,
    look::signer_unused,
    look::in_range,
    look::allowance,
    look::balance,
    look::lock_recipient,
    look::eth,
    look::backup,
    look::node,
    look::nothing_open,
];

const INCREASE: &[Row] = rows![
    look::not_paused,
    look::whitelisted,
    look::active,
    look::owned,
    look::under_cap,
    look::adds_something,
    look::allowance,
    look::balance,
    look::eth,
    look::nothing_open,
];

const WITHDRAW: &[Row] = rows![
    look::withdraw_supported,
    look::not_paused,
    look::whitelisted,
    look::active,
    look::owned,
    look::withdraw_throttle,
    look::leaves_minimum,
    look::eth,
    look::nothing_open,
];

const CLAIM: &[Row] = rows![
    look::not_paused,
    look::whitelisted,
    look::active,
    look::owned,
    look::recipient_set,
    look::reward_there,
    look::bridge_fee,
    look::eth,
    look::nothing_open,
];

// Works while paused (P 1.3).
const SET_RECIPIENT: &[Row] = rows![
    look::whitelisted,
    look::active,
    look::owned,
    look::recipient_given,
    look::eth,
    look::nothing_open,
];

// Works while paused; asks about the new owner before anything else (P 1.10).
const SET_OWNER_MAIN: &[Row] = rows![
    look::new_owner_given,
    look::new_owner_whitelisted,
    look::new_owner_free,
    look::active,
    look::owned,
    look::eth,
    look::nothing_open,
];

// Asks about the caller, and nothing of the new owner, which may so come to own two.
const SET_OWNER_MAINNET: &[Row] = rows![
    look::whitelisted,
    look::new_owner_given,
    look::active,
    look::owned,
    look::new_owner_free,
    look::eth,
    look::nothing_open,
];

// Both sets of rules as warnings: the simulation decides.
const SET_OWNER_UNKNOWN: &[Row] = rows![
    look::new_owner_given,
    look::whitelisted,
    look::new_owner_whitelisted,
    look::new_owner_free,
    look::active,
    look::owned,
    look::eth,
    look::nothing_open,
];

// The caller's place on the whitelist is not asked for (P 1.3).
const ROTATE_SIGNER: &[Row] = rows![
    look::not_paused,
    look::active,
    look::sent_by_signer,
    look::signer_throttle,
    look::signer_unused,
    look::eth,
    look::backup,
    look::node,
    look::nothing_open,
];

const UNLOCK: &[Row] = rows![
    look::not_paused,
    look::whitelisted,
    look::active,
    look::owned,
    look::exit_allowed,
    look::recipient_set,
    look::bridge_fee,
    look::eth,
    look::nothing_open,
];

const WITHDRAW_FINAL: &[Row] = rows![
    look::not_paused,
    look::whitelisted,
    look::owned,
    look::recipient_set,
    look::exit_over,
    look::bridge_fee,
    look::eth,
    look::nothing_open,
];

/// The rows of an operation.
pub(super) const fn rows(operation: &Operation, variant: Variant) -> &'static [Row] {
    match operation {
        Operation::Lock { .. } => LOCK,
        Operation::Increase { .. } => INCREASE,
        Operation::Withdraw { .. } => WITHDRAW,
        Operation::Claim { .. } => CLAIM,
        Operation::SetRecipient { .. } => SET_RECIPIENT,
        Operation::SetOwner { .. } => match variant {
            Variant::Mainnet => SET_OWNER_MAINNET,
            Variant::Main => SET_OWNER_MAIN,
            _ => SET_OWNER_UNKNOWN,
        },
        Operation::RotateSigner { .. } => ROTATE_SIGNER,
        Operation::Unlock { .. } => UNLOCK,
        Operation::WithdrawFinal { .. } => WITHDRAW_FINAL,
    }
}

/// Who refuses when the check of this name fails.
pub(super) fn source(check: &str) -> Source {
    match check {
        names::ETH_BALANCE => Source::Node,
        names::RECIPIENT_GIVEN_AT_LOCK
        | names::REWARD_THERE
        | names::BACKUP_PROVEN
        | names::NODE_READY
        | names::NOTHING_OPEN => Source::Ours,
        _ => Source::Contract,
    }
}
