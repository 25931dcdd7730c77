//! Headers of canonical blocks: all near the head, below `finalized` those with logs and the ends of the ranges fetched.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::rows::Rows;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Height.
    pub number: i64,
    /// Hash.
    pub hash: Hash,
    /// Hash of the block before; not known of final blocks whose logs told the time.
    pub parent: Option<Hash>,
    /// Its time.
    pub time: OffsetDateTime,
    /// Of a final block with logs: the digest of everything up to it.
    pub digest: Option<Hash>,
}

/// The digest chain at a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Digested {
    /// The last block with logs.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
    /// Its time.
    pub time: OffsetDateTime,
    /// The digest.
    pub digest: Hash,
}

/// Headers as rows.
pub fn rows(network: &str, layer: Layer, blocks: &[Row]) -> Rows {
    let mut rows = Rows::of("indexer.block (network, layer, number, hash, parent, time, digest)");
    for Row { number, hash, parent, time, digest } in blocks {
        rows.row()
            .text(network)
            .smallint(layer.column())
            .bigint(*number)
            .bytes(hash.0)
            .maybe_bytes(parent.map(|parent| parent.0))
            .time(*time)
            .maybe_bytes(digest.map(|digest| digest.0));
    }
    rows
}

/// The highest headers at or below a height, highest first.
///
/// # Errors
/// When the statement fails.
pub async fn down_from<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    number: i64,
    rows_max: u64,
) -> Result<Vec<Row>, Error> {
    let sql = "SELECT number, hash, parent, time, digest FROM indexer.block
                WHERE network = $1 AND layer = $2 AND number <= $3 ORDER BY number DESC LIMIT $4";
    let values = [network.into(), layer.column().into(), number.into(), super::column(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("walking back headers"))
}

/// The digest chain at a height; none before the first final block with logs.
///
/// # Errors
/// When the statement fails.
pub async fn digest_at<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    number: i64,
) -> Result<Option<Digested>, Error> {
    let sql = "SELECT number, hash, time, digest FROM indexer.block
                WHERE network = $1 AND layer = $2 AND number <= $3 AND digest IS NOT NULL
                ORDER BY number DESC LIMIT 1";
    let values = [network.into(), layer.column().into(), number.into()];
    Digested::find_by_statement(statement(sql, values)).one(db).await.map_err(Error::at("reading a digest"))
}

/// Sets the digests of blocks that have become final.
///
/// # Errors
/// When the statement fails.
pub async fn set_digests<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    digests: &[(i64, Hash)],
) -> Result<(), Error> {
    let sql = "UPDATE indexer.block AS b SET digest = d.digest
                 FROM unnest($3::bigint[], $4::bytea[]) AS d (number, digest)
                WHERE b.network = $1 AND b.layer = $2 AND b.number = d.number";
    let values = [
        network.into(),
        layer.column().into(),
        digests.iter().map(|(number, _)| *number).collect::<Vec<_>>().into(),
        digests.iter().map(|(_, digest)| *digest).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing digests"))?;
    Ok(())
}

/// Drops headers that nothing needs any more: final ones without logs, but for the newest of them.
///
/// # Errors
/// When the statement fails.
pub async fn prune<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    (above, below): (i64, i64),
) -> Result<(), Error> {
    let sql = "DELETE FROM indexer.block
                WHERE network = $1 AND layer = $2 AND number > $3 AND number < $4 AND digest IS NULL";
    let values = [network.into(), layer.column().into(), above.into(), below.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("dropping headers"))?;
    Ok(())
}
