//! Conditions beside the phase that an operator must know, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

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
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Dewhitelisted,
        Self::Paused,
        Self::NoRecipient,
        Self::BackupUnproven,
        Self::NodeNotReady,
        Self::MissedTurn,
        Self::NonceDrift,
        Self::LowEth,
        Self::CapExceeded,
        Self::ExitBlocked,
    ];

    /// The flag of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.name() == name)
    }

    /// Whether it can stand in this phase at all.
    pub const fn concerns(self, phase: Phase) -> bool {
        match self {
            Self::Dewhitelisted | Self::NoRecipient => phase.holds_lock(),
            Self::MissedTurn | Self::NonceDrift | Self::CapExceeded | Self::ExitBlocked => {
                matches!(phase, Phase::Locked | Phase::Active)
            }
            Self::Paused | Self::BackupUnproven | Self::NodeNotReady | Self::LowEth => {
                !matches!(phase, Phase::Withdrawn)
            }
        }
    }

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

/// What the flags are made of. `None` raises nothing; where the reason is that somebody did not answer, the flag is
/// among those that [`after_look`] is told to leave as they are.
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
    /// ETH of the accounts that we send from.
    pub purses: Vec<Purse>,
}

/// ETH of an account that we send from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// Whose it is.
    pub sender: Sender,
    /// What it holds.
    pub has: Eth,
    /// The least it should hold.
    pub least: Eth,
}

/// Who sends the transactions of a sequencer: the owner all but the rotation, which its signer sends (P 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The owner.
    Owner,
    /// The current signer.
    Signer,
}

impl Sender {
    const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Signer => "signer",
        }
    }
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

/// The flags that stand after a look, by name and each with its reason. Those of `unknown`, whose sources did not
/// answer, stay as they stood `before`: silence is no good news.
pub fn after_look(
    conditions: &Conditions,
    unknown: &BTreeSet<Flag>,
    before: impl IntoIterator<Item = (Flag, String)>,
) -> BTreeMap<&'static str, String> {
    let stays = |flag: &Flag| unknown.contains(flag) && flag.concerns(conditions.phase);
    let kept = before.into_iter().filter(|(flag, _)| stays(flag));
    kept.chain(flags(conditions)).map(|(flag, why)| (flag.name(), why)).collect()
}

/// The flags that the conditions raise, each with its reason.
pub fn flags(conditions: &Conditions) -> Vec<(Flag, String)> {
    let mut raised = of_the_contract(conditions);
    raised.extend(of_the_operation(conditions));
    raised.retain(|(flag, _)| flag.concerns(conditions.phase));
    raised
}

/// What the contract's state says.
fn of_the_contract(conditions: &Conditions) -> Vec<(Flag, String)> {
    let Conditions { whitelisted, paused, recipient, lock, bft, .. } = conditions;
    let mut raised = Vec::new();
    if !whitelisted {
        let why = "the owner is not whitelisted: claim, exit and withdrawal revert";
        raised.push((Flag::Dewhitelisted, why.to_owned()));
    }
    if *paused {
        raised.push((Flag::Paused, "the pool is paused".to_owned()));
    }
    if *recipient == Some(Address::ZERO) {
        let why = "the reward recipient is empty: claim and exit revert";
        raised.push((Flag::NoRecipient, why.to_owned()));
    }
    if let Some((amount, reward, max)) = lock
        && amount.checked_add(*reward).is_none_or(|sum| sum > *max)
    {
        let why = format!(
            "{amount} METIS and {reward} of reward are more than {max}: converting the reward reverts"
        );
        raised.push((Flag::CapExceeded, why));
    }
    if let Some((active, exiting)) = *bft
        && !exit::allowed(active, exiting)
    {
        let why = format!("the BFT rule allows no further exit: {active} are active, {exiting} are exiting");
        raised.push((Flag::ExitBlocked, why));
    }
    raised
}

/// What nodes, keys and accounts say.
fn of_the_operation(conditions: &Conditions) -> Vec<(Flag, String)> {
    let Conditions { backup_proven, node_problem, nonces, missed_turn, purses, .. } = conditions;
    let mut raised = Vec::new();
    if *backup_proven == Some(false) {
        let why = "no restore drill has proven the backup of the signer's key";
        raised.push((Flag::BackupUnproven, why.to_owned()));
    }
    if let Some(Some(problem)) = node_problem {
        raised.push((Flag::NodeNotReady, problem.clone()));
    }
    if let Some(turn) = missed_turn {
        raised.push((Flag::MissedTurn, turn.clone()));
    }
    if let Some(nonces) = nonces.filter(|nonces| nonces.drift()) {
        let Nonces { now, settled, themis } = nonces;
        let why =
            format!("themis knows nonce {themis}, the contract has {now} and had {settled} long enough ago");
        raised.push((Flag::NonceDrift, why));
    }
    let low = purses.iter().filter(|purse| purse.has < purse.least);
    let low: Vec<String> = low
        .map(|Purse { sender, has, least }| format!("the {} has {has} ETH, less than {least}", sender.name()))
        .collect();
    if !low.is_empty() {
        raised.push((Flag::LowEth, low.join("; ")));
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
            purses: vec![purse(Sender::Owner, 5), purse(Sender::Signer, 5)],
        }
    }

    /// It should hold 5.
    fn purse(sender: Sender, has: u64) -> Purse {
        Purse { sender, has: Eth::wei(has), least: Eth::wei(5) }
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
            (Flag::LowEth, Conditions { purses: vec![purse(Sender::Owner, 4)], ..healthy() }),
            (Flag::LowEth, Conditions { purses: vec![purse(Sender::Signer, 4)], ..healthy() }),
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
            purses: vec![purse(Sender::Owner, 0), purse(Sender::Signer, 0)],
            ..healthy()
        };
        let raised = flags(&worst);
        assert_eq!(raised.len(), Flag::ALL.len(), "all of them");
        assert!(raised.iter().all(|(_, why)| !why.is_empty()));
    }

    #[test]
    fn a_withdrawn_sequencer_worries_nobody() {
        let gone = Conditions {
            phase: Phase::Withdrawn,
            whitelisted: false,
            paused: true,
            purses: vec![purse(Sender::Owner, 0), purse(Sender::Signer, 0)],
            bft: Some((1, 0)),
            ..healthy()
        };
        assert_eq!(flags(&gone), vec![]);
    }

    #[test]
    fn too_little_eth_says_whose() {
        let said = |purses| flags(&Conditions { purses, ..healthy() }).pop().map(|(_, why)| why);
        let owner = "the owner has 0.000000000000000004 ETH, less than 0.000000000000000005";
        let signer = "the signer has 0.000000000000000003 ETH, less than 0.000000000000000005";
        assert_eq!(said(vec![purse(Sender::Owner, 4), purse(Sender::Signer, 5)]).as_deref(), Some(owner));
        assert_eq!(said(vec![purse(Sender::Owner, 5), purse(Sender::Signer, 3)]).as_deref(), Some(signer));
        let both = said(vec![purse(Sender::Owner, 4), purse(Sender::Signer, 3)]);
        assert_eq!(both, Some(format!("{owner}; {signer}")));
    }

    #[test]
    fn a_flag_whose_source_is_silent_stays_as_it_was() {
        for flag in Flag::ALL {
            let before = || [(flag, "as told".to_owned())];
            let look = |unknown: BTreeSet<Flag>, phase| {
                after_look(&Conditions { phase, ..healthy() }, &unknown, before())
            };
            let silent = BTreeSet::from([flag]);
            let kept = BTreeMap::from([(flag.name(), "as told".to_owned())]);
            assert_eq!(look(silent.clone(), Phase::Active), kept);
            assert_eq!(look(silent, Phase::Withdrawn), BTreeMap::new(), "{flag:?} of one that has left");
            let others = Flag::ALL.into_iter().filter(|other| *other != flag).collect();
            assert_eq!(look(others, Phase::Active), BTreeMap::new(), "{flag:?} is known to be gone");
            assert_eq!(Flag::by_name(flag.name()), Some(flag));
        }
    }

    #[test]
    fn what_is_known_to_be_wrong_is_said_anew_even_where_more_is_unknown() {
        let conditions = Conditions { purses: vec![purse(Sender::Owner, 4)], ..healthy() };
        let before = [(Flag::LowEth, "the signer has less".to_owned())];
        let after = after_look(&conditions, &BTreeSet::from([Flag::LowEth]), before);
        assert!(after["LOW_ETH"].contains("owner"));
    }
}
