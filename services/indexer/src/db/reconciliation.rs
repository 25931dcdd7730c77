//! The last comparison of the index with the contracts.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

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

/// Replaces the last comparison of a network.
///
/// # Errors
/// When the statement fails.
pub async fn put<C: ConnectionTrait>(tx: &C, network: &str, row: &Row) -> Result<(), Error> {
    let Row { number, hash, time, drift, first_difference, compared_at } = row.clone();
    let sql = "INSERT INTO indexer.reconciliation
                   (network, number, hash, time, drift, first_difference, compared_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (network) DO UPDATE SET number = excluded.number, hash = excluded.hash,
                   time = excluded.time, drift = excluded.drift,
                   first_difference = excluded.first_difference, compared_at = excluded.compared_at";
    let values = [
        network.into(),
        number.into(),
        hash.into(),
        time.into(),
        drift.into(),
        first_difference.into(),
        compared_at.into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing a reconciliation"))?;
    Ok(())
}

/// The last comparison of a network.
///
/// # Errors
/// When the statement fails.
pub async fn of<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<Row>, Error> {
    let sql = "SELECT number, hash, time, drift, first_difference, compared_at
                 FROM indexer.reconciliation WHERE network = $1";
    Row::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a reconciliation"))
}
