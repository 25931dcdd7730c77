//! Every `SetWhitelist`; the last one of an owner counts.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash};
use store::{Error, statement};
use time::OffsetDateTime;

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Owner.
    pub owner: Addr,
    /// Height of the log.
    pub number: i64,
    /// Place of the log in the block.
    pub log_index: i32,
    /// Block of the log.
    pub block_hash: Hash,
    /// Transaction of the log.
    pub transaction_hash: Hash,
    /// Whitelisted from here on.
    pub whitelisted: bool,
}

/// The last change of one owner, with the time of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Entry {
    /// Height of the log.
    pub number: i64,
    /// Place of the log in the block.
    pub log_index: i32,
    /// Block of the log.
    pub block_hash: Hash,
    /// Transaction of the log.
    pub transaction_hash: Hash,
    /// Whitelisted now.
    pub whitelisted: bool,
    /// Time of the block.
    pub time: OffsetDateTime,
}

/// Adds changes in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.whitelist
                   (network, owner, number, log_index, block_hash, transaction_hash, whitelisted)
               SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::int[], $5::bytea[], $6::bytea[], $7::bool[])";
    let values = [
        network.into(),
        rows.iter().map(|row| row.owner).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.log_index).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.block_hash).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.transaction_hash).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.whitelisted).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing the whitelist"))?;
    Ok(())
}

/// The last change of an owner.
///
/// # Errors
/// When the statement fails.
pub async fn of_owner<C: ConnectionTrait>(
    db: &C,
    network: &str,
    owner: Addr,
) -> Result<Option<Entry>, Error> {
    let sql = "SELECT w.number, w.log_index, w.block_hash, w.transaction_hash, w.whitelisted, b.time
                 FROM indexer.whitelist w
                 JOIN indexer.block b ON b.network = w.network AND b.layer = 1 AND b.hash = w.block_hash
                WHERE w.network = $1 AND w.owner = $2
                ORDER BY w.number DESC, w.log_index DESC LIMIT 1";
    Entry::find_by_statement(statement(sql, [network.into(), owner.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the whitelist"))
}

/// The last change of every owner up to a height.
///
/// # Errors
/// When the statement fails.
pub async fn as_of<C: ConnectionTrait>(db: &C, network: &str, number: i64) -> Result<Vec<Row>, Error> {
    let sql = "SELECT DISTINCT ON (owner) owner, number, log_index, block_hash, transaction_hash, whitelisted
                 FROM indexer.whitelist WHERE network = $1 AND number <= $2
                ORDER BY owner, number DESC, log_index DESC";
    Row::find_by_statement(statement(sql, [network.into(), number.into()]))
        .all(db)
        .await
        .map_err(Error::at("reading the whitelist"))
}
