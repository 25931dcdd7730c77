//! Reorganisations that were taken back.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

/// Why blocks were taken back, as the column numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The chain changed.
    Chain = 1,
    /// Logs had been missing.
    Repair = 2,
    /// An operator asked for it.
    Resync = 3,
}

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
    /// Why.
    pub cause: Cause,
}

/// One as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Ascends.
    pub id: i64,
    /// Which chain.
    pub layer: i16,
    /// [`Cause`].
    pub cause: i16,
    /// The block that was the tip.
    pub from_number: i64,
    /// Its hash.
    pub from_hash: Hash,
    /// The last block that stayed.
    pub to_number: i64,
    /// Whether a block that the endpoints had called final is gone.
    pub below_finalized: bool,
    /// When it was noted.
    pub seen_at: OffsetDateTime,
    /// Who acknowledged it.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_at: Option<OffsetDateTime>,
}

/// What has to be acknowledged: the chain itself changed below what the endpoints had called final. Repairs and
/// resyncs take such blocks back too, but only to have the same ones again.
const ALARMING: &str = "r.below_finalized AND r.cause = 1";

#[derive(Debug, FromQueryResult)]
struct Last {
    id: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct Id {
    id: i64,
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
    let New { from_number, from_hash, to_number, below_finalized, cause } = *new;
    let sql = "INSERT INTO indexer.reorg (network, layer, from_number, from_hash, to_number, below_finalized, cause)
               VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
    let values = [
        network.into(),
        layer.column().into(),
        from_number.into(),
        from_hash.into(),
        to_number.into(),
        below_finalized.into(),
        (cause as i16).into(),
    ];
    let row = Id::find_by_statement(statement(sql, values))
        .one(tx)
        .await
        .map_err(Error::at("noting a reorganisation"))?;
    Ok(row.ok_or(Error::Row { what: "a reorganisation" })?.id)
}

/// What happened to a chain since a reader was last told, see [`since`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Since {
    /// The last reorganisation there was; 0 if there was none.
    pub last: i64,
    /// The least that any since then left of the chain.
    pub lowest: Option<i64>,
    /// Whether the chain itself changed below what had been called final.
    pub below_finalized: bool,
}

/// What happened since reorganisation `id`.
///
/// # Errors
/// When the statement fails.
pub async fn since<C: ConnectionTrait>(db: &C, network: &str, layer: Layer, id: i64) -> Result<Since, Error> {
    let sql = format!(
        "SELECT coalesce(max(r.id), 0) AS last,
                min(r.to_number) FILTER (WHERE r.id > $3) AS lowest,
                coalesce(bool_or({ALARMING}) FILTER (WHERE r.id > $3), false) AS below_finalized
           FROM indexer.reorg r WHERE r.network = $1 AND r.layer = $2"
    );
    let values = [network.into(), layer.column().into(), id.into()];
    let row = Since::find_by_statement(statement(sql, values)).one(db).await;
    let row = row.map_err(Error::at("looking for reorganisations"))?;
    row.ok_or(Error::Row { what: "reorganisations" })
}

/// Those of a network with ids below one, newest first.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    below: i64,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = "SELECT r.id, r.layer, r.cause, r.from_number, r.from_hash, r.to_number, r.below_finalized, r.seen_at,
                      a.acknowledged_by, a.acknowledged_at
                 FROM indexer.reorg r LEFT JOIN indexer.reorg_acknowledgement a ON a.reorg_id = r.id
                WHERE r.network = $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3";
    let values = [network.into(), below.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing reorganisations"))
}

/// The last one of a chain; 0 if there was none.
///
/// # Errors
/// When the statement fails.
pub async fn last<C: ConnectionTrait>(db: &C, network: &str, layer: Layer) -> Result<i64, Error> {
    let sql = "SELECT max(id) AS id FROM indexer.reorg WHERE network = $1 AND layer = $2";
    let row = Last::find_by_statement(statement(sql, [network.into(), layer.column().into()]))
        .one(db)
        .await
        .map_err(Error::at("looking for the last reorganisation"))?;
    Ok(row.and_then(|row| row.id).unwrap_or(0))
}

/// The newest one of a network that has to be acknowledged and is not.
///
/// # Errors
/// When the statement fails.
pub async fn unacknowledged<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<i64>, Error> {
    let sql = format!(
        "SELECT max(r.id) AS id FROM indexer.reorg r
          WHERE r.network = $1 AND {ALARMING}
            AND NOT EXISTS (SELECT 1 FROM indexer.reorg_acknowledgement a WHERE a.reorg_id = r.id)"
    );
    let row = Last::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("looking for unacknowledged reorganisations"))?;
    Ok(row.and_then(|row| row.id))
}

/// Acknowledges all of a network up to an id that have to be and are not, and says how many these were.
///
/// # Errors
/// When the statement fails.
pub async fn acknowledge<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    up_to: i64,
    by: &str,
) -> Result<u64, Error> {
    let sql = format!(
        "INSERT INTO indexer.reorg_acknowledgement (reorg_id, acknowledged_by)
         SELECT r.id, $3 FROM indexer.reorg r WHERE r.network = $1 AND r.id <= $2 AND {ALARMING}
         ON CONFLICT DO NOTHING"
    );
    let values = [network.into(), up_to.into(), by.into()];
    let done = tx.execute_raw(statement(sql, values)).await;
    Ok(done.map_err(Error::at("acknowledging reorganisations"))?.rows_affected())
}
