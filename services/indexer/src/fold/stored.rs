//! Records as rows, and back.

use alloy_primitives::{Address, Bytes};
use chain::views::SequencerRecord;
use domain::amount::Metis;
use domain::ids::{BatchId, Nonce, SequencerId, Timestamp};
use domain::preflight::Status;

use super::Place;
use crate::db::record::Row;
use crate::db::{column, height, whitelist};

/// A status as the contract numbers it.
pub fn status_number(status: Status) -> i16 {
    match status {
        Status::Inactive => 1,
        Status::Active => 2,
        Status::Unlocked => 3,
    }
}

/// A status from its number; the table allows no other than 1, 2 and 3.
pub fn status_of(number: i16) -> Status {
    match number {
        1 => Status::Inactive,
        2 => Status::Active,
        _ => Status::Unlocked,
    }
}

/// A record as it is stored.
pub fn to_row(id: SequencerId, number: i64, record: &SequencerRecord) -> Row {
    Row {
        sequencer_id: column(id.0),
        number,
        status: status_number(record.status),
        owner: record.owner.into(),
        signer: record.signer.into(),
        pubkey: record.pubkey.to_vec(),
        reward_recipient: record.reward_recipient.unwrap_or_default().into(),
        amount: record.amount.0.into(),
        reward: record.reward.0.into(),
        nonce: column(record.nonce.0),
        activation_batch: column(record.activation_batch.0),
        updated_batch: column(record.updated_batch.0),
        deactivation_batch: column(record.deactivation_batch.0),
        deactivation_time: column(record.deactivation_time.0),
        unlock_claim_time: column(record.unlock_claim_time.0),
    }
}

/// A stored record as the contract would give it.
pub fn from_row(row: Row) -> (SequencerId, SequencerRecord) {
    let Row {
        sequencer_id,
        number: _,
        status,
        owner,
        signer,
        pubkey,
        reward_recipient,
        amount,
        reward,
        nonce,
        activation_batch,
        updated_batch,
        deactivation_batch,
        deactivation_time,
        unlock_claim_time,
    } = row;
    let record = SequencerRecord {
        amount: Metis(amount.0),
        reward: Metis(reward.0),
        activation_batch: BatchId(height(activation_batch)),
        updated_batch: BatchId(height(updated_batch)),
        deactivation_batch: BatchId(height(deactivation_batch)),
        deactivation_time: Timestamp(height(deactivation_time)),
        unlock_claim_time: Timestamp(height(unlock_claim_time)),
        nonce: Nonce(height(nonce)),
        owner: owner.0,
        signer: signer.0,
        pubkey: pubkey.into(),
        reward_recipient: Some(reward_recipient.0).filter(|recipient| !recipient.is_zero()),
        status: status_of(status),
    };
    (SequencerId(height(sequencer_id)), record)
}

/// A record right after its lock; the owner comes with the SequencerOwnerChanged that follows.
pub fn locked_record(signer: Address, pubkey: &Bytes, batch_id: BatchId, amount: Metis) -> SequencerRecord {
    SequencerRecord {
        amount,
        reward: Metis::ZERO,
        activation_batch: batch_id,
        updated_batch: batch_id,
        deactivation_batch: BatchId(0),
        deactivation_time: Timestamp(0),
        unlock_claim_time: Timestamp(0),
        nonce: Nonce(1),
        owner: Address::ZERO,
        signer,
        pubkey: pubkey.clone(),
        reward_recipient: None,
        status: Status::Active,
    }
}

/// A change of the whitelist as it is stored.
pub fn whitelisting(place: &Place, log_index: i32, (owner, whitelisted): (Address, bool)) -> whitelist::Row {
    whitelist::Row {
        owner: owner.into(),
        number: column(place.number),
        log_index,
        block_hash: place.block_hash.into(),
        transaction_hash: place.transaction_hash.into(),
        whitelisted,
    }
}
