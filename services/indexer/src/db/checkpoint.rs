//! How far each chain has been followed.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

use super::{Layer, height};

/// The row of one chain of one network.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Configured name.
    pub network: String,
    /// Which chain.
    pub layer: i16,
    /// EIP-155 chain id.
    pub chain_id: i64,
    /// First block that is indexed.
    pub start_block: i64,
    /// Last block applied.
    pub number: Option<i64>,
    /// Its hash.
    pub hash: Option<Hash>,
    /// Its time.
    pub time: Option<OffsetDateTime>,
    /// Head that the endpoints report.
    pub latest: i64,
    /// `safe` of the endpoints.
    pub safe: i64,
    /// `finalized` of the endpoints.
    pub finalized: i64,
    /// History is being fetched.
    pub backfilling: bool,
    /// Variant of the pool behind its proxy.
    pub variant: String,
    /// When an endpoint last answered.
    pub last_contact: Option<OffsetDateTime>,
    /// Why nothing moves.
    pub problem: String,
    /// Blocks indexed in a second while history is fetched.
    pub blocks_per_second: i64,
    /// The last block up to which digests stand.
    pub digested: i64,
}

/// A block that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Height.
    pub number: i64,
    /// Hash.
    pub hash: Hash,
    /// Time.
    pub time: OffsetDateTime,
}

impl Row {
    /// Seconds until history is fetched, at the present rate; 0 where that is unknown, or nothing is left.
    pub fn remaining_seconds(&self) -> u64 {
        let indexed = self.number.unwrap_or(self.start_block);
        let left = height(self.finalized.saturating_sub(indexed));
        let rate = height(self.blocks_per_second);
        if self.backfilling && rate > 0 { left.div_ceil(rate) } else { 0 }
    }

    /// The last block applied.
    pub fn tip(&self) -> Option<Tip> {
        Some(Tip { number: self.number?, hash: self.hash?, time: self.time? })
    }
}

/// What the endpoints say of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Height of the newest block.
    pub latest: i64,
    /// Height of `safe`.
    pub safe: i64,
    /// Height of `finalized`.
    pub finalized: i64,
    /// History is being fetched.
    pub backfilling: bool,
    /// At this many blocks in a second.
    pub blocks_per_second: i64,
}

const COLUMNS: &str = "network, layer, chain_id, start_block, number, hash, time, latest, safe, finalized,
    backfilling, variant, last_contact, problem, blocks_per_second, digested";

/// Makes the row of a chain if there is none, and gives the one that stands.
///
/// # Errors
/// When a statement fails.
pub async fn open<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    chain_id: i64,
    start_block: i64,
) -> Result<Row, Error> {
    let sql = "INSERT INTO indexer.checkpoint (network, layer, chain_id, start_block)
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let values = [network.into(), layer.column().into(), chain_id.into(), start_block.into()];
    db.execute_raw(statement(sql, values)).await.map_err(Error::at("opening a checkpoint"))?;
    of(db, network, layer).await?.ok_or(Error::Row { what: "a checkpoint" })
}

/// The row of one chain.
///
/// # Errors
/// When the statement fails.
pub async fn of<C: ConnectionTrait>(db: &C, network: &str, layer: Layer) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM indexer.checkpoint WHERE network = $1 AND layer = $2");
    Row::find_by_statement(statement(sql, [network.into(), layer.column().into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a checkpoint"))
}

/// The rows of all chains.
///
/// # Errors
/// When the statement fails.
pub async fn of_all<C: ConnectionTrait>(db: &C) -> Result<Vec<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM indexer.checkpoint ORDER BY network, layer");
    Row::find_by_statement(statement(sql, [])).all(db).await.map_err(Error::at("reading the checkpoints"))
}

/// Moves the checkpoint to another block, or before the first. Digests stand up to `digested` at most from then on.
///
/// # Errors
/// When the statement fails.
pub async fn place<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    tip: Option<Tip>,
    digested: i64,
) -> Result<(), Error> {
    let sql = "UPDATE indexer.checkpoint SET number = $3, hash = $4, time = $5, digested = $6
                WHERE network = $1 AND layer = $2";
    let values = [
        network.into(),
        layer.column().into(),
        tip.map(|tip| tip.number).into(),
        tip.map(|tip| tip.hash).into(),
        tip.map(|tip| tip.time).into(),
        digested.into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("moving a checkpoint"))?;
    Ok(())
}

/// Notes what the endpoints say; that they answer takes the problem away.
///
/// # Errors
/// When the statement fails.
pub async fn see<C: ConnectionTrait>(tx: &C, network: &str, layer: Layer, seen: Seen) -> Result<(), Error> {
    let Seen { latest, safe, finalized, backfilling, blocks_per_second } = seen;
    let sql = "UPDATE indexer.checkpoint
                  SET latest = $3, safe = $4, finalized = $5, backfilling = $6, blocks_per_second = $7,
                      last_contact = clock_timestamp(), problem = ''
                WHERE network = $1 AND layer = $2";
    let values = [
        network.into(),
        layer.column().into(),
        latest.into(),
        safe.into(),
        finalized.into(),
        backfilling.into(),
        blocks_per_second.into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("noting the head of a chain"))?;
    Ok(())
}

/// Blocks above a height are gone: nothing above it is safe or final any more.
///
/// # Errors
/// When the statement fails.
pub async fn loosen<C: ConnectionTrait>(tx: &C, network: &str, layer: Layer, to: i64) -> Result<(), Error> {
    let sql = "UPDATE indexer.checkpoint SET safe = least(safe, $3), finalized = least(finalized, $3)
                WHERE network = $1 AND layer = $2";
    let values = [network.into(), layer.column().into(), to.max(0).into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("taking back what was final"))?;
    Ok(())
}

/// Notes why nothing moves.
///
/// # Errors
/// When the statement fails.
pub async fn complain<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    problem: &str,
) -> Result<(), Error> {
    let sql =
        "UPDATE indexer.checkpoint SET problem = $3 WHERE network = $1 AND layer = $2 AND problem <> $3";
    let values = [network.into(), layer.column().into(), problem.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("noting a problem of a chain"))?;
    Ok(())
}

/// Notes the variant of the pool.
///
/// # Errors
/// When the statement fails.
pub async fn set_variant<C: ConnectionTrait>(tx: &C, network: &str, variant: &str) -> Result<(), Error> {
    let sql = "UPDATE indexer.checkpoint SET variant = $3 WHERE network = $1 AND layer = $2";
    let values = [network.into(), Layer::L1.column().into(), variant.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("noting the variant of the pool"))?;
    Ok(())
}
