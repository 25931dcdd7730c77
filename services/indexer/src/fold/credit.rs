//! Who got what of a reward batch: by the shares in its calldata, proven against the event (P 1.13).

use std::collections::HashMap;

use alloy_primitives::Address;
use api::indexer::v1 as wire;
use chain::calldata::RewardBatch;
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, SequencerId};
use domain::reward::Credit;

/// The shares of a batch and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Where.
    pub method: wire::CreditMethod,
    /// What.
    pub batch: RewardBatch,
}

/// What the event of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Batch id.
    pub batch_id: BatchId,
    /// First epoch.
    pub start_epoch: EpochId,
    /// Last epoch.
    pub end_epoch: EpochId,
    /// Total.
    pub amount: Metis,
    /// Reward of one block.
    pub reward_per_block: Metis,
}

/// A credit as a message.
pub fn message(credit: &Credit) -> wire::RewardCredit {
    wire::RewardCredit {
        sequencer_id: credit.sequencer.to_string(),
        blocks: credit.blocks,
        amount_wei: credit.amount.wei_string(),
    }
}

/// A batch with its split, or with none where none can be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// How it was found.
    pub method: wire::CreditMethod,
    /// By sequencer; sums to the total unless unattributed.
    pub credits: Vec<Credit>,
}

impl Split {
    fn unattributed() -> Self {
        Self { method: wire::CreditMethod::Unattributed, credits: Vec::new() }
    }
}

/// Splits a batch by its shares, with signers mapped as they are at its log. Shares that do not add
/// up to exactly what the event says prove nothing, and the batch stays unattributed.
pub fn split(
    announced: &Announced,
    shares: Option<&Shares>,
    signers: &HashMap<Address, SequencerId>,
) -> Split {
    shares
        .filter(|shares| matches_event(announced, &shares.batch))
        .and_then(|shares| {
            let credits = by_sequencer(announced, &shares.batch, signers)?;
            Some(Split { method: shares.method, credits })
        })
        .unwrap_or_else(Split::unattributed)
}

fn matches_event(announced: &Announced, batch: &RewardBatch) -> bool {
    batch.batch_id == announced.batch_id
        && batch.start_epoch == announced.start_epoch
        && batch.end_epoch == announced.end_epoch
}

fn by_sequencer(
    announced: &Announced,
    batch: &RewardBatch,
    signers: &HashMap<Address, SequencerId>,
) -> Option<Vec<Credit>> {
    let id_of = |signer: Address| signers.get(&signer).copied();
    let Announced { amount, reward_per_block, .. } = *announced;
    // What does not add up is unattributed: the batch itself is kept, and its method says so.
    domain::reward::attribute(&batch.signers, &batch.blocks, reward_per_block, amount, id_of).ok()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    fn announced() -> Announced {
        Announced {
            batch_id: BatchId(2),
            start_epoch: EpochId(1),
            end_epoch: EpochId(5),
            amount: Metis::wei(60),
            reward_per_block: Metis::wei(10),
        }
    }

    fn signer(tag: u8) -> Address {
        Address::repeat_byte(tag)
    }

    fn shares(blocks: &[(u8, u64)]) -> Shares {
        let (signers, blocks) =
            blocks.iter().map(|(tag, blocks)| (signer(*tag), U256::from(*blocks))).unzip();
        let Announced { batch_id, start_epoch, end_epoch, .. } = announced();
        let batch = RewardBatch { batch_id, start_epoch, end_epoch, signers, blocks };
        Shares { method: wire::CreditMethod::Calldata, batch }
    }

    fn signers() -> HashMap<Address, SequencerId> {
        [(signer(1), SequencerId(7)), (signer(2), SequencerId(8))].into()
    }

    #[test]
    fn a_batch_is_split_by_sequencer_and_duplicates_add_up() {
        let split = split(&announced(), Some(&shares(&[(1, 2), (2, 3), (1, 1)])), &signers());
        assert_eq!(split.method, wire::CreditMethod::Calldata);
        let credit =
            |id, blocks| Credit { sequencer: SequencerId(id), blocks, amount: Metis::wei(blocks * 10) };
        assert_eq!(split.credits, [credit(7, 3), credit(8, 3)]);
    }

    #[test]
    fn a_batch_without_proven_shares_is_never_guessed() {
        let mut other_batch = shares(&[(1, 6)]);
        other_batch.batch.batch_id = BatchId(3);
        let cases = [
            ("nothing was found", None),
            ("the sum is another", Some(shares(&[(1, 5)]))),
            ("it is another batch", Some(other_batch)),
            ("a signer is unknown", Some(shares(&[(1, 2), (9, 4)]))),
        ];
        for (why, shares) in cases {
            assert_eq!(split(&announced(), shares.as_ref(), &signers()), Split::unattributed(), "{why}");
        }
    }
}
