//! The records of LockingPool as the events add up to them (P 1.7, 1.10).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::{Address, B256};
use api::indexer::v1::CreditMethod;
use chain::event::{ChainEvent, Source};
use chain::views::SequencerRecord;
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, Height, Nonce, SequencerId};
use domain::preflight::Status;
use domain::reward::relocked_from_reward;

use super::credit::{self, Announced, Shares, Split};
use super::parameters::Parameters;
use super::stored::{from_row, locked_record, to_row, whitelisting};
use super::wire::Derived;
use super::{Changes, Gap, Place};
use crate::db::{batch, column, implementation, parameters, record};

/// The shares of batches, by transaction and batch, found before the fold because that takes asking.
pub type Evidence = HashMap<(B256, BatchId), Shares>;

/// The state of the L1 contracts after some block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    records: BTreeMap<SequencerId, SequencerRecord>,
    /// Live signers, which are the only ones that can be credited.
    signers: HashMap<Address, SequencerId>,
    parameters: Parameters,
    /// METIS that came into the escrow in the transaction being read, not yet explained by a relock.
    incoming: Vec<(B256, Address, Metis)>,
    /// Records that the block being read has changed so far, and whether it changed the parameters.
    touched: BTreeSet<SequencerId>,
    parameters_touched: bool,
    /// The split of some batch could not be proven: rewards may be more than is known.
    unattributed: bool,
}

impl Ledger {
    /// The state as it was stored.
    pub fn load(records: Vec<record::Row>, parameters: Option<parameters::Row>) -> Self {
        let records: BTreeMap<SequencerId, SequencerRecord> = records.into_iter().map(from_row).collect();
        let live = |(id, record): (&SequencerId, &SequencerRecord)| {
            matches!(record.status, Status::Active | Status::Inactive).then_some((record.signer, *id))
        };
        let signers = records.iter().filter_map(live).collect();
        let parameters = parameters.map(Parameters::from).unwrap_or_default();
        Self { records, signers, parameters, ..Self::default() }
    }

    /// The split of some batch before could not be proven.
    pub fn some_unattributed(&mut self) {
        self.unattributed = true;
    }

    /// The records by id.
    pub fn records(&self) -> &BTreeMap<SequencerId, SequencerRecord> {
        &self.records
    }

    /// The parameters and counters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Applies the next log.
    ///
    /// # Errors
    /// When the log does not follow from those before; the ledger is then of no more use.
    pub fn apply(
        &mut self,
        place: &Place,
        source: Source,
        event: &ChainEvent,
        evidence: &Evidence,
        changes: &mut Changes,
    ) -> Result<Derived, Gap> {
        let before = self.parameters;
        let derived = match event {
            ChainEvent::Transfer { from, amount, .. } => {
                self.incoming.retain(|(transaction, ..)| *transaction == place.transaction_hash);
                self.incoming.push((place.transaction_hash, *from, *amount));
                Derived::None
            }
            ChainEvent::Relocked { seq_id, amount, total_locked } => {
                let part = self.relocked(place, *seq_id, *amount, *total_locked)?;
                self.touched.insert(*seq_id);
                Derived::FromReward(part)
            }
            ChainEvent::DistributeReward { batch_id, start_epoch, end_epoch, amount, reward_per_block } => {
                let announced = Announced {
                    batch_id: *batch_id,
                    start_epoch: *start_epoch,
                    end_epoch: *end_epoch,
                    amount: *amount,
                    reward_per_block: *reward_per_block,
                };
                Derived::Split(self.distributed(place, &announced, evidence, changes)?)
            }
            ChainEvent::SetWhitelist { owner, whitelisted } => {
                changes.whitelist.push(whitelisting(place, place.column(), (*owner, *whitelisted)));
                Derived::None
            }
            ChainEvent::Upgraded { implementation } => {
                if source == Source::PoolProxy {
                    let number = column(place.number);
                    changes.implementations.retain(|row| row.number != number);
                    changes
                        .implementations
                        .push(implementation::Row { number, address: (*implementation).into() });
                }
                Derived::None
            }
            other => {
                if let Some(id) = self.moved(place, other, changes)? {
                    self.touched.insert(id);
                }
                self.parameters.set(place, source, other)?;
                Derived::None
            }
        };
        self.parameters_touched |= self.parameters != before;
        Ok(derived)
    }

    /// The block is over: what it changed becomes rows, the last version within it only.
    pub fn end_block(&mut self, number: u64, changes: &mut Changes) {
        let number = column(number);
        for id in std::mem::take(&mut self.touched) {
            if let Some(found) = self.records.get(&id) {
                changes.records.push(to_row(id, number, found));
            }
        }
        if std::mem::take(&mut self.parameters_touched) {
            changes.parameters.push(self.parameters.row(number));
        }
        self.incoming.clear();
    }

    /// Events that move one sequencer, and which.
    fn moved(
        &mut self,
        place: &Place,
        event: &ChainEvent,
        changes: &mut Changes,
    ) -> Result<Option<SequencerId>, Gap> {
        let id = match event {
            ChainEvent::Locked {
                seq_id,
                signer,
                nonce,
                activation_batch,
                amount,
                total_locked,
                signer_pubkey,
            } => {
                place.expect("nonce", Nonce(1), *nonce)?;
                self.paid_in(place, *amount)?;
                self.locked(place, *seq_id, *activation_batch, (*amount, *total_locked))?;
                self.records
                    .insert(*seq_id, locked_record(*signer, signer_pubkey, *activation_batch, *amount));
                self.new_signer(place, *signer, *seq_id, changes);
                seq_id
            }
            ChainEvent::SequencerOwnerChanged { seq_id, owner } => {
                self.record(place, *seq_id)?.owner = *owner;
                seq_id
            }
            ChainEvent::SequencerRewardRecipientChanged { seq_id, recipient } => {
                self.record(place, *seq_id)?.reward_recipient = Some(*recipient).filter(|to| !to.is_zero());
                seq_id
            }
            ChainEvent::LockUpdate { seq_id, nonce, locked } => {
                // What was locked or withdrawn just before has been counted already.
                let expected = self.step(place, *seq_id, *nonce)?.amount;
                place.expect("principal", expected, *locked)?;
                seq_id
            }
            ChainEvent::Withdraw { seq_id, amount } => {
                let total = self.parameters.total_locked;
                let left = total.checked_sub(*amount);
                self.parameters.total_locked =
                    left.ok_or_else(|| place.gap("total locked", amount, total))?;
                let batch_id = self.parameters.batch_id;
                let record = self.record(place, *seq_id)?;
                let left = record.amount.checked_sub(*amount);
                record.amount = left.ok_or_else(|| place.gap("principal", amount, record.amount))?;
                record.updated_batch = batch_id;
                seq_id
            }
            ChainEvent::ClaimRewards { seq_id, recipient, amount, total_liquidated } => {
                let expected = self.parameters.total_rewards_liquidated.checked_add(*amount);
                place.expect_some("total rewards liquidated", expected, *total_liquidated)?;
                self.parameters.total_rewards_liquidated = *total_liquidated;
                let record = self.record(place, *seq_id)?;
                place.expect("recipient", record.reward_recipient.unwrap_or_default(), *recipient)?;
                record.reward = Metis::ZERO;
                seq_id
            }
            ChainEvent::Unlocked { seq_id, owner, amount, total_locked } => {
                let expected = self.record(place, *seq_id)?.owner;
                place.expect("owner", expected, *owner)?;
                self.unlocked(place, *seq_id, *amount, *total_locked)?;
                seq_id
            }
            other => return self.changed(place, other, changes),
        };
        Ok(Some(*id))
    }

    /// The rest of them: the beginning of an exit, and a new key.
    fn changed(
        &mut self,
        place: &Place,
        event: &ChainEvent,
        changes: &mut Changes,
    ) -> Result<Option<SequencerId>, Gap> {
        match event {
            ChainEvent::UnlockInit {
                seq_id,
                signer,
                nonce,
                deactivation_batch,
                deactivation_time,
                unlock_claim_time,
                reward: _,
            } => {
                place.expect("batch id", self.parameters.batch_id, *deactivation_batch)?;
                place.expect("time of the exit", place.time, deactivation_time.0)?;
                let claimable = place.time.saturating_add(self.parameters.exit_delay_secs);
                place.expect("end of the exit", claimable, unlock_claim_time.0)?;
                let record = self.step(place, *seq_id, *nonce)?;
                place.expect("signer", record.signer, *signer)?;
                record.status = Status::Inactive;
                record.deactivation_batch = *deactivation_batch;
                record.deactivation_time = *deactivation_time;
                record.unlock_claim_time = *unlock_claim_time;
                record.reward = Metis::ZERO;
                self.parameters.active = self.parameters.active.saturating_sub(1);
                self.parameters.exiting += 1;
                Ok(Some(*seq_id))
            }
            ChainEvent::SignerChange { seq_id, nonce, old_signer, new_signer, signer_pubkey } => {
                let batch_id = self.parameters.batch_id;
                let record = self.step(place, *seq_id, *nonce)?;
                place.expect("signer", record.signer, *old_signer)?;
                record.signer = *new_signer;
                record.pubkey = signer_pubkey.clone();
                record.updated_batch = batch_id;
                self.signers.remove(old_signer);
                self.new_signer(place, *new_signer, *seq_id, changes);
                Ok(Some(*seq_id))
            }
            _ => Ok(None),
        }
    }

    /// The METIS that a lock or a batch brought came into the escrow just before it.
    fn paid_in(&mut self, place: &Place, amount: Metis) -> Result<(), Gap> {
        let last = self.incoming.pop().filter(|(transaction, ..)| *transaction == place.transaction_hash);
        place.expect("METIS brought", amount, last.map_or(Metis::ZERO, |(_, _, brought)| brought))
    }

    fn locked(
        &mut self,
        place: &Place,
        id: SequencerId,
        batch_id: BatchId,
        (amount, total): (Metis, Metis),
    ) -> Result<(), Gap> {
        let last = self.records.last_key_value().map_or(0, |(id, _)| id.0);
        place.expect("sequencer id", SequencerId(last + 1), id)?;
        place.expect("batch id", self.parameters.batch_id, batch_id)?;
        place.expect_some("total locked", self.parameters.total_locked.checked_add(amount), total)?;
        self.parameters.total_locked = total;
        self.parameters.active += 1;
        Ok(())
    }

    /// How much of a relock came from the unclaimed reward: what the owner did not bring (P 1.13).
    fn relocked(
        &mut self,
        place: &Place,
        id: SequencerId,
        amount: Metis,
        total: Metis,
    ) -> Result<Metis, Gap> {
        place.expect_some("total locked", self.parameters.total_locked.checked_add(amount), total)?;
        let owner = self.record(place, id)?.owner;
        let brought = self
            .incoming
            .iter()
            .rposition(|(transaction, from, _)| *transaction == place.transaction_hash && *from == owner)
            .map(|found| self.incoming.remove(found).2)
            .ok_or_else(|| place.gap("METIS transfers before a relock", 1, 0))?;
        let part = relocked_from_reward(amount, brought);
        let part = part.ok_or_else(|| place.gap("METIS brought", amount, brought))?;
        self.parameters.total_locked = total;
        let unattributed = self.unattributed;
        let record = self.record(place, id)?;
        // The whole reward or nothing; it may be more than we know of where the split of a batch could not be proven.
        if !part.is_zero() && (part < record.reward || (part > record.reward && !unattributed)) {
            return Err(place.gap("reward turned into principal", record.reward, part));
        }
        let grown = record.amount.checked_add(amount);
        record.amount = grown.ok_or_else(|| place.gap("principal", "an amount that fits", amount))?;
        if !part.is_zero() {
            // The contract turns the whole reward into principal, or nothing of it.
            record.reward = Metis::ZERO;
        }
        Ok(part)
    }

    fn unlocked(&mut self, place: &Place, id: SequencerId, amount: Metis, total: Metis) -> Result<(), Gap> {
        place.expect_some("total locked", self.parameters.total_locked.checked_sub(amount), total)?;
        let record = self.record(place, id)?;
        place.expect("principal", record.amount, amount)?;
        record.amount = Metis::ZERO;
        record.reward = Metis::ZERO;
        record.status = Status::Unlocked;
        // The contract counts this step, and says so in no event.
        record.nonce = Nonce(record.nonce.0 + 1);
        let signer = record.signer;
        self.signers.remove(&signer);
        self.parameters.total_locked = total;
        self.parameters.exiting = self.parameters.exiting.saturating_sub(1);
        self.parameters.exited += 1;
        Ok(())
    }

    fn distributed(
        &mut self,
        place: &Place,
        announced: &Announced,
        evidence: &Evidence,
        changes: &mut Changes,
    ) -> Result<Split, Gap> {
        let Announced { batch_id, start_epoch, end_epoch, amount, reward_per_block } = *announced;
        let parameters = &mut self.parameters;
        place.expect("batch id", BatchId(parameters.batch_id.0 + 1), batch_id)?;
        let next_epoch = EpochId(parameters.batch_end_epoch.0 + 1);
        place.expect("first epoch of the batch", next_epoch, start_epoch)?;
        place.expect("reward per block", parameters.reward_per_block, reward_per_block)?;
        self.paid_in(place, amount)?;
        let parameters = &mut self.parameters;
        parameters.batch_id = batch_id;
        parameters.batch_block = Height(place.number);
        parameters.batch_start_epoch = start_epoch;
        parameters.batch_end_epoch = end_epoch;
        let shares = evidence.get(&(place.transaction_hash, batch_id));
        let split = credit::split(announced, shares, &self.signers);
        self.unattributed |= split.method == CreditMethod::Unattributed;
        let number = column(place.number);
        changes.batches.push(batch::Row {
            batch_id: column(batch_id.0),
            number,
            log_index: place.column(),
            transaction_hash: place.transaction_hash.into(),
            start_epoch: column(start_epoch.0),
            end_epoch: column(end_epoch.0),
            amount: amount.0.into(),
            reward_per_block: reward_per_block.0.into(),
            method: i16::try_from(i32::from(split.method)).unwrap_or(i16::MAX),
        });
        for credit in &split.credits {
            let record = self.record(place, credit.sequencer)?;
            let reward = record.reward.checked_add(credit.amount);
            record.reward = reward.ok_or_else(|| place.gap("reward", "below 2^256", credit.amount))?;
            self.touched.insert(credit.sequencer);
            changes.credits.push(batch::Credit {
                batch_id: column(batch_id.0),
                sequencer_id: column(credit.sequencer.0),
                number,
                blocks: column(credit.blocks),
                amount: credit.amount.0.into(),
            });
        }
        Ok(split)
    }

    fn record(&mut self, place: &Place, id: SequencerId) -> Result<&mut SequencerRecord, Gap> {
        self.records.get_mut(&id).ok_or_else(|| place.gap("sequencer", "one locked before", id))
    }

    /// The record of an event that carries the operation counter, with the counter moved on.
    fn step(&mut self, place: &Place, id: SequencerId, nonce: Nonce) -> Result<&mut SequencerRecord, Gap> {
        let record = self.record(place, id)?;
        place.expect("nonce", Nonce(record.nonce.0 + 1), nonce)?;
        record.nonce = nonce;
        Ok(record)
    }

    fn new_signer(&mut self, place: &Place, signer: Address, id: SequencerId, changes: &mut Changes) {
        self.signers.insert(signer, id);
        let (sequencer_id, number) = (column(id.0), column(place.number));
        changes.signers.push(record::Signer { signer: signer.into(), sequencer_id, number });
    }
}
