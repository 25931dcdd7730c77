//! Who got what of a reward batch: by the shares in its calldata or by the state of the contract before and after
//! its block, and in both cases proven against the event (P 1.13).

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256};
use api::indexer::v1 as wire;
use chain::calldata::RewardBatch;
use chain::event::ChainEvent;
use chain::views::SequencerRecord;
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, SequencerId};
use domain::reward::{Credit, relocked_from_reward};

/// Records by sequencer.
pub type Records = BTreeMap<SequencerId, SequencerRecord>;

/// The shares of a batch, and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shares {
    /// The arguments of `batchSubmitRewards`.
    Batch {
        /// In the transaction's own calldata, or in a traced call.
        method: wire::CreditMethod,
        /// Blocks by signer.
        batch: RewardBatch,
    },
    /// What the block's only batch added to each reward.
    State {
        /// Wei by sequencer, without those that got nothing.
        credits: BTreeMap<SequencerId, Metis>,
    },
}

impl Shares {
    /// Where they were found.
    pub fn method(&self) -> wire::CreditMethod {
        match self {
            Self::Batch { method, .. } => *method,
            Self::State { .. } => wire::CreditMethod::StateDifference,
        }
    }
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
    let id_of = |signer: Address| signers.get(&signer).copied();
    shares
        .and_then(|shares| {
            Some(Split { method: shares.method(), credits: credits(announced, shares, id_of)? })
        })
        .unwrap_or_else(Split::unattributed)
}

/// Whether shares add up to what the event says, whoever the signers are.
pub fn fits(announced: &Announced, shares: &Shares) -> bool {
    // The signers of a batch that the contract took are known to it; which they are matters to the fold only.
    credits(announced, shares, |_| Some(SequencerId(1))).is_some()
}

/// The credits, if they are those of the event; what does not add up is unattributed, never guessed.
fn credits(
    announced: &Announced,
    shares: &Shares,
    id_of: impl Fn(Address) -> Option<SequencerId>,
) -> Option<Vec<Credit>> {
    let Announced { batch_id, start_epoch, end_epoch, amount, reward_per_block } = *announced;
    match shares {
        Shares::Batch { batch, .. } => {
            let RewardBatch { batch_id: id, start_epoch: start, end_epoch: end, signers, blocks } = batch;
            if (*id, *start, *end) != (batch_id, start_epoch, end_epoch) {
                return None;
            }
            domain::reward::attribute(signers, blocks, reward_per_block, amount, id_of).ok()
        }
        Shares::State { credits } => {
            if Metis::checked_sum(credits.values().copied())? != amount {
                return None;
            }
            credits.iter().map(|(id, amount)| of_amount(*id, *amount, reward_per_block)).collect()
        }
    }
}

/// What a block credited, by the records before and after it: a reward grows by credits only, and shrinks by the
/// claims and relocks that are among the events of the block, given with their transactions in chain order. `None`
/// if the events do not explain the records.
pub fn difference(
    events: &[(B256, ChainEvent)],
    before: &Records,
    after: &Records,
) -> Option<BTreeMap<SequencerId, Metis>> {
    let spent = spent(events, before)?;
    let amount = |amounts: &BTreeMap<SequencerId, Metis>, id| amounts.get(id).copied().unwrap_or(Metis::ZERO);
    let mut credits = BTreeMap::new();
    for (id, record) in after {
        let had = before.get(id).map_or(Metis::ZERO, |record| record.reward);
        let credit = record.reward.checked_add(amount(&spent, id))?.checked_sub(had)?;
        if !credit.is_zero() {
            credits.insert(*id, credit);
        }
    }
    Some(credits)
}

/// What left the reward of each sequencer.
fn spent(events: &[(B256, ChainEvent)], before: &Records) -> Option<BTreeMap<SequencerId, Metis>> {
    let mut owners: BTreeMap<_, _> = before.iter().map(|(id, record)| (*id, record.owner)).collect();
    let mut incoming: Vec<(B256, Address, Metis)> = Vec::new();
    let mut spent = BTreeMap::<SequencerId, Metis>::new();
    for (transaction, event) in events {
        let (id, part) = match event {
            ChainEvent::SequencerOwnerChanged { seq_id, owner } => {
                owners.insert(*seq_id, *owner);
                continue;
            }
            ChainEvent::Transfer { from, amount, .. } => {
                incoming.push((*transaction, *from, *amount));
                continue;
            }
            ChainEvent::ClaimRewards { seq_id, amount, .. } => (*seq_id, *amount),
            ChainEvent::Relocked { seq_id, amount, .. } => {
                let owner = owners.get(seq_id)?;
                let found = incoming.iter().rposition(|(of, from, _)| of == transaction && from == owner)?;
                let (.., brought) = incoming.remove(found);
                (*seq_id, relocked_from_reward(*amount, brought)?)
            }
            _ => continue,
        };
        let sum = spent.get(&id).copied().unwrap_or(Metis::ZERO).checked_add(part)?;
        spent.insert(id, sum);
    }
    Some(spent)
}

/// A credit of this amount, which must be a whole number of blocks.
fn of_amount(sequencer: SequencerId, amount: Metis, reward_per_block: Metis) -> Option<Credit> {
    let blocks = amount.0.checked_div(reward_per_block.0)?;
    let blocks = u64::try_from(blocks).ok()?;
    let whole = domain::reward::credit(blocks, reward_per_block)? == amount;
    whole.then_some(Credit { sequencer, blocks, amount })
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
        Shares::Batch { method: wire::CreditMethod::Calldata, batch }
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
    fn a_batch_is_split_by_what_it_added_to_the_rewards() {
        let credits = [(SequencerId(7), Metis::wei(20)), (SequencerId(8), Metis::wei(40))].into();
        let split = split(&announced(), Some(&Shares::State { credits }), &HashMap::new());
        assert_eq!(split.method, wire::CreditMethod::StateDifference);
        assert_eq!(split.credits.iter().map(|credit| credit.blocks).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_batch_without_proven_shares_is_never_guessed() {
        let mut other_batch = shares(&[(1, 6)]);
        if let Shares::Batch { batch, .. } = &mut other_batch {
            batch.batch_id = BatchId(3);
        }
        let state = |credits: &[(u64, u64)]| {
            let credits = credits.iter().map(|(id, wei)| (SequencerId(*id), Metis::wei(*wei)));
            Some(Shares::State { credits: credits.collect() })
        };
        let cases = [
            ("nothing was found", None),
            ("the sum is another", Some(shares(&[(1, 5)]))),
            ("it is another batch", Some(other_batch)),
            ("a signer is unknown", Some(shares(&[(1, 2), (9, 4)]))),
            ("the rewards grew by another sum", state(&[(7, 20), (8, 30)])),
            ("a reward grew by half a block", state(&[(7, 25), (8, 35)])),
        ];
        for (why, shares) in cases {
            assert_eq!(split(&announced(), shares.as_ref(), &signers()), Split::unattributed(), "{why}");
        }
    }
}
