//! Reward batches and what each sequencer got of them.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Hash, Wei};
use store::rows::Rows;
use store::{Error, statement};

/// One batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
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

/// Batches as rows.
pub fn rows(network: &str, batches: &[Row]) -> Rows {
    let mut rows = Rows::of(
        "indexer.batch (network, batch_id, number, log_index, transaction_hash, start_epoch, end_epoch, amount,
                        reward_per_block, method)",
    );
    for it in batches {
        let mut row = rows.row();
        row.text(network).bigint(it.batch_id).bigint(it.number).integer(it.log_index);
        row.bytes(it.transaction_hash.0).bigint(it.start_epoch).bigint(it.end_epoch);
        row.numeric(it.amount.0).numeric(it.reward_per_block.0).smallint(it.method);
    }
    rows
}

/// Credits as rows.
pub fn credits_rows(network: &str, credits: &[Credit]) -> Rows {
    let mut rows = Rows::of("indexer.credit (network, batch_id, sequencer_id, number, blocks, amount)");
    for Credit { batch_id, sequencer_id, number, blocks, amount } in credits {
        let mut row = rows.row();
        row.text(network).bigint(*batch_id).bigint(*sequencer_id).bigint(*number).bigint(*blocks);
        row.numeric(amount.0);
    }
    rows
}

/// Batches above one that were announced up to a height, by id.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    number: i64,
    after: i64,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = "SELECT batch_id, number, log_index, transaction_hash, start_epoch, end_epoch, amount,
                      reward_per_block, method
                 FROM indexer.batch WHERE network = $1 AND number <= $2 AND batch_id > $3
                ORDER BY batch_id LIMIT $4";
    let values = [network.into(), number.into(), after.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading reward batches"))
}

/// The credits of these batches, by batch and sequencer.
///
/// # Errors
/// When the statement fails.
pub async fn credits<C: ConnectionTrait>(
    db: &C,
    network: &str,
    batches: Vec<i64>,
) -> Result<Vec<Credit>, Error> {
    let sql = "SELECT batch_id, sequencer_id, number, blocks, amount FROM indexer.credit
                WHERE network = $1 AND batch_id = ANY($2::bigint[]) ORDER BY batch_id, sequencer_id";
    let values = [network.into(), batches.into()];
    Credit::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("reading reward credits"))
}

/// Whether the split of any batch could not be proven; the rewards on record are then less than the contract's.
///
/// # Errors
/// When the statement fails.
pub async fn any_unattributed<C: ConnectionTrait>(db: &C, network: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 AS one FROM indexer.batch WHERE network = $1 AND method = 4 LIMIT 1";
    let row = db.query_one_raw(statement(sql, [network.into()])).await;
    Ok(row.map_err(Error::at("looking for unattributed batches"))?.is_some())
}
