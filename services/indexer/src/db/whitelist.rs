//! Every `SetWhitelist`; the last one of an owner counts.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash};
use store::rows::Rows;
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

/// Changes as rows.
pub fn rows(network: &str, changes: &[Row]) -> Rows {
    let mut rows = Rows::of(
        "indexer.whitelist (network, owner, number, log_index, block_hash, transaction_hash, whitelisted)",
    );
    for it in changes {
        let mut row = rows.row();
        row.text(network).bytes(it.owner.0).bigint(it.number).integer(it.log_index);
        row.bytes(it.block_hash.0).bytes(it.transaction_hash.0).boolean(it.whitelisted);
    }
    rows
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

/// Whether an owner is on the whitelist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct State {
    /// Owner.
    pub owner: Addr,
    /// It is.
    pub whitelisted: bool,
}

/// Owners above one that were ever on the whitelist, as they stood after block `number`, by address.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    number: i64,
    after: Option<Addr>,
    rows_max: u32,
) -> Result<Vec<State>, Error> {
    let sql = "SELECT DISTINCT ON (owner) owner, whitelisted FROM indexer.whitelist
                WHERE network = $1 AND number <= $2 AND ($3::bytea IS NULL OR owner > $3)
                ORDER BY owner, number DESC, log_index DESC LIMIT $4";
    let values = [network.into(), number.into(), after.into(), i64::from(rows_max).into()];
    State::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading the whitelist"))
}
