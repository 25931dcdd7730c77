//! What events say beyond their logs, read back from the tables that hold it.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Wei};
use store::{Error, statement};

/// How a batch was split; one row for each credit, and one without credit for a batch that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Credited {
    /// Batch id.
    pub batch_id: i64,
    /// `CreditMethod` of the wire.
    pub method: i16,
    /// Sequencer.
    pub sequencer_id: Option<i64>,
    /// L2 blocks credited.
    pub blocks: Option<i64>,
    /// Wei.
    pub amount: Option<Wei>,
}

/// Who lost a turn by a re-span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Displaced {
    /// Height of the ReCommitEpoch.
    pub number: i64,
    /// Its place in the block.
    pub log_index: i32,
    /// Who.
    pub signer: Addr,
}

/// The splits of the batches announced from one height to another, by batch and sequencer.
///
/// # Errors
/// When the statement fails.
pub async fn credited<C: ConnectionTrait>(
    db: &C,
    network: &str,
    (from, to): (i64, i64),
) -> Result<Vec<Credited>, Error> {
    let sql = "SELECT b.batch_id, b.method, c.sequencer_id, c.blocks, c.amount
                 FROM indexer.batch b
                 LEFT JOIN indexer.credit c ON c.network = b.network AND c.batch_id = b.batch_id
                WHERE b.network = $1 AND b.number BETWEEN $2 AND $3
                ORDER BY b.batch_id, c.sequencer_id";
    let values = [network.into(), from.into(), to.into()];
    Credited::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("reading reward credits"))
}

/// Who lost turns from one height to another, a running epoch's producer before a queued one's.
///
/// # Errors
/// When the statement fails.
pub async fn displaced<C: ConnectionTrait>(
    db: &C,
    network: &str,
    (from, to): (i64, i64),
) -> Result<Vec<Displaced>, Error> {
    let sql = "SELECT number, log_index, signer FROM indexer.missed_turn
                WHERE network = $1 AND number BETWEEN $2 AND $3 ORDER BY number, log_index, epoch_id";
    let values = [network.into(), from.into(), to.into()];
    Displaced::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("reading missed turns"))
}
