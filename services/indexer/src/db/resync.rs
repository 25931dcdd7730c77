//! Chains to be fetched again from a block on.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::{Error, statement};

use super::Layer;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// First block to fetch again.
    pub from_number: i64,
    /// Who asked.
    pub requested_by: String,
}

/// Asks for a chain to be fetched again. Of several wishes the lowest block counts.
///
/// # Errors
/// When the statement fails.
pub async fn ask<C: ConnectionTrait>(tx: &C, network: &str, layer: Layer, row: &Row) -> Result<(), Error> {
    let sql =
        "INSERT INTO indexer.resync AS r (network, layer, from_number, requested_by) VALUES ($1, $2, $3, $4)
               ON CONFLICT (network, layer) DO UPDATE
                  SET from_number = least(r.from_number, excluded.from_number),
                      requested_by = excluded.requested_by, requested_at = clock_timestamp()";
    let Row { from_number, requested_by } = row.clone();
    let values = [network.into(), layer.column().into(), from_number.into(), requested_by.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("asking for a resync"))?;
    Ok(())
}

/// What is asked for.
///
/// # Errors
/// When the statement fails.
pub async fn wanted<C: ConnectionTrait>(db: &C, network: &str, layer: Layer) -> Result<Option<Row>, Error> {
    let sql = "SELECT from_number, requested_by FROM indexer.resync WHERE network = $1 AND layer = $2";
    Row::find_by_statement(statement(sql, [network.into(), layer.column().into()]))
        .one(db)
        .await
        .map_err(Error::at("looking for a resync"))
}

/// It is done, unless something lower was asked for meanwhile.
///
/// # Errors
/// When the statement fails.
pub async fn done<C: ConnectionTrait>(tx: &C, network: &str, layer: Layer, from: i64) -> Result<(), Error> {
    let sql = "DELETE FROM indexer.resync WHERE network = $1 AND layer = $2 AND from_number >= $3";
    let values = [network.into(), layer.column().into(), from.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("ending a resync"))?;
    Ok(())
}
