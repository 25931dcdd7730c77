//! What each event does to one life of a sequencer: its phase, and the fields of its record that we keep.
//!
//! Total: every life has an answer to every event, and where the contract cannot have done such a thing the answer
//! follows the chain and names the contradiction. Which life an event is about, storing and undoing belong to the
//! lifecycle service.

use alloy_primitives::Address;

use crate::amount::Metis;
use crate::ids::{SequencerId, Timestamp};
use crate::phase::{Fact, Phase, Step, step};

/// One life: from its registration, or its lock if nobody registered it, to the return of the principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Where it stands.
    pub phase: Phase,
    /// Id on chain, from the lock on. Not stable before the lock is final.
    pub seq_id: Option<SequencerId>,
    /// Present owner.
    pub owner: Address,
    /// Present signer.
    pub signer: Address,
    /// Public key of the signer, 64 bytes; the contract does not ask whether it is a point of the curve (P 1.10).
    pub signer_pubkey: Option<Vec<u8>>,
    /// Every signer since the lock: one that the consensus layer knows is enough, also after a rotation.
    pub signers: Vec<Address>,
    /// L2 recipient, zero if empty; none before the lock.
    pub recipient: Option<Address>,
    /// Principal.
    pub locked: Metis,
    /// The contract's counter of operations; 0 before the lock.
    pub nonce: u64,
    /// `unlockClaimTime`, from the unlock on. Fixed then: a later change of the exit delay does not move it (P 1.10).
    pub withdrawable_at: Option<Timestamp>,
}

/// Everything that can touch a life: the events of P 1.8 that name a sequencer or its owner, chain time, and what the
/// consensus layer knows. Claims and credits are not here: they change only the reward, which the indexer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `SetWhitelist` of its owner.
    Whitelist(bool),
    /// `Locked`, with the owner of the `SequencerOwnerChanged` that follows it.
    Locked {
        /// Id on chain.
        seq_id: SequencerId,
        /// Principal.
        amount: Metis,
        /// Always 1.
        nonce: u64,
        /// Public key of the signer, 64 bytes.
        pubkey: Vec<u8>,
    },
    /// `SequencerOwnerChanged`.
    OwnerChanged(Address),
    /// `SequencerRewardRecipientChanged`.
    RecipientChanged(Address),
    /// `LockUpdate`, of an increase or a partial withdrawal.
    LockUpdate {
        /// The new principal.
        amount: Metis,
        /// The counter after it.
        nonce: u64,
    },
    /// `SignerChange`.
    SignerChange {
        /// The new signer.
        signer: Address,
        /// Its public key, 64 bytes.
        pubkey: Vec<u8>,
        /// The counter after it.
        nonce: u64,
    },
    /// `UnlockInit`, by the owner or forced by the contract's owner.
    UnlockInit {
        /// `unlockClaimTime`.
        withdrawable_at: Timestamp,
        /// The counter after it.
        nonce: u64,
    },
    /// `Unlocked`. The last increment of the counter has no event of its own (P 1.8).
    Unlocked,
    /// A block with this timestamp became the head.
    ChainTime(Timestamp),
    /// themis has the validator record of one of its signers (P 3.6), or one of them was given an L2 epoch.
    ConsensusKnows,
}

/// What an event did to a life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The phase before, if it is another one now.
    pub moved_from: Option<Phase>,
    /// What does not fit: we missed an event. The life follows the chain all the same.
    pub contradictions: Vec<&'static str>,
}

impl Life {
    /// A life that has nothing locked yet.
    pub fn new(phase: Phase, owner: Address, signer: Address) -> Self {
        Self {
            phase,
            seq_id: None,
            owner,
            signer,
            signer_pubkey: None,
            signers: Vec::new(),
            recipient: None,
            locked: Metis::ZERO,
            nonce: 0,
            withdrawable_at: None,
        }
    }

    /// Takes in an event. The same one again does not move the phase again.
    pub fn take(&mut self, event: &Event) -> Taken {
        let mut taken = Taken::default();
        let fact = match event {
            Event::Whitelist(yes) => Some(Fact::Whitelisted(*yes)),
            Event::Locked { seq_id, amount, nonce, pubkey } => {
                self.begin_lock(*seq_id, *amount, *nonce, pubkey);
                Some(Fact::Locked)
            }
            Event::OwnerChanged(owner) => {
                self.owner = *owner;
                None
            }
            Event::RecipientChanged(recipient) => {
                self.recipient = Some(*recipient);
                None
            }
            Event::LockUpdate { amount, nonce } => {
                self.locked = *amount;
                self.count(*nonce, &mut taken);
                None
            }
            Event::SignerChange { signer, pubkey, nonce } => {
                (self.signer, self.signer_pubkey) = (*signer, Some(pubkey.clone()));
                self.signers.push(*signer);
                self.count(*nonce, &mut taken);
                None
            }
            Event::UnlockInit { withdrawable_at, nonce } => {
                // The time of an exit that has begun stays: only a contradiction could bring another one.
                if !matches!(self.phase, Phase::Exiting { .. } | Phase::Withdrawable | Phase::Withdrawn) {
                    self.withdrawable_at = Some(*withdrawable_at);
                }
                self.count(*nonce, &mut taken);
                Some(Fact::UnlockInit { withdrawable_at: *withdrawable_at })
            }
            Event::Unlocked => {
                (self.locked, self.nonce) = (Metis::ZERO, self.nonce.saturating_add(1));
                Some(Fact::Unlocked)
            }
            Event::ChainTime(now) => Some(Fact::ChainTime(*now)),
            Event::ConsensusKnows => Some(Fact::ConsensusKnows),
        };
        if let Some(fact) = fact {
            self.decide(fact, &mut taken);
        }
        taken
    }

    /// The phase that holds where the consensus layer is, or is no longer, known to know a signer: ACTIVE is LOCKED
    /// and known, so what a reorganisation of L2 takes back does not depend on what L1 did meanwhile.
    pub const fn phase_if_known(&self, known: bool) -> Phase {
        match (self.phase, known) {
            (Phase::Locked, true) => Phase::Active,
            (Phase::Active, false) => Phase::Locked,
            (other, _) => other,
        }
    }

    fn begin_lock(&mut self, seq_id: SequencerId, amount: Metis, nonce: u64, pubkey: &[u8]) {
        // A second lock of the same life is a contradiction: nothing says which of the two to believe.
        if !matches!(self.phase, Phase::Registered | Phase::Whitelisted) {
            return;
        }
        self.seq_id = Some(seq_id);
        self.signer_pubkey = Some(pubkey.to_vec());
        self.signers = vec![self.signer];
        self.recipient = Some(Address::ZERO);
        (self.locked, self.nonce, self.withdrawable_at) = (amount, nonce, None);
    }

    /// The counters of a life are 1, 2, 3, ... without a hole (P 1.10).
    fn count(&mut self, nonce: u64, taken: &mut Taken) {
        if self.nonce.checked_add(1) != Some(nonce) {
            taken.contradictions.push("the contract's counter has a hole");
        }
        self.nonce = nonce;
    }

    fn decide(&mut self, fact: Fact, taken: &mut Taken) {
        let next = match step(self.phase, fact) {
            Step::Stay => return,
            Step::Move(next) => Some(next),
            Step::Contradiction { to, why } => {
                taken.contradictions.push(why);
                to
            }
        };
        if let Some(next) = next {
            taken.moved_from = Some(std::mem::replace(&mut self.phase, next));
        }
    }
}

#[cfg(test)]
mod tests;
