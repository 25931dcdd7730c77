//! Events as they go over the wire.
//!
//! A log becomes its message once, when it is applied, and is stored and sent as those bytes.

use alloy_primitives::{Address, B256, hex};
use api::indexer::v1 as wire;
use api::indexer::v1::chain_event::Event;
use api::types::v1 as types;
use chain::event::{ChainEvent, Source};
use domain::amount::Metis;
use domain::ids::SequencerId;

use super::Place;
use crate::db::Layer;

/// What a message says beyond its log, found by the fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Derived {
    /// Nothing.
    None,
    /// Of a `Relocked`: the part that came from unclaimed reward.
    FromReward(Metis),
    /// Of a `DistributeReward`: the split.
    Split(super::credit::Split),
    /// Of a `ReCommitEpoch`: the producers who lost a turn, at most two.
    Displaced(Vec<Address>),
}

/// An address as text.
pub fn address(address: Address) -> String {
    address.to_checksum(None)
}

/// A hash as text.
pub fn hash(hash: B256) -> String {
    hex::encode_prefixed(hash)
}

/// A block on the wire.
pub fn block(number: u64, hash: B256, time: u64) -> types::BlockRef {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    types::BlockRef {
        number,
        hash: self::hash(hash),
        time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
    }
}

/// Where a log stands, on the wire.
pub fn place(layer: Layer, place: &Place) -> types::LogRef {
    types::LogRef {
        layer: layer.wire().into(),
        block: Some(block(place.number, place.block_hash, place.time)),
        transaction_hash: hash(place.transaction_hash),
        log_index: place.log_index,
    }
}

fn displaced(derived: &Derived) -> &[Address] {
    if let Derived::Displaced(signers) = derived { signers } else { &[] }
}

/// A log that has no type, as it came.
pub fn raw(topics: &[B256], data: &[u8], why: String) -> Event {
    Event::Raw(wire::RawLog {
        topics: topics.iter().copied().map(hash).collect(),
        data: hex::encode_prefixed(data),
        why,
    })
}

/// What happened, on the wire; none for logs that are only evidence for others.
pub fn event(event: &ChainEvent, derived: &Derived) -> Option<Event> {
    locking(event, derived)
        .or_else(|| leaving(event))
        .or_else(|| pool(event, derived))
        .or_else(|| other(event, derived))
}

/// The sequencer an event is about.
pub fn sequencer_of(event: &ChainEvent) -> Option<SequencerId> {
    match event {
        ChainEvent::Locked { seq_id, .. }
        | ChainEvent::Relocked { seq_id, .. }
        | ChainEvent::Withdraw { seq_id, .. }
        | ChainEvent::LockUpdate { seq_id, .. }
        | ChainEvent::ClaimRewards { seq_id, .. }
        | ChainEvent::UnlockInit { seq_id, .. }
        | ChainEvent::Unlocked { seq_id, .. }
        | ChainEvent::SignerChange { seq_id, .. }
        | ChainEvent::SequencerOwnerChanged { seq_id, .. }
        | ChainEvent::SequencerRewardRecipientChanged { seq_id, .. } => Some(*seq_id),
        _ => None,
    }
}

/// The owner or signer an event is about.
pub fn account_of(event: &ChainEvent) -> Option<Address> {
    match event {
        ChainEvent::Locked { signer, .. }
        | ChainEvent::UnlockInit { signer, .. }
        | ChainEvent::NewEpoch { signer, .. }
        | ChainEvent::SignerChange { new_signer: signer, .. }
        | ChainEvent::ReCommitEpoch { new_signer: signer, .. } => Some(*signer),
        ChainEvent::Unlocked { owner, .. }
        | ChainEvent::SequencerOwnerChanged { owner, .. }
        | ChainEvent::SetWhitelist { owner, .. } => Some(*owner),
        ChainEvent::Transfer { from, .. } => Some(*from),
        _ => None,
    }
}

/// Which contract of a layer an address is.
pub fn layer_of(source: Source) -> Layer {
    match source {
        Source::PoolProxy | Source::InfoProxy | Source::Metis => Layer::L1,
        Source::SequencerSet => Layer::L2,
    }
}

fn locking(event: &ChainEvent, derived: &Derived) -> Option<Event> {
    Some(match event {
        ChainEvent::Locked {
            seq_id,
            signer,
            nonce,
            activation_batch,
            amount,
            total_locked,
            signer_pubkey,
        } => Event::Locked(wire::Locked {
            sequencer_id: seq_id.to_string(),
            signer: address(*signer),
            nonce: nonce.0,
            activation_batch: activation_batch.0,
            amount_wei: amount.wei_string(),
            total_wei: total_locked.wei_string(),
            signer_pubkey: hex::encode_prefixed(signer_pubkey),
        }),
        ChainEvent::Relocked { seq_id, amount, total_locked } => Event::Relocked(wire::Relocked {
            sequencer_id: seq_id.to_string(),
            amount_wei: amount.wei_string(),
            total_wei: total_locked.wei_string(),
            from_reward_wei: if let Derived::FromReward(part) = derived { *part } else { Metis::ZERO }
                .wei_string(),
        }),
        ChainEvent::Withdraw { seq_id, amount } => Event::Withdraw(wire::Withdraw {
            sequencer_id: seq_id.to_string(),
            amount_wei: amount.wei_string(),
        }),
        ChainEvent::LockUpdate { seq_id, nonce, locked } => Event::LockUpdate(wire::LockUpdate {
            sequencer_id: seq_id.to_string(),
            nonce: nonce.0,
            new_amount_wei: locked.wei_string(),
        }),
        ChainEvent::SignerChange { seq_id, nonce, old_signer, new_signer, signer_pubkey } => {
            Event::SignerChange(wire::SignerChange {
                sequencer_id: seq_id.to_string(),
                nonce: nonce.0,
                old_signer: address(*old_signer),
                new_signer: address(*new_signer),
                signer_pubkey: hex::encode_prefixed(signer_pubkey),
            })
        }
        _ => return None,
    })
}

fn leaving(event: &ChainEvent) -> Option<Event> {
    Some(match event {
        ChainEvent::ClaimRewards { seq_id, recipient, amount, total_liquidated } => {
            Event::ClaimRewards(wire::ClaimRewards {
                sequencer_id: seq_id.to_string(),
                recipient: address(*recipient),
                amount_wei: amount.wei_string(),
                total_amount_wei: total_liquidated.wei_string(),
            })
        }
        ChainEvent::UnlockInit {
            seq_id,
            signer,
            nonce,
            deactivation_batch,
            deactivation_time,
            unlock_claim_time,
            reward,
        } => Event::UnlockInit(wire::UnlockInit {
            sequencer_id: seq_id.to_string(),
            signer: address(*signer),
            nonce: nonce.0,
            deactivation_batch: deactivation_batch.0,
            deactivation_time: deactivation_time.0,
            unlock_claim_time: unlock_claim_time.0,
            reward_wei: reward.wei_string(),
        }),
        ChainEvent::Unlocked { seq_id, owner, amount, total_locked } => Event::Unlocked(wire::Unlocked {
            sequencer_id: seq_id.to_string(),
            owner: address(*owner),
            amount_wei: amount.wei_string(),
            total_wei: total_locked.wei_string(),
        }),
        _ => return None,
    })
}

fn pool(event: &ChainEvent, derived: &Derived) -> Option<Event> {
    Some(match event {
        ChainEvent::BatchSubmitReward { batch_id } => {
            Event::BatchSubmitReward(wire::BatchSubmitReward { new_batch_id: batch_id.0 })
        }
        ChainEvent::SetMinLock { min_lock } => {
            Event::SetMinLock(wire::SetMinLock { min_lock_wei: min_lock.wei_string() })
        }
        ChainEvent::SetMaxLock { max_lock } => {
            Event::SetMaxLock(wire::SetMaxLock { max_lock_wei: max_lock.wei_string() })
        }
        ChainEvent::SetRewardPayer { payer } => {
            Event::SetRewardPayer(wire::SetRewardPayer { payer: address(*payer) })
        }
        ChainEvent::SequencerOwnerChanged { seq_id, owner } => {
            Event::SequencerOwnerChanged(wire::SequencerOwnerChanged {
                sequencer_id: seq_id.to_string(),
                owner: address(*owner),
            })
        }
        ChainEvent::SequencerRewardRecipientChanged { seq_id, recipient } => {
            Event::SequencerRewardRecipientChanged(wire::SequencerRewardRecipientChanged {
                sequencer_id: seq_id.to_string(),
                recipient: address(*recipient),
            })
        }
        ChainEvent::SetWhitelist { owner, whitelisted } => {
            Event::SetWhitelist(wire::SetWhitelist { owner: address(*owner), whitelisted: *whitelisted })
        }
        ChainEvent::DistributeReward { batch_id, start_epoch, end_epoch, amount, reward_per_block } => {
            let (method, credits) = if let Derived::Split(split) = derived {
                (split.method, split.credits.iter().map(super::credit::message).collect())
            } else {
                (wire::CreditMethod::Unattributed, Vec::new())
            };
            Event::DistributeReward(wire::DistributeReward {
                batch_id: batch_id.0,
                start_epoch: start_epoch.0,
                end_epoch: end_epoch.0,
                amount_wei: amount.wei_string(),
                reward_per_block_wei: reward_per_block.wei_string(),
                method: method.into(),
                credits,
            })
        }
        ChainEvent::RewardUpdate { new_reward, old_reward } => Event::RewardUpdate(wire::RewardUpdate {
            new_reward_wei: new_reward.wei_string(),
            old_reward_wei: old_reward.wei_string(),
        }),
        ChainEvent::WithrawDelayTimeChange { new_secs, old_secs } => {
            Event::WithrawDelayTimeChange(wire::WithrawDelayTimeChange {
                current_seconds: *new_secs,
                previous_seconds: *old_secs,
            })
        }
        _ => return None,
    })
}

fn other(event: &ChainEvent, derived: &Derived) -> Option<Event> {
    Some(match event {
        ChainEvent::UpdateMpc { mpc } => Event::UpdateMpc(wire::UpdateMpc { mpc: address(*mpc) }),
        ChainEvent::SetSignerUpdateThrottle { batches } => {
            Event::SetSignerUpdateThrottle(wire::SetSignerUpdateThrottle { batches: *batches })
        }
        ChainEvent::Paused { account } => Event::Paused(wire::Paused { account: address(*account) }),
        ChainEvent::Unpaused { account } => Event::Unpaused(wire::Unpaused { account: address(*account) }),
        ChainEvent::OwnershipTransferred { previous_owner, new_owner } => {
            Event::OwnershipTransferred(wire::OwnershipTransferred {
                previous_owner: address(*previous_owner),
                new_owner: address(*new_owner),
            })
        }
        ChainEvent::Initialized { version } => {
            Event::Initialized(wire::Initialized { version: u32::from(*version) })
        }
        ChainEvent::Upgraded { implementation } => {
            Event::Upgraded(wire::Upgraded { implementation: address(*implementation) })
        }
        ChainEvent::AdminChanged { previous_admin, new_admin } => Event::AdminChanged(wire::AdminChanged {
            previous_admin: address(*previous_admin),
            new_admin: address(*new_admin),
        }),
        ChainEvent::NewEpoch { epoch, start_block, end_block, signer } => Event::NewEpoch(wire::NewEpoch {
            epoch_id: epoch.0,
            start_block: start_block.0,
            end_block: end_block.0,
            signer: address(*signer),
        }),
        ChainEvent::ReCommitEpoch {
            old_epoch,
            new_epoch,
            current_epoch,
            start_block,
            end_block,
            new_signer,
        } => Event::ReCommitEpoch(wire::ReCommitEpoch {
            old_epoch_id: old_epoch.0,
            new_epoch_id: new_epoch.0,
            current_epoch_id: current_epoch.0,
            start_block: start_block.0,
            end_block: end_block.0,
            new_signer: address(*new_signer),
            displaced_signer: displaced(derived).first().copied().map(address).unwrap_or_default(),
            displaced_signers: displaced(derived).iter().copied().map(address).collect(),
        }),
        ChainEvent::MpcAddressUpdated { mpc } => {
            Event::MpcAddressUpdated(wire::MpcAddressUpdated { mpc: address(*mpc) })
        }
        ChainEvent::EpochUpdated { epoch_length } => {
            Event::EpochUpdated(wire::EpochUpdated { epoch_length: *epoch_length })
        }
        // Everything of the pool and the escrow was matched before; transfers are evidence only.
        _ => return None,
    })
}
