//! Headers, canonical and orphaned.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Hash.
    pub hash: Hash,
    /// Height.
    pub number: i64,
    /// Hash of the block before.
    pub parent: Hash,
    /// Its time.
    pub time: OffsetDateTime,
    /// The reorganisation that took it off the chain.
    pub orphaned_by: Option<i64>,
}

const COLUMNS: &str = "hash, number, parent, time, orphaned_by";

/// Adds canonical headers; one that was orphaned before is canonical again.
///
/// # Errors
/// When the statement fails, as when another canonical header stands at the height.
pub async fn insert<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    rows: &[Row],
) -> Result<(), Error> {
    let sql = "INSERT INTO indexer.block AS b (network, layer, hash, number, parent, time)
               SELECT $1, $2, * FROM unnest($3::bytea[], $4::bigint[], $5::bytea[], $6::timestamptz[])
               ON CONFLICT (network, layer, hash) DO UPDATE SET orphaned_by = NULL";
    let values = [
        network.into(),
        layer.column().into(),
        rows.iter().map(|row| row.hash).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.parent).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.time).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing headers"))?;
    Ok(())
}

/// Marks all canonical headers above `to` as orphaned.
///
/// # Errors
/// When the statement fails.
pub async fn orphan_above<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    to: i64,
    reorg: i64,
) -> Result<(), Error> {
    let sql = "UPDATE indexer.block SET orphaned_by = $4
                WHERE network = $1 AND layer = $2 AND number > $3 AND orphaned_by IS NULL";
    let values = [network.into(), layer.column().into(), to.into(), reorg.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("orphaning headers"))?;
    Ok(())
}

/// The header with this hash, canonical or not.
///
/// # Errors
/// When the statement fails.
pub async fn with_hash<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    hash: Hash,
) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM indexer.block WHERE network = $1 AND layer = $2 AND hash = $3");
    Row::find_by_statement(statement(sql, [network.into(), layer.column().into(), hash.into()]))
        .one(db)
        .await
        .map_err(Error::at("looking for a header"))
}

/// The highest canonical headers at or below a height, highest first.
///
/// # Errors
/// When the statement fails.
pub async fn canonical_down_from<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    number: i64,
    rows_max: u64,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM indexer.block
          WHERE network = $1 AND layer = $2 AND number <= $3 AND orphaned_by IS NULL
          ORDER BY number DESC LIMIT $4"
    );
    let values = [network.into(), layer.column().into(), number.into(), super::column(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("walking back headers"))
}
