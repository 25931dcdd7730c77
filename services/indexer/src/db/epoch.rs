//! Epochs of the L2 as versions by block, and the parameters of MetisSequencerSet.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Addr;
use store::rows::Rows;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

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

/// Versions as rows.
pub fn rows<'a>(network: &str, epochs: impl IntoIterator<Item = &'a Row>) -> Rows {
    let mut rows =
        Rows::of("indexer.epoch (network, epoch_id, number, signer, start_block, end_block, respanned)");
    for Row { epoch_id, number, signer, start_block, end_block, respanned } in epochs {
        let mut row = rows.row();
        row.text(network).bigint(*epoch_id).bigint(*number).bytes(signer.0);
        row.bigint(*start_block).bigint(*end_block).boolean(*respanned);
    }
    rows
}

/// Versions of the parameters as rows.
pub fn parameters_rows<'a>(network: &str, versions: impl IntoIterator<Item = &'a Parameters>) -> Rows {
    let mut rows = Rows::of("indexer.set_parameters (network, number, epoch_length, mpc)");
    for Parameters { number, epoch_length, mpc } in versions {
        rows.row().text(network).bigint(*number).bigint(*epoch_length).bytes(mpc.0);
    }
    rows
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

/// The version of the parameters that holds after block `number`.
///
/// # Errors
/// When the statement fails.
pub async fn parameters_as_of<C: ConnectionTrait>(
    db: &C,
    network: &str,
    number: i64,
) -> Result<Option<Parameters>, Error> {
    let sql = "SELECT number, epoch_length, mpc FROM indexer.set_parameters
                WHERE network = $1 AND number <= $2 ORDER BY number DESC LIMIT 1";
    Parameters::find_by_statement(statement(sql, [network.into(), number.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the parameters of L2"))
}

/// The version of the parameters that held at a time.
///
/// # Errors
/// When the statement fails.
pub async fn parameters_at<C: ConnectionTrait>(
    db: &C,
    network: &str,
    time: OffsetDateTime,
) -> Result<Option<Parameters>, Error> {
    let sql = "SELECT p.number, p.epoch_length, p.mpc FROM indexer.set_parameters p
                 JOIN indexer.block b ON b.network = p.network AND b.layer = $3 AND b.number = p.number
                WHERE p.network = $1 AND b.time <= $2 ORDER BY p.number DESC LIMIT 1";
    Parameters::find_by_statement(statement(sql, [network.into(), time.into(), Layer::L2.column().into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the parameters of L2"))
}

/// The last epoch that begins at or below a block, as it stands now.
///
/// # Errors
/// When the statement fails.
pub async fn begun_by<C: ConnectionTrait>(db: &C, network: &str, block: i64) -> Result<Option<Row>, Error> {
    // The last version counts, and a re-span may have moved its beginning: compared after it was found.
    let sql = "SELECT epoch_id, number, signer, start_block, end_block, respanned
                 FROM (SELECT DISTINCT ON (epoch_id) * FROM indexer.epoch
                        WHERE network = $1 ORDER BY epoch_id DESC, number DESC) AS e
                WHERE start_block <= $2 ORDER BY epoch_id DESC LIMIT 1";
    Row::find_by_statement(statement(sql, [network.into(), block.into()]))
        .one(db)
        .await
        .map_err(Error::at("looking for the epoch of a block"))
}

/// Epochs above a number as they stood after block `number`, oldest first.
///
/// # Errors
/// When the statement fails.
pub async fn page_as_of<C: ConnectionTrait>(
    db: &C,
    network: &str,
    number: i64,
    after: i64,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = "SELECT DISTINCT ON (epoch_id) epoch_id, number, signer, start_block, end_block, respanned
                 FROM indexer.epoch WHERE network = $1 AND number <= $2 AND epoch_id > $3
                ORDER BY epoch_id, number DESC LIMIT $4";
    let values = [network.into(), number.into(), after.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading epochs"))
}
