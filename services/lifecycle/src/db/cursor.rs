//! How far the indexer's stream has been applied on each network, and the L1 head it told last.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Hash;
use time::OffsetDateTime;

use super::{execute, one};

/// The place in the stream of one network.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub network: String,
    /// The indexer's cursor; empty before the first message.
    pub cursor: String,
    pub block_number: Option<i64>,
    pub block_hash: Option<Hash>,
    /// The chain time of this network.
    pub block_time: Option<OffsetDateTime>,
    pub safe: i64,
    pub finalized: i64,
}

const COLUMNS: &str = "network, cursor, block_number, block_hash, block_time, safe, finalized";

/// The row, made if there is none, locked until the transaction ends: applying a message and registering a
/// sequencer exclude each other, so that neither misses what the other wrote.
pub async fn lock<C: ConnectionTrait>(tx: &C, network: &str) -> Result<Row, Error> {
    let insert = "INSERT INTO lifecycle.stream_cursor (network) VALUES ($1) ON CONFLICT DO NOTHING";
    execute(tx, "making a stream cursor", insert, [network.into()]).await?;
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.stream_cursor WHERE network = $1 FOR UPDATE");
    let row = one(tx, "locking a stream cursor", &sql, [network.into()]).await?;
    row.ok_or(Error::Row { what: "a stream cursor" })
}

/// The row as it is.
pub async fn of<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.stream_cursor WHERE network = $1");
    one(db, "reading a stream cursor", &sql, [network.into()]).await
}

/// Writes the row.
pub async fn put<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { network, cursor, block_number, block_hash, block_time, safe, finalized } = row.clone();
    let sql = "UPDATE lifecycle.stream_cursor SET cursor = $2, block_number = $3, block_hash = $4, block_time = $5, \
               safe = $6, finalized = $7, update_time = now() WHERE network = $1";
    let values = [
        network.into(),
        cursor.into(),
        block_number.into(),
        block_hash.into(),
        block_time.into(),
        safe.into(),
        finalized.into(),
    ];
    execute(tx, "moving a stream cursor", sql, values).await?;
    Ok(())
}
