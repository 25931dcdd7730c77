//! What the consensus layer makes of L1 (P 3.6): who is a validator, with which nonce and power.
//!
//! Pure: logs go in, in order, and records come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alloy_primitives::{Address, B256, Bytes};
use chain::event::ChainEvent;
use domain::amount::{Metis, WEI_PER_UNIT};
use serde::Serialize;

/// Power above it does not count, as themis has it on a `LockUpdate`.
const POWER_MAX: u64 = 100_000;
/// `last_updated` is the L1 block times this plus the log's place.
const LOGS_PER_BLOCK: u64 = 100_000;

/// A validator as themis shows it (P 3.5), field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validator {
    /// Sequencer id on L1.
    #[serde(rename = "ID")]
    pub id: u64,
    /// Batch it began in.
    #[serde(rename = "startBatch")]
    pub start_batch: u64,
    /// Batch it ended in; 0 while it goes on.
    #[serde(rename = "endBatch")]
    pub end_batch: u64,
    /// L1 nonce of the last log applied.
    pub nonce: u64,
    /// Whole METIS locked.
    pub power: u64,
    /// `0x04` and 128 digits.
    #[serde(rename = "pubKey")]
    pub pub_key: String,
    /// Signer, lower case.
    #[serde(serialize_with = "lower_case")]
    pub signer: Address,
    /// L1 block times 100,000 plus the index of the log, as text.
    pub last_updated: String,
    /// Nothing jails.
    pub jailed: bool,
    /// Priority of a proposer; not played.
    pub accum: i64,
}

fn lower_case<S: serde::Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{address:#x}"))
}

/// A confirmed log of LockingInfo.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) block: u64,
    pub(super) transaction: B256,
    pub(super) log_index: u64,
    pub(super) event: ChainEvent,
}

/// The consensus layer.
#[derive(Debug, Default)]
pub(super) struct Consensus {
    /// By sequencer id.
    validators: BTreeMap<u64, Validator>,
    /// Records of signers that were replaced.
    former: Vec<Validator>,
    batch: u64,
    waiting: VecDeque<Observed>,
    applied: BTreeSet<(B256, u64)>,
    /// Who has joined once needs no running node to be found again after a reorg.
    joined: BTreeSet<(u64, Address)>,
}

impl Consensus {
    /// One that finds these again although their nodes may be down.
    pub(super) fn remembering(joined: Vec<(u64, Address)>) -> Self {
        Self { joined: joined.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn joined(&self) -> Vec<(u64, Address)> {
        self.joined.iter().copied().collect()
    }

    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    pub(super) fn validators(&self) -> impl Iterator<Item = &Validator> {
        self.validators.values().chain(&self.former)
    }

    pub(super) fn by_id(&self, id: u64) -> Option<&Validator> {
        self.validators.get(&id)
    }

    pub(super) fn by_signer(&self, signer: Address) -> Option<&Validator> {
        self.validators().find(|validator| validator.signer == signer)
    }

    /// Whether a log was recognised.
    pub(super) fn has_applied(&self, transaction: B256, log_index: u64) -> bool {
        self.applied.contains(&(transaction, log_index))
    }

    /// Who votes and may be drawn.
    pub(super) fn is_current(&self, validator: &Validator) -> bool {
        let next = self.batch + 1;
        let ended = validator.end_batch != 0 && validator.end_batch <= next;
        !validator.jailed && validator.start_batch <= next && !ended && validator.power > 0
    }

    /// Signers that may be drawn for the next epoch, with their power.
    pub(super) fn eligible(&self) -> Vec<(Address, u64)> {
        let current = self.validators.values().filter(|validator| self.is_current(validator));
        current.filter(|v| v.end_batch == 0).map(|v| (v.signer, v.power)).collect()
    }

    /// Forgets what L1 said, because it says something else now.
    pub(super) fn reset(&mut self) {
        *self = Self { joined: std::mem::take(&mut self.joined), ..Self::default() };
    }

    /// Takes logs in the order of the chain.
    pub(super) fn observe(&mut self, logs: impl IntoIterator<Item = Observed>) {
        self.waiting.extend(logs);
    }

    /// Applies what can be. A lock waits for its own node, and everything later of the same
    /// sequencer waits with it.
    pub(super) fn apply(&mut self, node_is_up: impl Fn(Address) -> bool) {
        let mut held = BTreeSet::new();
        for observed in std::mem::take(&mut self.waiting) {
            let id = observed.event.seq_id().map_or(0, |id| id.0);
            let joins = |signer| self.joined.contains(&(id, signer)) || node_is_up(signer);
            let must_wait = match &observed.event {
                ChainEvent::Locked { signer, .. } => !joins(*signer),
                _ => false,
            };
            if must_wait {
                held.insert(id);
            }
            if held.contains(&id) && id != 0 {
                self.waiting.push_back(observed);
            } else {
                self.apply_one(observed);
            }
        }
    }

    fn apply_one(&mut self, observed: Observed) {
        let Observed { block, transaction, log_index, event } = observed;
        let last_updated = (block * LOGS_PER_BLOCK + log_index).to_string();
        let id = event.seq_id().map_or(0, |id| id.0);
        match event {
            ChainEvent::Locked { signer, nonce, activation_batch, amount, signer_pubkey, .. } => {
                self.joined.insert((id, signer));
                let validator = Validator {
                    id,
                    start_batch: activation_batch.0,
                    end_batch: 0,
                    nonce: nonce.0,
                    power: whole(amount),
                    pub_key: themis_key(&signer_pubkey),
                    signer,
                    last_updated,
                    jailed: false,
                    accum: 0,
                };
                self.validators.insert(id, validator);
            }
            ChainEvent::BatchSubmitReward { batch_id } => self.batch = batch_id.0,
            other => {
                let Some(validator) = self.validators.get_mut(&id) else { return };
                match other {
                    ChainEvent::LockUpdate { nonce, locked, .. } => {
                        validator.nonce = nonce.0;
                        validator.power = whole(locked).min(POWER_MAX);
                    }
                    ChainEvent::UnlockInit { nonce, deactivation_batch, .. } => {
                        validator.nonce = nonce.0;
                        validator.end_batch = deactivation_batch.0;
                    }
                    ChainEvent::SignerChange { nonce, new_signer, signer_pubkey, .. } => {
                        let mut former = validator.clone();
                        (former.power, former.end_batch) = (0, self.batch.max(1));
                        self.former.push(former);
                        self.joined.insert((id, new_signer));
                        validator.nonce = nonce.0;
                        validator.signer = new_signer;
                        validator.pub_key = themis_key(&signer_pubkey);
                    }
                    // Withdraw, Relocked, ClaimRewards and Unlocked are not relayed.
                    _ => return,
                }
                validator.last_updated = last_updated;
            }
        }
        self.applied.insert((transaction, log_index));
    }
}

fn whole(amount: Metis) -> u64 {
    (amount.0 / WEI_PER_UNIT).saturating_to()
}

fn themis_key(pubkey64: &Bytes) -> String {
    format!("0x04{}", hex::encode(pubkey64))
}

#[cfg(test)]
mod tests {
    use domain::ids::{BatchId, Nonce, SequencerId};

    use super::*;

    const SIGNER: Address = Address::repeat_byte(1);

    fn at(block: u64, event: ChainEvent) -> Observed {
        Observed { block, transaction: B256::repeat_byte(9), log_index: block, event }
    }

    fn lock() -> ChainEvent {
        ChainEvent::Locked {
            seq_id: SequencerId(1),
            signer: SIGNER,
            nonce: Nonce(1),
            activation_batch: BatchId(1),
            amount: Metis::whole(20_000),
            total_locked: Metis::whole(20_000),
            signer_pubkey: vec![7; 64].into(),
        }
    }

    fn update() -> ChainEvent {
        ChainEvent::LockUpdate { seq_id: SequencerId(1), nonce: Nonce(2), locked: Metis::whole(25_000) }
    }

    #[test]
    fn a_lock_waits_for_its_node_and_what_follows_waits_with_it() {
        let mut consensus = Consensus::default();
        consensus.observe([at(1, lock()), at(2, update())]);
        consensus.apply(|_| false);
        assert_eq!(consensus.by_id(1), None);
        consensus.apply(|_| true);
        let validator = consensus.by_id(1).expect("it joined");
        assert_eq!((validator.nonce, validator.power), (2, 25_000));
        assert_eq!(validator.last_updated, "200002");
        assert!(consensus.has_applied(B256::repeat_byte(9), 1));
    }

    #[test]
    fn an_exit_ends_a_validator_at_once() {
        let exit = ChainEvent::UnlockInit {
            seq_id: SequencerId(1),
            signer: SIGNER,
            nonce: Nonce(2),
            deactivation_batch: BatchId(1),
            deactivation_time: 5.into(),
            unlock_claim_time: 6.into(),
            reward: Metis::ZERO,
        };
        let mut consensus = Consensus::default();
        consensus.observe([at(1, lock())]);
        consensus.apply(|_| true);
        assert_eq!(consensus.eligible(), [(SIGNER, 20_000)]);
        consensus.observe([at(2, exit)]);
        consensus.apply(|_| true);
        let validator = consensus.by_signer(SIGNER).expect("still known");
        assert!(!consensus.is_current(validator));
        assert_eq!(consensus.eligible(), []);
    }

    #[test]
    fn who_had_joined_is_found_again_after_a_reorg_without_its_node() {
        let mut consensus = Consensus::default();
        consensus.observe([at(1, lock())]);
        consensus.apply(|_| true);
        consensus.reset();
        assert_eq!(consensus.by_id(1), None);
        consensus.observe([at(2, lock())]);
        consensus.apply(|_| false);
        assert!(consensus.by_id(1).is_some());
    }
}
