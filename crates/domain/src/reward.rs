//! Rewards as the contract credits them: blocks times the reward per block, split by batch (P 1.13).
//!
//! A split is proven or it is none: what does not add up to the wei is unattributed, never guessed.
//! Balances are folded by [`account`], rates are in [`rate`], the price of a claim is in [`claim`].

pub mod account;
pub mod claim;
pub mod rate;

use std::collections::BTreeMap;

use alloy_primitives::ruint::UintTryFrom;
use alloy_primitives::{Address, U256, U512};

use crate::amount::Metis;
use crate::ids::SequencerId;

/// A sequencer's part of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// Who earned it.
    pub sequencer: SequencerId,
    /// L2 blocks credited, duplicates added.
    pub blocks: u64,
    /// Blocks times the batch's reward per block.
    pub amount: Metis,
}

/// Why the split of a batch is not proven. Only its total counts then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unattributed {
    /// The contract takes no such lists.
    #[error("{signers} signers and {blocks} block counts are no batch")]
    Lengths {
        /// Signers listed.
        signers: usize,
        /// Block counts listed.
        blocks: usize,
    },
    /// At that log the signer belonged to no sequencer that we know.
    #[error("signer {0} belongs to no sequencer at that log")]
    UnknownSigner(Address),
    /// More blocks than any chain has.
    #[error("the blocks of signer {0} do not fit in 64 bits")]
    TooManyBlocks(Address),
    /// The credits do not fit in 256 bits.
    #[error("the credits do not fit in 256 bits")]
    Overflow,
    /// The credits do not add up to what the batch paid.
    #[error("the credits add up to {sum} METIS, the batch paid {paid}")]
    Total {
        /// Sum of the credits.
        sum: Metis,
        /// `DistributeReward.amount`.
        paid: Metis,
    },
}

/// The reward for so many blocks, if it fits.
pub fn credit(blocks: u64, reward_per_block: Metis) -> Option<Metis> {
    reward_per_block.checked_mul(U256::from(blocks))
}

/// Splits a batch by the arguments of `batchSubmitRewards`, in order of sequencer ids.
///
/// `id_of` maps a signer to its sequencer *as of the batch's log*; `paid` and `reward_per_block` are
/// the amounts of `DistributeReward`.
///
/// # Errors
/// [`Unattributed`] unless every signer is known and the credits add up to `paid` exactly.
pub fn attribute(
    signers: &[Address],
    blocks: &[U256],
    reward_per_block: Metis,
    paid: Metis,
    id_of: impl Fn(Address) -> Option<SequencerId>,
) -> Result<Vec<Credit>, Unattributed> {
    if signers.len() != blocks.len() || signers.is_empty() {
        return Err(Unattributed::Lengths { signers: signers.len(), blocks: blocks.len() });
    }
    let mut blocks_of = BTreeMap::<SequencerId, u64>::new();
    for (signer, blocks) in signers.iter().zip(blocks) {
        let id = id_of(*signer).ok_or(Unattributed::UnknownSigner(*signer))?;
        let sum = blocks_of.entry(id).or_default();
        let more = u64::try_from(*blocks).ok().and_then(|blocks| sum.checked_add(blocks));
        *sum = more.ok_or(Unattributed::TooManyBlocks(*signer))?;
    }
    let credits = blocks_of.into_iter().map(|(sequencer, blocks)| {
        let amount = credit(blocks, reward_per_block).ok_or(Unattributed::Overflow)?;
        Ok(Credit { sequencer, blocks, amount })
    });
    let credits = credits.collect::<Result<Vec<_>, _>>()?;
    let sum = Metis::checked_sum(credits.iter().map(|credit| credit.amount)).ok_or(Unattributed::Overflow)?;
    if sum == paid { Ok(credits) } else { Err(Unattributed::Total { sum, paid }) }
}

/// The reward that a relock turned into principal, which no event tells.
///
/// `transferred` is the value of the METIS `Transfer` from the owner to LockingInfo that belongs to
/// this `Relocked`, the last one before it in the same transaction. `None` if it is larger than
/// `relocked`: then it belongs to something else.
pub fn relocked_from_reward(relocked: Metis, transferred: Metis) -> Option<Metis> {
    relocked.checked_sub(transferred)
}

/// The wide number, if it fits in 256 bits.
fn narrow(wide: U512) -> Option<U256> {
    U256::uint_try_from(wide).ok()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::address;
    use proptest::prelude::*;

    use super::*;

    const K1: Address = address!("0xEcA7Ae7dE0d1978DF299a547Ee66c4503fBa474D");
    const OTHER: Address = address!("0xa233Cc81fC6C12e3318eA71EC5D7bBA78C706b04");
    const RPB: Metis = Metis(U256::from_limbs([761_000_000_000_000, 0, 0, 0]));

    fn id_of(signer: Address) -> Option<SequencerId> {
        [(K1, 2), (OTHER, 1)].iter().find(|(known, _)| *known == signer).map(|(_, id)| SequencerId(*id))
    }

    fn counts(blocks: &[u64]) -> Vec<U256> {
        blocks.iter().copied().map(U256::from).collect()
    }

    fn paid(blocks: u64) -> Metis {
        credit(blocks, RPB).expect("a small product")
    }

    #[test]
    fn the_golden_batch_is_split_by_sequencer() {
        let credits = attribute(&[K1, OTHER], &counts(&[1000, 4000]), RPB, paid(5000), id_of);
        let expected = vec![
            Credit { sequencer: SequencerId(1), blocks: 4000, amount: paid(4000) },
            Credit { sequencer: SequencerId(2), blocks: 1000, amount: paid(1000) },
        ];
        assert_eq!(credits, Ok(expected));
        assert_eq!(paid(1000).to_string(), "0.761");
    }

    #[test]
    fn duplicates_add_up_and_nothing_earned_is_still_a_credit() {
        let credits = attribute(&[K1, OTHER, K1], &counts(&[1000, 0, 500]), RPB, paid(1500), id_of);
        let expected = vec![
            Credit { sequencer: SequencerId(1), blocks: 0, amount: Metis::ZERO },
            Credit { sequencer: SequencerId(2), blocks: 1500, amount: paid(1500) },
        ];
        assert_eq!(credits, Ok(expected));
    }

    #[test]
    fn what_does_not_add_up_is_unattributed() {
        let stranger = Address::repeat_byte(7);
        let wei = Metis::wei(1);
        let short = paid(5).checked_sub(wei).expect("positive");
        let table = [
            (vec![], vec![], Metis::ZERO, Unattributed::Lengths { signers: 0, blocks: 0 }),
            (vec![K1], counts(&[1, 2]), paid(3), Unattributed::Lengths { signers: 1, blocks: 2 }),
            (vec![K1, stranger], counts(&[1, 2]), paid(3), Unattributed::UnknownSigner(stranger)),
            (vec![K1], vec![U256::MAX], paid(3), Unattributed::TooManyBlocks(K1)),
            (vec![K1, K1], counts(&[u64::MAX, 1]), paid(3), Unattributed::TooManyBlocks(K1)),
            (vec![K1], counts(&[5]), short, Unattributed::Total { sum: paid(5), paid: short }),
        ];
        for (signers, blocks, paid, expected) in table {
            assert_eq!(attribute(&signers, &blocks, RPB, paid, id_of), Err(expected));
        }
        let overflow = attribute(&[K1], &counts(&[2]), Metis::MAX, Metis::MAX, id_of);
        assert_eq!(overflow, Err(Unattributed::Overflow));
        let sum = attribute(&[K1, OTHER], &counts(&[1, 1]), Metis::MAX, Metis::MAX, id_of);
        assert_eq!(sum, Err(Unattributed::Overflow));
    }

    #[test]
    fn the_relocked_reward_is_what_was_not_transferred() {
        assert_eq!(relocked_from_reward(Metis::wei(10), Metis::wei(4)), Some(Metis::wei(6)));
        assert_eq!(relocked_from_reward(Metis::wei(10), Metis::ZERO), Some(Metis::wei(10)));
        assert_eq!(relocked_from_reward(Metis::wei(4), Metis::wei(10)), None);
    }

    proptest! {
        #[test]
        fn a_proven_split_adds_up_to_the_wei(blocks in proptest::collection::vec(0..1_000_000_u64, 1..20)) {
            let signers: Vec<_> = (0..blocks.len()).map(|i| if i % 3 == 0 { K1 } else { OTHER }).collect();
            let total = paid(blocks.iter().sum());
            let credits = attribute(&signers, &counts(&blocks), RPB, total, id_of).expect("it adds up");
            prop_assert_eq!(Metis::checked_sum(credits.iter().map(|c| c.amount)), Some(total));
        }
    }
}
