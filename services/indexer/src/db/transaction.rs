//! Transactions that emitted logs of ours.

use alloy_primitives::{Address, B256};
use store::rows::Rows;

use super::Layer;

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Height of its block.
    pub number: i64,
    /// Place in the block.
    pub transaction_index: i32,
    /// Hash.
    pub hash: B256,
    /// Sender, where the transaction itself was fetched.
    pub sender: Option<Address>,
}

/// Transactions as rows.
pub fn rows(network: &str, layer: Layer, transactions: &[Row]) -> Rows {
    let columns = "indexer.transaction (network, layer, number, transaction_index, hash, sender)";
    let mut rows = Rows::of(columns);
    for Row { number, transaction_index, hash, sender } in transactions {
        rows.row()
            .text(network)
            .smallint(layer.column())
            .bigint(*number)
            .integer(*transaction_index)
            .bytes(hash)
            .maybe_bytes(*sender);
    }
    rows
}
