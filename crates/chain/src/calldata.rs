//! Calldata of the operations, and the calldata of a reward batch read back.
//!
//! Builders check nothing: what may be asked for is decided by `domain` and by the preflight.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, SequencerId};
use domain::pubkey::PublicKey;

use crate::abi::{Erc20, LockingPool};
use crate::rpc::CallFrame;

/// `lock`: the METIS must be approved to LockingInfo first. A recipient of zero is allowed.
#[must_use]
pub fn lock(signer: &PublicKey, reward_recipient: Address, amount: Metis) -> Bytes {
    let call = LockingPool::lockWithRewardRecipientCall {
        signer: signer.address(),
        rewardRecipient: reward_recipient,
        amount: amount.0,
        signerPubkey: signer.bytes64().into(),
    };
    call.abi_encode().into()
}

/// `increase`: more METIS from the owner, the unclaimed reward, or both.
#[must_use]
pub fn increase(seq_id: SequencerId, amount: Metis, lock_reward: bool) -> Bytes {
    LockingPool::relockCall { seqId: seq_id.into(), amount: amount.0, lockReward: lock_reward }
        .abi_encode()
        .into()
}

/// `withdraw`: a part of the principal, to the owner.
#[must_use]
pub fn withdraw(seq_id: SequencerId, amount: Metis) -> Bytes {
    LockingPool::withdrawCall { seqId: seq_id.into(), amount: amount.0 }.abi_encode().into()
}

/// `claim`: the reward, over the bridge to the recipient. The bridge fee is the value to send.
#[must_use]
pub fn claim(seq_id: SequencerId, l2_gas: u32) -> Bytes {
    LockingPool::withdrawRewardsCall { seqId: seq_id.into(), l2Gas: l2_gas }.abi_encode().into()
}

/// `set_recipient`: where rewards go on L2.
#[must_use]
pub fn set_recipient(seq_id: SequencerId, recipient: Address) -> Bytes {
    LockingPool::setSequencerRewardRecipientCall { seqId: seq_id.into(), recipient }.abi_encode().into()
}

/// `set_owner`: who owns the sequencer, its principal and its exit.
#[must_use]
pub fn set_owner(seq_id: SequencerId, new_owner: Address) -> Bytes {
    LockingPool::setSequencerOwnerCall { seqId: seq_id.into(), newOwner: new_owner }.abi_encode().into()
}

/// `rotate_signer`: to be sent by the current signer.
#[must_use]
pub fn rotate_signer(seq_id: SequencerId, new_signer: &PublicKey) -> Bytes {
    LockingPool::updateSignerCall { seqId: seq_id.into(), signerPubkey: new_signer.bytes64().into() }
        .abi_encode()
        .into()
}

/// `unlock`: begins the exit, for good. The bridge fee is the value to send.
#[must_use]
pub fn unlock(seq_id: SequencerId, l2_gas: u32) -> Bytes {
    LockingPool::unlockCall { seqId: seq_id.into(), l2Gas: l2_gas }.abi_encode().into()
}

/// `withdraw_final`: ends the exit. The bridge fee is the value to send.
#[must_use]
pub fn withdraw_final(seq_id: SequencerId, l2_gas: u32) -> Bytes {
    LockingPool::unlockClaimCall { seqId: seq_id.into(), l2Gas: l2_gas }.abi_encode().into()
}

/// Approval of METIS; the spender of a lock is LockingInfo, not LockingPool.
#[must_use]
pub fn approve(spender: Address, amount: Metis) -> Bytes {
    Erc20::approveCall { spender, value: amount.0 }.abi_encode().into()
}

/// The arguments of one `batchSubmitRewards`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardBatch {
    /// The batch.
    pub batch_id: BatchId,
    /// First L2 epoch it pays for.
    pub start_epoch: EpochId,
    /// Last L2 epoch it pays for.
    pub end_epoch: EpochId,
    /// The signers paid, in order; one may be listed twice.
    pub signers: Vec<Address>,
    /// The blocks of each of them.
    pub blocks: Vec<U256>,
}

/// Why calldata is not that of a reward batch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotRewardBatch {
    /// Another function, or none.
    #[error("the calldata is not of batchSubmitRewards")]
    OtherFunction,
    /// The right function with arguments that do not decode.
    #[error("the arguments of batchSubmitRewards do not decode")]
    Undecodable(#[source] alloy_sol_types::Error),
    /// More than one way to write the same arguments was used, or something follows them.
    #[error("the arguments of batchSubmitRewards are not in their canonical encoding")]
    NotCanonical,
    /// A batch or epoch that does not fit in 64 bits: the contract counts both up from 1.
    #[error("a batch or epoch number is larger than any there can be")]
    TooLarge,
    /// The contract refuses such a batch.
    #[error("{signers} signers but {blocks} block counts")]
    LengthsDiffer {
        /// Number of signers.
        signers: usize,
        /// Number of block counts.
        blocks: usize,
    },
}

impl RewardBatch {
    /// Reads calldata strictly: encoded again it must give the same bytes.
    ///
    /// # Errors
    /// If the calldata is not that of a well-formed reward batch.
    pub fn decode(input: &[u8]) -> Result<Self, NotRewardBatch> {
        if !input.starts_with(&LockingPool::batchSubmitRewardsCall::SELECTOR) {
            return Err(NotRewardBatch::OtherFunction);
        }
        let call =
            LockingPool::batchSubmitRewardsCall::abi_decode(input).map_err(NotRewardBatch::Undecodable)?;
        if call.abi_encode() != input {
            return Err(NotRewardBatch::NotCanonical);
        }
        let LockingPool::batchSubmitRewardsCall { batchId, startEpoch, endEpoch, seqs, blocks } = call;
        if seqs.len() != blocks.len() {
            return Err(NotRewardBatch::LengthsDiffer { signers: seqs.len(), blocks: blocks.len() });
        }
        Ok(Self {
            batch_id: batchId.try_into().map_err(|_| NotRewardBatch::TooLarge)?,
            start_epoch: startEpoch.try_into().map_err(|_| NotRewardBatch::TooLarge)?,
            end_epoch: endEpoch.try_into().map_err(|_| NotRewardBatch::TooLarge)?,
            signers: seqs,
            blocks,
        })
    }

    /// The reward batches a traced transaction brought to the pool, in order: for a batch that came
    /// through another contract.
    #[must_use]
    pub fn all_in(trace: &CallFrame, pool: Address) -> Vec<Self> {
        trace
            .effective_calls_to(pool)
            .into_iter()
            .filter_map(|frame| Self::decode(&frame.input).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256, hex, keccak256};

    use super::*;

    const K1: Address = address!("EcA7Ae7dE0d1978DF299a547Ee66c4503fBa474D");
    const K1_PUBKEY: [u8; 64] = hex!(
        "4d5e02936a222d68b5d423e566828d8c67ca2290cf428254c44c7be458b33decec1fe85d900756811366e2d19baeb2fe81b46ce10c1863e00d811e68a4e76c9f"
    );

    fn batch() -> LockingPool::batchSubmitRewardsCall {
        LockingPool::batchSubmitRewardsCall {
            batchId: U256::from(2),
            startEpoch: U256::from(1),
            endEpoch: U256::from(5),
            seqs: vec![K1, address!("a233Cc81fC6C12e3318eA71EC5D7bBA78C706b04")],
            blocks: vec![U256::from(1000), U256::from(4000)],
        }
    }

    #[test]
    fn calldata_equals_the_golden_vectors() {
        let amount = U256::from(20_000) * U256::from(10).pow(U256::from(18));
        let call = LockingPool::lockForCall { signer: K1, amount, signerPubkey: K1_PUBKEY.into() };
        assert_eq!(
            keccak256(call.abi_encode()),
            b256!("0d6bf38acbc79bec9c6235fcf56a45f01bbbfaf2f6f5e0b8c87530d0a4a362be")
        );
        assert_eq!(
            claim(SequencerId(1), 200_000).to_vec(),
            [
                &hex!("17396687")[..],
                &U256::from(1).to_be_bytes::<32>(),
                &U256::from(0x30d40).to_be_bytes::<32>()
            ]
            .concat()
        );
        let encoded = batch().abi_encode();
        assert_eq!(encoded.len(), 356);
        assert_eq!(
            keccak256(encoded),
            b256!("45c88a8d416c8f1090496ebf5db2a1458951826cbcc06eeef74aa5a8cceace38")
        );
    }

    #[test]
    fn each_builder_makes_the_call_of_its_operation() {
        let (id, one, key) = (SequencerId(7), Metis::wei(1), PublicKey::from_bytes(&K1_PUBKEY).unwrap());
        let table: [(Bytes, [u8; 4]); 10] = [
            (lock(&key, K1, one), hex!("9ad42030")),
            (increase(id, one, true), hex!("015bb180")),
            (withdraw(id, one), hex!("441a3e70")),
            (claim(id, 0), hex!("17396687")),
            (set_recipient(id, K1), hex!("d83b0e14")),
            (set_owner(id, K1), hex!("a953791f")),
            (rotate_signer(id, &key), hex!("f41a9642")),
            (unlock(id, 0), hex!("262c0e66")),
            (withdraw_final(id, 0), hex!("8ddc74de")),
            (approve(K1, one), hex!("095ea7b3")),
        ];
        for (place, (calldata, selector)) in table.into_iter().enumerate() {
            assert_eq!(calldata[..4], selector, "builder {place}");
        }
    }

    #[test]
    fn a_reward_batch_is_read_back() {
        let read = RewardBatch::decode(&batch().abi_encode()).unwrap();
        assert_eq!((read.batch_id, read.start_epoch, read.end_epoch), (BatchId(2), EpochId(1), EpochId(5)));
        assert_eq!((read.signers[0], read.blocks[0]), (K1, U256::from(1000)));
    }

    #[test]
    fn calldata_that_is_not_exactly_a_reward_batch_is_refused() {
        let canonical = batch().abi_encode();
        let trailing = [&canonical[..], &[0]].concat();
        assert_eq!(RewardBatch::decode(&trailing), Err(NotRewardBatch::NotCanonical));
        let cut = &canonical[..canonical.len() - 1];
        assert!(matches!(RewardBatch::decode(cut), Err(NotRewardBatch::Undecodable(_))));
        assert_eq!(RewardBatch::decode(&[]), Err(NotRewardBatch::OtherFunction));
        assert_eq!(
            RewardBatch::decode(&withdraw(SequencerId(0), Metis::ZERO)),
            Err(NotRewardBatch::OtherFunction)
        );
        let endless = LockingPool::batchSubmitRewardsCall { batchId: U256::MAX, ..batch() };
        assert_eq!(RewardBatch::decode(&endless.abi_encode()), Err(NotRewardBatch::TooLarge));
        let uneven = LockingPool::batchSubmitRewardsCall { blocks: vec![], ..batch() };
        let refused = RewardBatch::decode(&uneven.abi_encode());
        assert_eq!(refused, Err(NotRewardBatch::LengthsDiffer { signers: 2, blocks: 0 }));
    }

    #[test]
    fn only_a_call_that_took_effect_counts_in_a_trace() {
        let pool = address!("d54c868362c2098e0e46f12e7d924c6a332952dd");
        let frame = |kind: &str, error: Option<&str>, calls: Vec<CallFrame>| CallFrame {
            kind: kind.to_owned(),
            from: K1,
            to: Some(pool),
            input: batch().abi_encode().into(),
            value: None,
            error: error.map(str::to_owned),
            calls,
        };
        let outer = |calls| CallFrame { to: Some(K1), ..frame("CALL", None, calls) };
        let taken = frame("CALL", None, vec![frame("DELEGATECALL", None, vec![])]);
        let inside_a_failed_call = CallFrame {
            to: Some(K1),
            ..frame("CALL", Some("execution reverted"), vec![frame("CALL", None, vec![])])
        };
        let failed = frame("CALL", Some("execution reverted"), vec![]);
        let trace = outer(vec![failed, inside_a_failed_call, taken]);
        assert_eq!(RewardBatch::all_in(&trace, pool).len(), 1);
    }
}
