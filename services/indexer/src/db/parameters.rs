//! Parameters and counters of the L1 contracts as versions by block.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Wei};
use store::{Error, statement};

/// One version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Height from which it holds.
    pub number: i64,
    /// Least principal.
    pub min_lock: Wei,
    /// Greatest principal.
    pub max_lock: Wei,
    /// Sum of principals.
    pub total_locked: Wei,
    /// Sum of rewards bridged.
    pub total_rewards_liquidated: Wei,
    /// Reward of one L2 block.
    pub reward_per_block: Wei,
    /// Delay of exits that begin now.
    pub exit_delay_seconds: i64,
    /// Batches between two signer updates.
    pub signer_update_throttle: i64,
    /// `curBatchState.id`.
    pub batch_id: i64,
    /// `curBatchState.number`.
    pub batch_block: i64,
    /// `curBatchState.startEpoch`.
    pub batch_start_epoch: i64,
    /// `curBatchState.endEpoch`.
    pub batch_end_epoch: i64,
    /// The pool is paused.
    pub paused: bool,
    /// Sequencers with status 2.
    pub active_count: i64,
    /// Sequencers with status 1.
    pub exiting_count: i64,
    /// Sequencers with status 3.
    pub exited_count: i64,
    /// Payer of the rewards.
    pub reward_payer: Addr,
    /// MPC address of the pool.
    pub mpc: Addr,
}

const COLUMNS: &str = "number, min_lock, max_lock, total_locked, total_rewards_liquidated, reward_per_block,
    exit_delay_seconds, signer_update_throttle, batch_id, batch_block, batch_start_epoch, batch_end_epoch, paused,
    active_count, exiting_count, exited_count, reward_payer, mpc";

/// Adds versions in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO indexer.parameters (network, {COLUMNS})
         SELECT $1, * FROM unnest($2::bigint[], $3::numeric[], $4::numeric[], $5::numeric[], $6::numeric[],
             $7::numeric[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
             $13::bigint[], $14::bool[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bytea[], $19::bytea[])"
    );
    let values = [
        network.into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.min_lock).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.max_lock).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.total_locked).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.total_rewards_liquidated).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.reward_per_block).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.exit_delay_seconds).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.signer_update_throttle).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.batch_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.batch_block).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.batch_start_epoch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.batch_end_epoch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.paused).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.active_count).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.exiting_count).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.exited_count).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.reward_payer).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.mpc).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing parameters"))?;
    Ok(())
}

/// The version that holds after block `number`.
///
/// # Errors
/// When the statement fails.
pub async fn as_of<C: ConnectionTrait>(db: &C, network: &str, number: i64) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM indexer.parameters
          WHERE network = $1 AND number <= $2 ORDER BY number DESC LIMIT 1"
    );
    Row::find_by_statement(statement(sql, [network.into(), number.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading parameters"))
}
