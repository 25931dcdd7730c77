//! Reorganisations that were taken back.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};

use super::Layer;

/// One to be noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct New {
    /// The block that was the tip.
    pub from_number: i64,
    /// Its hash.
    pub from_hash: Hash,
    /// The last block that stays; `start_block - 1` if none does.
    pub to_number: i64,
    /// Whether a block that the endpoints had called final is gone.
    pub below_finalized: bool,
}

#[derive(Debug, FromQueryResult)]
struct Id {
    id: i64,
}

#[derive(Debug, FromQueryResult)]
struct Lowest {
    to_number: Option<i64>,
}

/// Notes one and gives its id.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    new: &New,
) -> Result<i64, Error> {
    let New { from_number, from_hash, to_number, below_finalized } = *new;
    let sql = "INSERT INTO indexer.reorg (network, layer, from_number, from_hash, to_number, below_finalized)
               VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
    let values = [
        network.into(),
        layer.column().into(),
        from_number.into(),
        from_hash.into(),
        to_number.into(),
        below_finalized.into(),
    ];
    let row = Id::find_by_statement(statement(sql, values))
        .one(tx)
        .await
        .map_err(Error::at("noting a reorganisation"))?;
    Ok(row.ok_or(Error::Row { what: "a reorganisation" })?.id)
}

/// How far back a reader must go whose block was orphaned by `id`: no later reorganisation left
/// less of the chain than this height.
///
/// # Errors
/// When the statement fails.
pub async fn lowest_since<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    id: i64,
) -> Result<Option<i64>, Error> {
    let sql = "SELECT min(to_number) AS to_number FROM indexer.reorg
                WHERE network = $1 AND layer = $2 AND id >= $3";
    let values = [network.into(), layer.column().into(), id.into()];
    let row = Lowest::find_by_statement(statement(sql, values))
        .one(db)
        .await
        .map_err(Error::at("looking for the depth of reorganisations"))?;
    Ok(row.and_then(|row| row.to_number))
}
