//! Checks of what is around the contract: the sender's ETH, the signer's backup and node, and other operations.

use super::{check, names};
use crate::operation::Operation;
use crate::preflight::{Check, Facts, NodeState, Verdict};

pub(in crate::preflight) fn eth(_: &Operation, facts: &Facts) -> Check {
    let words = format!(
        "the sender has {} ETH, at most {} are needed, {} of them for the bridge",
        facts.eth, facts.eth_needed, facts.bridge_fee
    );
    check(names::ETH_BALANCE, "ETH_TOO_LOW", facts.eth >= facts.eth_needed, words)
        .fact("eth_wei", facts.eth.wei_string())
        .fact("eth_needed_wei", facts.eth_needed.wei_string())
        .fact("bridge_fee_wei", facts.bridge_fee.wei_string())
}

pub(in crate::preflight) fn backup(_: &Operation, facts: &Facts) -> Check {
    let (verdict, reason, words) = match facts.backup_proven {
        None => (Verdict::Warn, "", "the signer's key is not ours: its backup is not known"),
        Some(true) => (Verdict::Pass, "", "a restore drill has proven the backup"),
        Some(false) => {
            (Verdict::Fail, "BACKUP_UNPROVEN", "no restore drill has proven the backup of the signer's key")
        }
    };
    Check {
        name: names::BACKUP_PROVEN,
        verdict,
        reason,
        message: words.to_owned(),
        facts: Default::default(),
    }
}

/// Insisted on before METIS is locked, unless a reason is given; before a rotation it is only worth knowing.
pub(in crate::preflight) fn node(operation: &Operation, facts: &Facts) -> Check {
    let (holds, words) = match &facts.node {
        NodeState::Ready => (true, "the node is in sync".to_owned()),
        NodeState::Unregistered => (false, "no node is registered for the signer".to_owned()),
        NodeState::NotReady(why) => (false, format!("the node is not ready: {why}")),
    };
    match operation {
        Operation::Lock { override_node: Some(reason), .. } if !holds => {
            let words = format!("{words}; overridden: {reason}");
            check(names::NODE_READY, "NODE_NOT_READY", false, words).fact("override", reason).warn_instead()
        }
        Operation::RotateSigner { .. } => {
            check(names::NODE_READY, "NODE_NOT_READY", holds, words).warn_instead()
        }
        _ => check(names::NODE_READY, "NODE_NOT_READY", holds, words),
    }
}

/// What a wallet may send cannot be kept back, and may never come: it is only worth knowing.
pub(in crate::preflight) fn nothing_open(_: &Operation, facts: &Facts) -> Check {
    let open =
        |id, words| check(names::NOTHING_OPEN, "OPERATION_IN_FLIGHT", false, words).fact("operation", id);
    match (&facts.open_operation, &facts.open_prepared) {
        (Some(id), _) => open(id, format!("operation {id} is not finished")),
        (None, Some(id)) => {
            let words = format!("operation {id} is prepared: its wallet may send it at any time");
            open(id, words).warn_instead()
        }
        (None, None) => check(names::NOTHING_OPEN, "", true, "no other operation is open".to_owned()),
    }
}
