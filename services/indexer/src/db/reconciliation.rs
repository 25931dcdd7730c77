//! The last comparison of the index with the contracts.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

/// What was compared, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Height.
    pub number: i64,
    /// Hash.
    pub hash: Hash,
    /// Time of the block.
    pub time: OffsetDateTime,
    /// Number of differing fields.
    pub drift: i64,
    /// The first of them; empty if none.
    pub first_difference: String,
    /// When.
    pub compared_at: OffsetDateTime,
}

/// The last comparison, and the last block at which nothing differed.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Standing {
    /// Height.
    pub number: i64,
    /// Hash.
    pub hash: Hash,
    /// Time of the block.
    pub time: OffsetDateTime,
    /// Number of differing fields.
    pub drift: i64,
    /// The first of them; empty if none.
    pub first_difference: String,
    /// When.
    pub compared_at: OffsetDateTime,
    /// Height at which nothing differed.
    pub verified_number: Option<i64>,
    /// Hash of that block.
    pub verified_hash: Option<Hash>,
    /// Its time.
    pub verified_time: Option<OffsetDateTime>,
}

/// Replaces the last comparison of a network, unless that was at a later block which is still indexed. The last block
/// at which nothing differed is kept through one with differences.
///
/// # Errors
/// When the statement fails.
pub async fn put<C: ConnectionTrait>(tx: &C, network: &str, row: &Row) -> Result<(), Error> {
    let Row { number, hash, time, drift, first_difference, compared_at } = row.clone();
    let sql = "INSERT INTO indexer.reconciliation AS r
                   (network, number, hash, time, drift, first_difference, compared_at,
                    verified_number, verified_hash, verified_time)
               VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $5 = 0 THEN $2 END, CASE WHEN $5 = 0 THEN $3 END,
                   CASE WHEN $5 = 0 THEN $4 END)
               ON CONFLICT (network) DO UPDATE SET number = excluded.number, hash = excluded.hash,
                   time = excluded.time, drift = excluded.drift,
                   first_difference = excluded.first_difference, compared_at = excluded.compared_at,
                   verified_number = coalesce(excluded.verified_number, r.verified_number),
                   verified_hash = coalesce(excluded.verified_hash, r.verified_hash),
                   verified_time = coalesce(excluded.verified_time, r.verified_time)
                WHERE excluded.number >= r.number
                   OR NOT EXISTS (SELECT 1 FROM indexer.block b WHERE b.network = r.network AND b.layer = $8
                                     AND b.number = r.number AND b.hash = r.hash)";
    let values = [
        network.into(),
        number.into(),
        hash.into(),
        time.into(),
        drift.into(),
        first_difference.into(),
        compared_at.into(),
        Layer::L1.column().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing a reconciliation"))?;
    Ok(())
}

/// The last comparison of a network.
///
/// # Errors
/// When the statement fails.
pub async fn of<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<Standing>, Error> {
    let sql =
        "SELECT number, hash, time, drift, first_difference, compared_at, verified_number, verified_hash,
                      verified_time
                 FROM indexer.reconciliation WHERE network = $1";
    Standing::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a reconciliation"))
}
