//! Parameters and counters of the L1 contracts as versions by block.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Wei};
use store::rows::Rows;
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

/// Versions as rows.
pub fn rows(network: &str, versions: &[Row]) -> Rows {
    let mut rows = Rows::of(
        "indexer.parameters (network, number, min_lock, max_lock, total_locked, total_rewards_liquidated,
                             reward_per_block, exit_delay_seconds, signer_update_throttle, batch_id, batch_block,
                             batch_start_epoch, batch_end_epoch, paused, active_count, exiting_count, exited_count,
                             reward_payer, mpc)",
    );
    for it in versions {
        let mut row = rows.row();
        row.text(network).bigint(it.number).numeric(it.min_lock.0).numeric(it.max_lock.0);
        row.numeric(it.total_locked.0).numeric(it.total_rewards_liquidated.0).numeric(it.reward_per_block.0);
        row.bigint(it.exit_delay_seconds).bigint(it.signer_update_throttle);
        row.bigint(it.batch_id)
            .bigint(it.batch_block)
            .bigint(it.batch_start_epoch)
            .bigint(it.batch_end_epoch);
        row.boolean(it.paused).bigint(it.active_count).bigint(it.exiting_count).bigint(it.exited_count);
        row.bytes(it.reward_payer.0).bytes(it.mpc.0);
    }
    rows
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
