//! Events that come together in one transaction, or not at all (P 1.10): a transaction with only half of them was
//! fetched incompletely. Pure.

use chain::event::ChainEvent;
use domain::amount::Metis;
use domain::ids::SequencerId;

use super::{Gap, Place};

/// What one transaction has emitted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    locked: u32,
    relocked: u32,
    withdrawn: u32,
    lock_updates: u32,
    /// The last claim, which an exit repeats.
    claim: Option<(SequencerId, Metis)>,
    exits_unclaimed: u32,
    batches_paid: u32,
    batches_split: u32,
    owners: u32,
    recipients: u32,
    transfers: u32,
}

impl Tally {
    /// Counts an event.
    pub fn add(&mut self, event: &ChainEvent) {
        let counter = match event {
            ChainEvent::Locked { .. } => &mut self.locked,
            ChainEvent::Relocked { .. } => &mut self.relocked,
            ChainEvent::Withdraw { .. } => &mut self.withdrawn,
            ChainEvent::LockUpdate { .. } => &mut self.lock_updates,
            ChainEvent::ClaimRewards { seq_id, amount, .. } => {
                self.claim = Some((*seq_id, *amount));
                return;
            }
            ChainEvent::UnlockInit { seq_id, reward, .. }
                if self.claim.take() != Some((*seq_id, *reward)) =>
            {
                &mut self.exits_unclaimed
            }
            ChainEvent::BatchSubmitReward { .. } => &mut self.batches_paid,
            ChainEvent::DistributeReward { .. } => &mut self.batches_split,
            ChainEvent::SequencerOwnerChanged { .. } => &mut self.owners,
            ChainEvent::SequencerRewardRecipientChanged { .. } => &mut self.recipients,
            ChainEvent::Transfer { .. } => &mut self.transfers,
            _ => return,
        };
        *counter += 1;
    }

    /// The transaction is over, its last log at `last`: is anything missing?
    ///
    /// # Errors
    /// [`Gap`] with the pair that is not whole.
    pub fn close(&self, last: &Place) -> Result<(), Gap> {
        last.expect("LockUpdates of the transaction", self.relocked + self.withdrawn, self.lock_updates)?;
        last.expect("DistributeRewards of the transaction", self.batches_paid, self.batches_split)?;
        let at_least = |what, least: u32, found: u32| last.expect(what, found.max(least), found);
        last.expect("exits of the transaction without a claim of the same amount", 0, self.exits_unclaimed)?;
        at_least("owners of the transaction, one for each lock", self.locked, self.owners)?;
        at_least("recipients of the transaction, one for each lock", self.locked, self.recipients)?;
        let paid = self.locked + self.relocked + self.batches_paid;
        at_least("METIS transfers of the transaction", paid, self.transfers)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Bytes};
    use domain::ids::{BatchId, EpochId, Nonce, Timestamp};

    use super::*;

    const PLACE: Place =
        Place { number: 7, block_hash: B256::ZERO, time: 0, transaction_hash: B256::ZERO, log_index: 3 };

    fn whole() -> Vec<ChainEvent> {
        let (seq_id, amount, total_locked) = (SequencerId(1), Metis::ZERO, Metis::ZERO);
        let (nonce, batch_id) = (Nonce(1), BatchId(2));
        vec![
            ChainEvent::Transfer { from: Address::ZERO, to: Address::ZERO, amount },
            ChainEvent::Locked {
                seq_id,
                signer: Address::ZERO,
                nonce,
                activation_batch: batch_id,
                amount,
                total_locked,
                signer_pubkey: Bytes::new(),
            },
            ChainEvent::SequencerOwnerChanged { seq_id, owner: Address::ZERO },
            ChainEvent::SequencerRewardRecipientChanged { seq_id, recipient: Address::ZERO },
            ChainEvent::Transfer { from: Address::ZERO, to: Address::ZERO, amount },
            ChainEvent::Relocked { seq_id, amount, total_locked },
            ChainEvent::LockUpdate { seq_id, nonce, locked: amount },
            ChainEvent::Withdraw { seq_id, amount },
            ChainEvent::LockUpdate { seq_id, nonce, locked: amount },
            ChainEvent::Transfer { from: Address::ZERO, to: Address::ZERO, amount },
            ChainEvent::BatchSubmitReward { batch_id },
            ChainEvent::DistributeReward {
                batch_id,
                start_epoch: EpochId(1),
                end_epoch: EpochId(2),
                amount,
                reward_per_block: amount,
            },
        ]
    }

    fn closed(events: &[ChainEvent]) -> Result<(), Gap> {
        let mut tally = Tally::default();
        events.iter().for_each(|event| tally.add(event));
        tally.close(&PLACE)
    }

    #[test]
    fn a_transaction_that_lacks_any_one_log_is_found_out() {
        let whole = whole();
        assert_eq!(closed(&whole), Ok(()));
        for missing in 0..whole.len() {
            let mut rest = whole.clone();
            let gone = rest.remove(missing);
            let lone = matches!(gone, ChainEvent::Locked { .. });
            // A lock that is gone leaves more than enough of all else; its id is missed at once by the ledger.
            assert_eq!(closed(&rest).is_ok(), lone, "{gone:?}");
        }
    }

    #[test]
    fn an_exit_needs_a_claim_of_the_same_amount_and_a_claim_no_exit() {
        let seq_id = SequencerId(1);
        let claim = |amount| ChainEvent::ClaimRewards {
            seq_id,
            recipient: Address::ZERO,
            amount: Metis::wei(amount),
            total_liquidated: Metis::ZERO,
        };
        let exit = |reward| ChainEvent::UnlockInit {
            seq_id,
            signer: Address::ZERO,
            nonce: Nonce(2),
            deactivation_batch: BatchId(2),
            deactivation_time: Timestamp(0),
            unlock_claim_time: Timestamp(0),
            reward: Metis::wei(reward),
        };
        assert_eq!(closed(&[claim(5)]), Ok(()));
        assert_eq!(closed(&[claim(5), exit(5)]), Ok(()));
        assert!(closed(&[exit(0)]).is_err(), "the claim of nothing is emitted too");
        assert!(closed(&[claim(5), exit(6)]).is_err());
        assert!(closed(&[claim(5), exit(5), exit(5)]).is_err());
    }
}
