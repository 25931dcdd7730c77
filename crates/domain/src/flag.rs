//! Conditions beside the phase that an operator must know, each with its reason.

use alloy_primitives::Address;

use crate::amount::{Eth, Metis};
use crate::exit;
use crate::phase::Phase;

/// A condition that is not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// The owner is not whitelisted while METIS is locked: claim and exit are blocked too.
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
    /// The contract's counter and that of themis, where both are known.
    pub nonces: Option<Nonces>,
    /// Principal, unclaimed reward and maxLock.
    pub lock: Option<(Metis, Metis, Metis)>,
    /// Active and exiting sequencers, where the BFT rule applies (P 1.11).
    pub bft: Option<(u64, u64)>,
    /// The last re-span that displaced the signer, in words.
    pub missed_turn: Option<String>,
    /// ETH of the owner and the least it should have; none for accounts that we do not send from.
    pub eth: Option<(Eth, Eth)>,
}

/// The counters of operations that should agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonces {
    /// The contract's, now.
    pub now: u64,
    /// The contract's at the last block that themis must have taken in: it waits for confirmations (P 3.6).
    pub settled: u64,
    /// Of the validator record.
    pub themis: u64,
}

impl Nonces {
    /// Whether themis is behind what it must have seen, or ahead of what there is.
    pub const fn drift(self) -> bool {
        self.themis < self.settled || self.themis > self.now
    }
}

/// The flags that stand, each with its reason.
pub fn flags(conditions: &Conditions) -> Vec<(Flag, String)> {
    let mut raised = of_the_contract(conditions);
    raised.extend(of_the_operation(conditions));
    raised
}

/// What the contract's state says.
fn of_the_contract(conditions: &Conditions) -> Vec<(Flag, String)> {
    let Conditions { phase, whitelisted, paused, recipient, lock, bft, .. } = conditions;
    let earning = matches!(phase, Phase::Locked | Phase::Active);
    let mut raised = Vec::new();
    if phase.holds_lock() && !whitelisted {
        let why = "the owner is not whitelisted: claim, exit and withdrawal revert";
        raised.push((Flag::Dewhitelisted, why.to_owned()));
    }
    if *paused && *phase != Phase::Withdrawn {
        raised.push((Flag::Paused, "the pool is paused".to_owned()));
    }
    if phase.holds_lock() && *recipient == Some(Address::ZERO) {
        let why = "the reward recipient is empty: claim and exit revert";
        raised.push((Flag::NoRecipient, why.to_owned()));
    }
    if let Some((amount, reward, max)) = lock.filter(|_| earning)
        && amount.checked_add(reward).is_none_or(|sum| sum > max)
    {
        let why = format!(
            "{amount} METIS and {reward} of reward are more than {max}: converting the reward reverts"
        );
        raised.push((Flag::CapExceeded, why));
    }
    if let Some((active, exiting)) = bft.filter(|_| earning)
        && !exit::allowed(active, exiting)
    {
        let why = format!("the BFT rule allows no further exit: {active} are active, {exiting} are exiting");
        raised.push((Flag::ExitBlocked, why));
    }
    raised
}

/// What nodes, keys and accounts say.
fn of_the_operation(conditions: &Conditions) -> Vec<(Flag, String)> {
    let Conditions { phase, backup_proven, node_problem, nonces, missed_turn, eth, .. } = conditions;
    let mut raised = Vec::new();
    if *phase == Phase::Withdrawn {
        return raised;
    }
    let earning = matches!(phase, Phase::Locked | Phase::Active);
    if *backup_proven == Some(false) {
        let why = "no restore drill has proven the backup of the signer's key";
        raised.push((Flag::BackupUnproven, why.to_owned()));
    }
    if let Some(Some(problem)) = node_problem {
        raised.push((Flag::NodeNotReady, problem.clone()));
    }
    if let Some(turn) = missed_turn.as_ref().filter(|_| earning) {
        raised.push((Flag::MissedTurn, turn.clone()));
    }
    if let Some(nonces) = nonces.filter(|nonces| earning && nonces.drift()) {
        let Nonces { now, settled, themis } = nonces;
        let why =
            format!("themis knows nonce {themis}, the contract has {now} and had {settled} long enough ago");
        raised.push((Flag::NonceDrift, why));
    }
    if let Some((has, least)) = eth.filter(|(has, least)| has < least) {
        raised.push((Flag::LowEth, format!("the owner has {has} ETH, less than {least}")));
    }
    raised
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
            nonces: Some(Nonces { now: 2, settled: 1, themis: 1 }),
            lock: Some((Metis(U256::from(5)), Metis(U256::from(5)), Metis(U256::from(10)))),
            bft: Some((10, 0)),
            missed_turn: None,
            eth: Some((Eth::wei(5), Eth::wei(5))),
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
            (
                Flag::NonceDrift,
                Conditions { nonces: Some(Nonces { now: 3, settled: 2, themis: 1 }), ..healthy() },
            ),
            (
                Flag::NonceDrift,
                Conditions { nonces: Some(Nonces { now: 3, settled: 2, themis: 4 }), ..healthy() },
            ),
            (Flag::LowEth, Conditions { eth: Some((Eth::wei(4), Eth::wei(5))), ..healthy() }),
            (
                Flag::CapExceeded,
                Conditions {
                    lock: Some((Metis(U256::from(6)), Metis(U256::from(5)), Metis(U256::from(10)))),
                    ..healthy()
                },
            ),
            (Flag::ExitBlocked, Conditions { bft: Some((7, 3)), ..healthy() }),
        ];
        for (flag, conditions) in cases {
            let raised: Vec<_> = flags(&conditions).into_iter().map(|(flag, _)| flag).collect();
            assert_eq!(raised, vec![flag]);
        }
    }

    #[test]
    fn every_flag_says_why() {
        let worst = Conditions {
            whitelisted: false,
            paused: true,
            recipient: Some(Address::ZERO),
            backup_proven: Some(false),
            node_problem: Some(Some("down".into())),
            nonces: Some(Nonces { now: 3, settled: 2, themis: 1 }),
            lock: Some((Metis(U256::MAX), Metis(U256::MAX), Metis(U256::MAX))),
            bft: Some((1, 0)),
            missed_turn: Some("epoch 4".into()),
            eth: Some((Eth::ZERO, Eth::wei(5))),
            ..healthy()
        };
        let raised = flags(&worst);
        assert_eq!(raised.len(), 10, "all of them");
        assert!(raised.iter().all(|(_, why)| !why.is_empty()));
    }

    #[test]
    fn a_withdrawn_sequencer_worries_nobody() {
        let gone = Conditions {
            phase: Phase::Withdrawn,
            whitelisted: false,
            paused: true,
            eth: Some((Eth::ZERO, Eth::wei(5))),
            bft: Some((1, 0)),
            ..healthy()
        };
        assert_eq!(flags(&gone), vec![]);
    }
}
