//! `rewards.batch`: reward batches with their totals.

use domain::amount::Metis;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Wei;
use store::{Error, statement};

use super::{Block, bigint, number, timestamptz};

/// A batch as its event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Id.
    pub id: u64,
    /// Block.
    pub block: Block,
    /// Total.
    pub amount: Metis,
    /// Reward per L2 block.
    pub reward_per_block: Metis,
    /// How the split was found: the proto's enum name.
    pub method: &'static str,
}

/// Adds a batch.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, batch: &Batch) -> Result<(), Error> {
    let Batch { id, block, amount, reward_per_block, method } = batch;
    let sql = "INSERT INTO rewards.batch VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        network.into(),
        bigint(*id).into(),
        bigint(block.number.0).into(),
        timestamptz(block.time).into(),
        Wei(amount.0).into(),
        Wei(reward_per_block.0).into(),
        (*method).into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("adding a batch"))?;
    Ok(())
}

/// How many batches there are, and how many without a split.
pub async fn counts<C: ConnectionTrait>(db: &C, network: &str) -> Result<(u64, u64), Error> {
    #[derive(FromQueryResult)]
    struct Row {
        batches: i64,
        unattributed: i64,
    }
    let sql = "SELECT count(*) AS batches, count(*) FILTER (WHERE method = 'CREDIT_METHOD_UNATTRIBUTED') AS unattributed
        FROM rewards.batch WHERE network = $1";
    let row = Row::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("counting batches"))?;
    Ok(row.map_or((0, 0), |row| (number(row.batches), number(row.unattributed))))
}
