//! Conditions beside the phase that an operator must know, each with its reason.

use alloy_primitives::Address;

use crate::amount::Metis;
use crate::phase::Phase;

/// A condition that is not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// The owner lost the whitelist while METIS is locked: claim and exit are blocked too.
    Dewhitelisted,
    /// The pool is paused.
    Paused,
    /// The reward recipient is empty: claim and exit revert.
    NoRecipient,
    /// No drill has proven the backup of the signer's key.
    BackupUnproven,
    /// The node is not in sync.
    NodeNotReady,
    /// The signer was displaced by a re-span.
    MissedTurn,
    /// The consensus layer's nonce is not the contract's.
    NonceDrift,
    /// An account has too little ETH.
    LowEth,
    /// Principal and reward together exceed maxLock: a full compound would revert.
    CapExceeded,
    /// The BFT rule allows no exit now.
    ExitBlocked,
}

impl Flag {
    /// Stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dewhitelisted => "DEWHITELISTED",
            Self::Paused => "PAUSED",
            Self::NoRecipient => "NO_RECIPIENT",
            Self::BackupUnproven => "BACKUP_UNPROVEN",
            Self::NodeNotReady => "NODE_NOT_READY",
            Self::MissedTurn => "MISSED_TURN",
            Self::NonceDrift => "NONCE_DRIFT",
            Self::LowEth => "LOW_ETH",
            Self::CapExceeded => "CAP_EXCEEDED",
            Self::ExitBlocked => "EXIT_BLOCKED",
        }
    }
}

/// What the flags are made of; `None` is unknown and raises nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Phase.
    pub phase: Phase,
    /// `whitelist(owner)`.
    pub whitelisted: bool,
    /// `paused()`.
    pub paused: bool,
    /// Recipient on chain; none before the lock.
    pub recipient: Option<Address>,
    /// Whether the signer's backup is proven; none for external keys.
    pub backup_proven: Option<bool>,
    /// The node's problem in words; `Some(None)` is a ready node, `None` no node or no probe yet.
    pub node_problem: Option<Option<String>>,
    /// L1 nonce and themis nonce, where both are known.
    pub nonces: Option<(u64, u64)>,
    /// Principal, unclaimed reward and maxLock.
    pub lock: Option<(Metis, Metis, Metis)>,
    /// The BFT rule applies and allows no exit.
    pub exit_blocked: bool,
    /// The last re-span that displaced the signer, in words.
    pub missed_turn: Option<String>,
}

/// The flags that stand, each with its reason.
pub fn flags(conditions: &Conditions) -> Vec<(Flag, String)> {
    let holds_lock = conditions.phase.holds_lock();
    let earning = matches!(conditions.phase, Phase::Locked | Phase::Active);
    let mut flags = Vec::new();
    let mut raise = |condition: bool, flag: Flag, reason: &dyn Fn() -> String| {
        if condition {
            flags.push((flag, reason()));
        }
    };
    raise(holds_lock && !conditions.whitelisted, Flag::Dewhitelisted, &|| {
        "the owner is no longer whitelisted: claim, exit and withdrawal revert".to_owned()
    });
    raise(conditions.paused && conditions.phase != Phase::Withdrawn, Flag::Paused, &|| {
        "the pool is paused".to_owned()
    });
    raise(holds_lock && conditions.recipient == Some(Address::ZERO), Flag::NoRecipient, &|| {
        "the reward recipient is empty: claim and exit revert".to_owned()
    });
    raise(
        conditions.backup_proven == Some(false) && conditions.phase != Phase::Withdrawn,
        Flag::BackupUnproven,
        &|| "no restore drill has proven the backup of the signer's key".to_owned(),
    );
    if let Some(Some(problem)) = &conditions.node_problem {
        raise(!matches!(conditions.phase, Phase::Withdrawn), Flag::NodeNotReady, &|| problem.clone());
    }
    if let Some(turn) = &conditions.missed_turn {
        raise(earning, Flag::MissedTurn, &|| turn.clone());
    }
    if let Some((chain, themis)) = conditions.nonces {
        raise(earning && chain != themis, Flag::NonceDrift, &|| {
            format!("themis knows nonce {themis}, the contract has {chain}")
        });
    }
    if let Some((amount, reward, max)) = conditions.lock {
        let over = amount.checked_add(reward).is_none_or(|sum| sum > max);
        raise(earning && over, Flag::CapExceeded, &|| {
            format!(
                "{amount} METIS and {reward} of reward are more than {max}: converting the reward reverts"
            )
        });
    }
    raise(earning && conditions.exit_blocked, Flag::ExitBlocked, &|| {
        "the BFT rule allows no further exit now".to_owned()
    });
    flags
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    fn healthy() -> Conditions {
        Conditions {
            phase: Phase::Active,
            whitelisted: true,
            paused: false,
            recipient: Some(Address::repeat_byte(1)),
            backup_proven: Some(true),
            node_problem: Some(None),
            nonces: Some((1, 1)),
            lock: Some((Metis(U256::from(5)), Metis(U256::from(5)), Metis(U256::from(10)))),
            exit_blocked: false,
            missed_turn: None,
        }
    }

    #[test]
    fn a_healthy_sequencer_has_no_flag() {
        assert_eq!(flags(&healthy()), vec![]);
    }

    #[test]
    fn each_condition_raises_its_flag_alone() {
        let cases: Vec<(Flag, Conditions)> = vec![
            (Flag::Dewhitelisted, Conditions { whitelisted: false, ..healthy() }),
            (Flag::Paused, Conditions { paused: true, ..healthy() }),
            (Flag::NoRecipient, Conditions { recipient: Some(Address::ZERO), ..healthy() }),
            (Flag::BackupUnproven, Conditions { backup_proven: Some(false), ..healthy() }),
            (Flag::NodeNotReady, Conditions { node_problem: Some(Some("down".into())), ..healthy() }),
            (Flag::MissedTurn, Conditions { missed_turn: Some("epoch 4".into()), ..healthy() }),
            (Flag::NonceDrift, Conditions { nonces: Some((2, 1)), ..healthy() }),
            (
                Flag::CapExceeded,
                Conditions {
                    lock: Some((Metis(U256::from(6)), Metis(U256::from(5)), Metis(U256::from(10)))),
                    ..healthy()
                },
            ),
            (Flag::ExitBlocked, Conditions { exit_blocked: true, ..healthy() }),
        ];
        for (flag, conditions) in cases {
            let raised: Vec<_> = flags(&conditions).into_iter().map(|(flag, _)| flag).collect();
            assert_eq!(raised, vec![flag]);
        }
    }

    #[test]
    fn a_withdrawn_sequencer_worries_nobody() {
        let gone = Conditions { phase: Phase::Withdrawn, whitelisted: false, paused: true, ..healthy() };
        assert_eq!(flags(&gone), vec![]);
    }
}
