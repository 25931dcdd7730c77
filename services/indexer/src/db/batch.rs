//! Reward batches and what each sequencer got of them.

use sea_orm::ConnectionTrait;
use store::column::{Hash, Wei};
use store::{Error, statement};

/// One batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Batch id.
    pub batch_id: i64,
    /// Height of its log.
    pub number: i64,
    /// Place of the log in the block.
    pub log_index: i32,
    /// Its transaction.
    pub transaction_hash: Hash,
    /// First epoch covered.
    pub start_epoch: i64,
    /// Last epoch covered.
    pub end_epoch: i64,
    /// Total.
    pub amount: Wei,
    /// Reward of one block.
    pub reward_per_block: Wei,
    /// `CreditMethod` of the wire.
    pub method: i16,
}

/// What one sequencer got of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// Batch id.
    pub batch_id: i64,
    /// Sequencer.
    pub sequencer_id: i64,
    /// Height of the batch.
    pub number: i64,
    /// L2 blocks credited.
    pub blocks: i64,
    /// Blocks times the reward of one.
    pub amount: Wei,
}

/// Adds batches in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql =
        "INSERT INTO indexer.batch (network, batch_id, number, log_index, transaction_hash, start_epoch,
                   end_epoch, amount, reward_per_block, method)
               SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::int[], $5::bytea[], $6::bigint[],
                   $7::bigint[], $8::numeric[], $9::numeric[], $10::smallint[])";
    let values = [
        network.into(),
        rows.iter().map(|row| row.batch_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.log_index).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.transaction_hash).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.start_epoch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.end_epoch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.amount).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.reward_per_block).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.method).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing reward batches"))?;
    Ok(())
}

/// Adds credits in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert_credits<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Credit]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.credit (network, batch_id, sequencer_id, number, blocks, amount)
               SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::numeric[])";
    let values = [
        network.into(),
        rows.iter().map(|row| row.batch_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.sequencer_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.blocks).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.amount).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing reward credits"))?;
    Ok(())
}
