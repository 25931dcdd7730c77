//! Every event we follow, decoded and typed, with the names of the chain straightened out.
//!
//! [`decode`] is total: a log is an event, an unknown one, or a malformed one, and never lost. What
//! events mean for a sequencer is decided in `domain`; storing them belongs to the indexer.

mod read;
mod source;
mod subject;

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolEvent;
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, Height, Nonce, SequencerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::abi::{Erc20, LockingInfo, LockingPool, Proxied, SequencerSet};
use crate::rpc::Log;
use read::{Read, decimal, strict};
pub use source::{Source, UnknownSource};

/// What a log turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// An event of this contract.
    Event(ChainEvent),
    /// No event that this contract is known to emit: keep it raw.
    Unknown {
        /// What should have named the event.
        topic0: Option<B256>,
    },
    /// A known event whose content is not what its name says: keep it raw and raise an alert.
    Malformed {
        /// The name of the event.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}

macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $name:ident = $abi:ident from [$($source:ident),+] {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $abi_field:ident,)*
        }
    )+) => {
        /// An event of one of the contracts. As JSON it is `{"name": …, "args": {…}}` with every
        /// number a decimal string.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "name", content = "args", deny_unknown_fields)]
        pub enum ChainEvent {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type,)* },)+
        }

        impl ChainEvent {
            /// The names of all events.
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// The name on the chain: stable, as stored and streamed.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => stringify!($name),)+
                }
            }
        }

        /// The topics that name the events of a contract, for log filters.
        #[must_use]
        pub fn topics_of(source: Source) -> Vec<B256> {
            let mut topics = Vec::new();
            $(if [$(Source::$source),+].contains(&source) {
                topics.push($abi::$name::SIGNATURE_HASH);
            })+
            topics
        }

        /// Reads a log emitted by this contract.
        #[must_use]
        pub fn decode(source: Source, topics: &[B256], data: &[u8]) -> Decoded {
            let Some(topic0) = topics.first().copied() else {
                return Decoded::Unknown { topic0: None };
            };
            $(if topic0 == $abi::$name::SIGNATURE_HASH && [$(Source::$source),+].contains(&source) {
                let read = || -> Result<ChainEvent, String> {
                    let event = strict::<$abi::$name>(topics, data)?;
                    Ok(ChainEvent::$name { $($field: Read::read(event.$abi_field, stringify!($field))?,)* })
                };
                return match read() {
                    Ok(event) => Decoded::Event(event),
                    Err(why) => Decoded::Malformed { name: stringify!($name), why },
                };
            })+
            Decoded::Unknown { topic0: Some(topic0) }
        }
    };
}

events! {
    /// A sequencer was locked. Its owner comes in the `SequencerOwnerChanged` that follows.
    Locked = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// Its key.
        signer: Address = signer,
        /// Its operation counter, always 1.
        #[serde(with = "decimal")] nonce: Nonce = nonce,
        /// The batch it began in.
        #[serde(with = "decimal")] activation_batch: BatchId = activationBatch,
        /// Its principal, wei.
        amount: Metis = amount,
        /// Principal of all sequencers after it, wei.
        total_locked: Metis = total,
        /// Public key of the signer, 64 bytes.
        signer_pubkey: Bytes = signerPubkey,
    }
    /// A principal grew.
    Relocked = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// METIS from the owner and reward converted, together, wei.
        amount: Metis = amount,
        /// Principal of all sequencers after it, wei.
        total_locked: Metis = total,
    }
    /// A part of a principal went back to the owner.
    Withdraw = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// What left, wei.
        amount: Metis = amount,
    }
    /// A principal is now this much.
    LockUpdate = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// Its operation counter.
        #[serde(with = "decimal")] nonce: Nonce = nonce,
        /// Its principal, wei.
        locked: Metis = newAmount,
    }
    /// A reward left over the bridge.
    ClaimRewards = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// Who gets it on L2.
        recipient: Address = recipient,
        /// The reward, wei; 0 for an unlock without reward.
        amount: Metis = amount,
        /// Rewards of all sequencers ever bridged, wei.
        total_liquidated: Metis = totalAmount,
    }
    /// An exit began.
    UnlockInit = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// Its signer: the contract calls it user.
        signer: Address = user,
        /// Its operation counter.
        #[serde(with = "decimal")] nonce: Nonce = nonce,
        /// The batch it ended in.
        #[serde(with = "decimal")] deactivation_batch: BatchId = deactivationBatch,
        /// Block time of the exit.
        #[serde(with = "decimal")] deactivation_time: Timestamp = deactivationTime,
        /// From when on the principal may leave.
        #[serde(with = "decimal")] unlock_claim_time: Timestamp = unlockClaimTime,
        /// The reward being bridged, wei: not the principal.
        reward: Metis = amount,
    }
    /// An exit ended and the principal went back.
    Unlocked = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// Its owner: the contract calls it user.
        owner: Address = user,
        /// The principal returned, wei.
        amount: Metis = amount,
        /// Principal of all sequencers after it, wei.
        total_locked: Metis = total,
    }
    /// A sequencer has a new key; the old one is burnt.
    SignerChange = LockingInfo from [InfoProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = sequencerId,
        /// Its operation counter.
        #[serde(with = "decimal")] nonce: Nonce = nonce,
        /// The key before.
        old_signer: Address = oldSigner,
        /// The key from now on.
        new_signer: Address = newSigner,
        /// Public key of the new signer, 64 bytes.
        signer_pubkey: Bytes = signerPubkey,
    }
    /// A reward batch was paid for.
    BatchSubmitReward = LockingInfo from [InfoProxy] {
        /// The batch.
        #[serde(with = "decimal")] batch_id: BatchId = newBatchId,
    }
    /// The least that may be locked changed.
    SetMinLock = LockingInfo from [InfoProxy] {
        /// The new limit, wei.
        min_lock: Metis = newMinLock,
    }
    /// The most that may be locked changed.
    SetMaxLock = LockingInfo from [InfoProxy] {
        /// The new limit, wei.
        max_lock: Metis = newMaxLock,
    }
    /// Someone else funds the rewards.
    SetRewardPayer = LockingInfo from [InfoProxy] {
        /// The new payer.
        payer: Address = payer,
    }
    /// A sequencer has this owner, at its lock or by a handover.
    SequencerOwnerChanged = LockingPool from [PoolProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = seqId,
        /// Its owner.
        owner: Address = owner,
    }
    /// Rewards of a sequencer go here; the zero address is nowhere.
    SequencerRewardRecipientChanged = LockingPool from [PoolProxy] {
        /// The sequencer.
        #[serde(with = "decimal")] seq_id: SequencerId = seqId,
        /// Who gets its rewards on L2.
        recipient: Address = recipient,
    }
    /// An owner may, or may no longer, use the pool.
    SetWhitelist = LockingPool from [PoolProxy] {
        /// The owner.
        owner: Address = user,
        /// Whether it may.
        whitelisted: bool = yes,
    }
    /// A reward batch was credited; the shares are in the calldata only.
    DistributeReward = LockingPool from [PoolProxy] {
        /// The batch.
        #[serde(with = "decimal")] batch_id: BatchId = batchId,
        /// First L2 epoch paid for.
        #[serde(with = "decimal")] start_epoch: EpochId = startEpoch,
        /// Last L2 epoch paid for.
        #[serde(with = "decimal")] end_epoch: EpochId = endEpoch,
        /// The reward of all sequencers, wei.
        amount: Metis = amount,
        /// Reward for each block, wei.
        reward_per_block: Metis = rpb,
    }
    /// The reward for each block changed.
    RewardUpdate = LockingPool from [PoolProxy] {
        /// From now on, wei.
        new_reward: Metis = newReward,
        /// Before, wei.
        old_reward: Metis = oldReward,
    }
    /// The waiting time of exits that begin from now on changed. The misspelling is the chain's.
    WithrawDelayTimeChange = LockingPool from [PoolProxy] {
        /// From now on, seconds.
        #[serde(with = "decimal")] new_secs: u64 = cur,
        /// Before, seconds.
        #[serde(with = "decimal")] old_secs: u64 = prev,
    }
    /// Another address submits reward batches.
    UpdateMpc = LockingPool from [PoolProxy] {
        /// The new address.
        mpc: Address = newMpc,
    }
    /// Batches between two changes of a signer changed.
    SetSignerUpdateThrottle = LockingPool from [PoolProxy] {
        /// The new number.
        #[serde(with = "decimal")] batches: u64 = n,
    }
    /// The pool was paused.
    Paused = LockingPool from [PoolProxy] {
        /// By whom.
        account: Address = account,
    }
    /// The pool goes on.
    Unpaused = LockingPool from [PoolProxy] {
        /// By whom.
        account: Address = account,
    }
    /// A contract has another owner.
    OwnershipTransferred = Proxied from [PoolProxy, InfoProxy, SequencerSet] {
        /// Before.
        previous_owner: Address = previousOwner,
        /// From now on.
        new_owner: Address = newOwner,
    }
    /// A contract was set up.
    Initialized = Proxied from [PoolProxy, InfoProxy, SequencerSet] {
        /// Which version of its set-up ran.
        version: u8 = version,
    }
    /// A proxy has another implementation: its variant must be looked at again.
    Upgraded = Proxied from [PoolProxy, InfoProxy, SequencerSet] {
        /// The implementation from now on.
        implementation: Address = implementation,
    }
    /// Someone else may upgrade a proxy.
    AdminChanged = Proxied from [PoolProxy, InfoProxy, SequencerSet] {
        /// Before.
        previous_admin: Address = previousAdmin,
        /// From now on.
        new_admin: Address = newAdmin,
    }
    /// METIS moved on L1.
    Transfer = Erc20 from [Metis] {
        /// From whom.
        from: Address = from,
        /// To whom.
        to: Address = to,
        /// How much, wei.
        amount: Metis = value,
    }
    /// L2 blocks were given to a producer.
    NewEpoch = SequencerSet from [SequencerSet] {
        /// The epoch.
        #[serde(with = "decimal")] epoch: EpochId = epochId,
        /// Its first block.
        #[serde(with = "decimal")] start_block: Height = startBlock,
        /// Its last block.
        #[serde(with = "decimal")] end_block: Height = endBlock,
        /// Who produces.
        signer: Address = signer,
    }
    /// L2 blocks were taken from a producer and given to another. There is no `NewEpoch` with it,
    /// and the cut end of the old epoch is not said: it is the smaller of its end and
    /// `start_block - 1`.
    ReCommitEpoch = SequencerSet from [SequencerSet] {
        /// The epoch cut short.
        #[serde(with = "decimal")] old_epoch: EpochId = oldEpochId,
        /// The epoch made or overwritten.
        #[serde(with = "decimal")] new_epoch: EpochId = newEpochId,
        /// The current epoch before it.
        #[serde(with = "decimal")] current_epoch: EpochId = curEpochId,
        /// First block of the new epoch.
        #[serde(with = "decimal")] start_block: Height = startBlock,
        /// Last block of the new epoch.
        #[serde(with = "decimal")] end_block: Height = endBlock,
        /// Who produces now.
        new_signer: Address = newSigner,
    }
    /// Another address commits epochs.
    MpcAddressUpdated = SequencerSet from [SequencerSet] {
        /// The new address.
        mpc: Address = newMpcAddress,
    }
    /// Epochs have another length.
    EpochUpdated = SequencerSet from [SequencerSet] {
        /// Blocks of each regular epoch.
        #[serde(with = "decimal")] epoch_length: u64 = newLength,
    }
}

/// Reads a log as the node gave it.
#[must_use]
pub fn decode_log(source: Source, log: &Log) -> Decoded {
    decode(source, &log.topics, &log.data)
}

impl ChainEvent {
    /// The arguments as a JSON object.
    #[must_use]
    pub fn args(&self) -> serde_json::Value {
        let mut whole = serde_json::to_value(self).expect("names, numbers and hex are JSON");
        whole["args"].take()
    }

    /// An event from its stored name and arguments.
    ///
    /// # Errors
    /// If there is no such event, or the arguments are not its own.
    pub fn from_parts(name: &str, args: serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::json!({ "name": name, "args": args }))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, b256};

    use super::*;

    fn locked(nonce: U256) -> LockingInfo::Locked {
        LockingInfo::Locked {
            signer: Address::repeat_byte(1),
            sequencerId: U256::from(7),
            nonce,
            activationBatch: U256::from(3),
            amount: U256::from(20_000),
            total: U256::from(40_000),
            signerPubkey: Bytes::from([4; 64]),
        }
    }

    fn read(source: Source, event: &LockingInfo::Locked, extra: &[u8]) -> Decoded {
        let log = event.encode_log_data();
        decode(source, log.topics(), &[&log.data[..], extra].concat())
    }

    #[test]
    fn an_event_counts_only_from_its_own_contract() {
        let event = locked(U256::from(1));
        assert!(matches!(read(Source::InfoProxy, &event, &[]), Decoded::Event(ChainEvent::Locked { .. })));
        for source in [Source::PoolProxy, Source::Metis, Source::SequencerSet] {
            assert!(matches!(read(source, &event, &[]), Decoded::Unknown { topic0: Some(_) }), "{source}");
        }
    }

    #[test]
    fn what_is_not_exactly_the_event_is_malformed_and_never_lost() {
        let event = locked(U256::from(1));
        let malformed = |decoded| matches!(decoded, Decoded::Malformed { name: "Locked", .. });
        assert!(malformed(read(Source::InfoProxy, &event, &[0; 32])), "data after the end");
        assert!(malformed(read(Source::InfoProxy, &locked(U256::MAX), &[])), "a nonce that cannot be");
        let log = event.encode_log_data();
        assert!(malformed(decode(Source::InfoProxy, &log.topics()[..3], &log.data)), "a topic is missing");
        assert!(malformed(decode(Source::InfoProxy, log.topics(), &log.data[..64])), "data is missing");
        let mut dirty = log.topics().to_vec();
        dirty[1] = b256!("ff00000000000000000000000101010101010101010101010101010101010101");
        assert!(malformed(decode(Source::InfoProxy, &dirty, &log.data)), "more than an address");
    }

    #[test]
    fn a_log_without_topics_is_unknown() {
        assert_eq!(decode(Source::Metis, &[], &[]), Decoded::Unknown { topic0: None });
    }

    #[test]
    fn names_and_topics_are_complete_and_told_apart() {
        assert_eq!(ChainEvent::NAMES.len(), 31);
        let counts = [Source::PoolProxy, Source::InfoProxy, Source::Metis, Source::SequencerSet]
            .map(|source| topics_of(source).len());
        assert_eq!(counts, [14, 16, 1, 8]);
    }

    #[test]
    fn sources_are_found_by_their_names() {
        assert_eq!("info_proxy".parse(), Ok(Source::InfoProxy));
        assert_eq!("info".parse::<Source>(), Err(UnknownSource("info".to_owned())));
    }
}
