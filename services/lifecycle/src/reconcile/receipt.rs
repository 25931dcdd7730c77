//! A receipt as the tables hold it, with what the transaction cost.

use alloy_primitives::U256;
use chain::rpc::{Header, Receipt};
use time::OffsetDateTime;

use crate::db::transaction::Mined;
use crate::db::{attempt, transaction};
use crate::error::Error;

/// The block of a receipt of a stored transaction; `intent` says which of its forms was mined.
pub fn mined_of(
    row: &transaction::Row,
    receipt: &Receipt,
    header: &Header,
    intent: &'static str,
) -> Result<Mined, Error> {
    let malformed = || Error::Malformed { what: "the block of a receipt" };
    Ok(Mined {
        hash: receipt.transaction_hash,
        block: i64::try_from(receipt.block_number).map_err(|_| malformed())?,
        block_hash: receipt.block_hash,
        block_time: i64::try_from(header.timestamp)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(malformed)?,
        succeeded: receipt.succeeded(),
        intent,
        paid: paid(row, receipt, intent),
    })
}

/// What a transaction cost its account. Old nodes do not tell the price: then the most that it may have been.
fn paid(row: &transaction::Row, receipt: &Receipt, intent: &str) -> U256 {
    let price = receipt.effective_gas_price.unwrap_or(row.max_fee.0);
    let gas = U256::from(receipt.gas_used).saturating_mul(price);
    let sent = receipt.succeeded() && intent == attempt::CALL;
    gas.saturating_add(if sent { row.value.0 } else { U256::ZERO })
}

#[cfg(test)]
pub mod tests {
    use alloy_primitives::{Address, B256, Bytes};
    use store::column::{Addr, Wei};
    use uuid::Uuid;

    use super::*;

    fn receipt(status: u64) -> Receipt {
        Receipt {
            transaction_hash: B256::ZERO,
            block_number: 1,
            block_hash: B256::ZERO,
            from: Address::ZERO,
            to: None,
            contract_address: None,
            status,
            gas_used: 10,
            effective_gas_price: Some(U256::from(3)),
            logs: Vec::new(),
        }
    }

    /// A claim that is sent.
    pub fn row() -> transaction::Row {
        transaction::Row {
            id: Uuid::nil(),
            operation: Uuid::nil(),
            step: 0,
            step_name: "claim".to_owned(),
            chain_id: 1,
            account: Addr(Address::ZERO),
            nonce: Some(1),
            target: Addr(Address::ZERO),
            value: Wei(U256::from(100)),
            data: Bytes::new().to_vec(),
            gas_limit: 20,
            max_fee: Wei(U256::from(5)),
            max_priority: Wei(U256::ONE),
            words: String::new(),
            state: transaction::BROADCAST.to_owned(),
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
            create_time: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_value_counts_only_where_the_call_itself_took_effect() {
        let row = row();
        let table = [(1, attempt::CALL, 130), (0, attempt::CALL, 30), (1, attempt::CANCEL, 30)];
        for (status, intent, wei) in table {
            assert_eq!(paid(&row, &receipt(status), intent), U256::from(wei), "{status} {intent}");
        }
        let silent = Receipt { effective_gas_price: None, ..receipt(0) };
        assert_eq!(paid(&row, &silent, attempt::CALL), U256::from(50), "the most that it may have been");
    }
}
