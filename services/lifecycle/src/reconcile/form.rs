//! The forms in which a stored transaction is signed: its call, or the transfer of nothing that cancels it.

use alloy_primitives::{Address, Bytes, U256};
use api::keys::v1::SigningIntent;
use api::types::v1::UnsignedTransaction;
use store::column::{Addr, Wei};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::transaction;
use crate::operations::plan::{Call, Plan};

/// Gas of a transfer of nothing to oneself.
pub const CANCEL_GAS: i64 = 21_000;

/// What is on its way for a row, for people.
pub fn form_of(row: &transaction::Row) -> String {
    if row.cancel_reason.is_some() {
        format!("the cancel of {}", row.step_name)
    } else {
        row.step_name.clone()
    }
}

/// What is signed for a row: its call, or nothing to oneself.
pub fn payload(planned: &transaction::Row, intent: SigningIntent) -> transaction::Row {
    if intent != SigningIntent::Cancel {
        return planned.clone();
    }
    transaction::Row {
        target: planned.account,
        value: Wei(U256::ZERO),
        data: Vec::new(),
        gas_limit: CANCEL_GAS,
        ..planned.clone()
    }
}

/// A stored row as keys and wallets know it.
pub fn unsigned(row: &transaction::Row) -> UnsignedTransaction {
    UnsignedTransaction {
        chain_id: u64::try_from(row.chain_id).unwrap_or_default(),
        from: row.account.0.to_string(),
        to: row.target.0.to_string(),
        nonce: row.nonce.and_then(|nonce| u64::try_from(nonce).ok()),
        value_wei: row.value.0.to_string(),
        data: Bytes::copy_from_slice(&row.data).to_string(),
        gas_limit: u64::try_from(row.gas_limit).unwrap_or_default(),
        max_fee_per_gas_wei: row.max_fee.0.to_string(),
        max_priority_fee_per_gas_wei: row.max_priority.0.to_string(),
    }
}

/// A call as a row, without nonce.
pub fn planned_row(
    operation: Uuid,
    step: i16,
    chain_id: i64,
    account: Address,
    plan: &Plan,
    call: &Call,
) -> transaction::Row {
    transaction::Row {
        id: Uuid::now_v7(),
        operation,
        step,
        step_name: call.step_name.to_owned(),
        chain_id,
        account: Addr(account),
        nonce: None,
        target: Addr(call.target),
        value: Wei(call.value),
        data: call.data.to_vec(),
        gas_limit: i64::try_from(call.gas_limit).unwrap_or(i64::MAX),
        max_fee: Wei(U256::from(plan.fees.max_fee_per_gas)),
        max_priority: Wei(U256::from(plan.fees.max_priority_fee_per_gas)),
        words: call.words.clone(),
        state: transaction::PLANNED.to_owned(),
        hash: None,
        receipt_block: None,
        receipt_hash: None,
        receipt_time: None,
        receipt_status: None,
        last_answer: String::new(),
        broadcast_block: None,
        cancel_reason: None,
        fills: false,
        refused: false,
        hurried: false,
        mined_intent: None,
        paid: None,
        create_time: OffsetDateTime::now_utc(),
    }
}
