//! Epochs of the L2 as versions by block, and the parameters of MetisSequencerSet.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Addr;
use store::{Error, statement};

/// One epoch from a block on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Epoch number.
    pub epoch_id: i64,
    /// Height from which this version holds.
    pub number: i64,
    /// Producer.
    pub signer: Addr,
    /// First block.
    pub start_block: i64,
    /// Last block.
    pub end_block: i64,
    /// It came from, or was cut by, a re-span.
    pub respanned: bool,
}

/// Parameters of MetisSequencerSet from a block on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Parameters {
    /// Height from which this version holds.
    pub number: i64,
    /// Blocks of a regular epoch; 0 until the first tells.
    pub epoch_length: i64,
    /// MPC address.
    pub mpc: Addr,
}

/// Adds versions in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.epoch (network, epoch_id, number, signer, start_block, end_block, respanned)
               SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bool[])";
    let values = [
        network.into(),
        rows.iter().map(|row| row.epoch_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.signer).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.start_block).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.end_block).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.respanned).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing epochs"))?;
    Ok(())
}

/// Adds versions of the parameters in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert_parameters<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    rows: &[Parameters],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.set_parameters (network, number, epoch_length, mpc)
               SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[])";
    let values = [
        network.into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.epoch_length).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.mpc).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing the parameters of L2"))?;
    Ok(())
}

/// The newest epochs below a number, newest first, each in its last version; of one producer if named.
///
/// # Errors
/// When the statement fails.
pub async fn newest<C: ConnectionTrait>(
    db: &C,
    network: &str,
    below: i64,
    signer: Option<Addr>,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    // The last version counts, so the producer is compared after it was found.
    let sql = "SELECT epoch_id, number, signer, start_block, end_block, respanned
                 FROM (SELECT DISTINCT ON (epoch_id) * FROM indexer.epoch
                        WHERE network = $1 AND epoch_id < $2
                        ORDER BY epoch_id DESC, number DESC) AS e
                WHERE $3::bytea IS NULL OR signer = $3
                ORDER BY epoch_id DESC LIMIT $4";
    let values = [network.into(), below.into(), signer.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading epochs"))
}

/// The last version of the parameters.
///
/// # Errors
/// When the statement fails.
pub async fn parameters<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<Parameters>, Error> {
    let sql = "SELECT number, epoch_length, mpc FROM indexer.set_parameters
                WHERE network = $1 ORDER BY number DESC LIMIT 1";
    Parameters::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the parameters of L2"))
}
