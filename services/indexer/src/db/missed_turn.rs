//! Turns that producers lost by re-spans (P 2.5).

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash};
use store::rows::Rows;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

/// One turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Height of the re-span's log.
    pub number: i64,
    /// Place of the log in the block.
    pub log_index: i32,
    /// The epoch lost.
    pub epoch_id: i64,
    /// Who lost it.
    pub signer: Addr,
    /// Blocks taken from it; 0 if it was over and only no successor was there.
    pub blocks_lost: i64,
    /// The queued epoch was overwritten, rather than the running one cut.
    pub overwritten: bool,
    /// Who took over.
    pub by_signer: Addr,
}

/// One turn as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Entry {
    /// Height of the re-span's log.
    pub number: i64,
    /// Place of the log in the block.
    pub log_index: i32,
    /// The epoch lost.
    pub epoch_id: i64,
    /// Who lost it.
    pub signer: Addr,
    /// Blocks taken from it.
    pub blocks_lost: i64,
    /// The queued epoch was overwritten.
    pub overwritten: bool,
    /// Who took over.
    pub by_signer: Addr,
    /// The loser's sequencer, if it is one's.
    pub sequencer_id: Option<i64>,
    /// Block of the log.
    pub block_hash: Hash,
    /// Its time.
    pub time: OffsetDateTime,
    /// Transaction of the log.
    pub transaction_hash: Hash,
}

/// Where an entry stands in the list: height, log and epoch.
pub type Position = (i64, i32, i64);

/// Turns as rows.
pub fn rows(network: &str, turns: &[Row]) -> Rows {
    let mut rows = Rows::of(
        "indexer.missed_turn (network, number, log_index, epoch_id, signer, blocks_lost, overwritten, by_signer)",
    );
    for it in turns {
        let mut row = rows.row();
        row.text(network).bigint(it.number).integer(it.log_index).bigint(it.epoch_id).bytes(it.signer.0);
        row.bigint(it.blocks_lost).boolean(it.overwritten).bytes(it.by_signer.0);
    }
    rows
}

/// Turns before a position, newest first; of one signer if named.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signer: Option<Addr>,
    before: Position,
    rows_max: u32,
) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT m.number, m.log_index, m.epoch_id, m.signer, m.blocks_lost, m.overwritten, m.by_signer,
                      s.sequencer_id, b.hash AS block_hash, b.time, t.hash AS transaction_hash
                 FROM indexer.missed_turn m
                 JOIN indexer.log l ON l.network = m.network AND l.layer = $7 AND l.number = m.number
                      AND l.log_index = m.log_index
                 JOIN indexer.transaction t ON t.network = m.network AND t.layer = $7 AND t.number = m.number
                      AND t.transaction_index = l.transaction_index
                 JOIN indexer.block b ON b.network = m.network AND b.layer = $7 AND b.number = m.number
                 LEFT JOIN indexer.signer s ON s.network = m.network AND s.signer = m.signer
                WHERE m.network = $1 AND ($2::bytea IS NULL OR m.signer = $2)
                  AND (m.number, m.log_index, m.epoch_id) < ($3, $4, $5)
                ORDER BY m.number DESC, m.log_index DESC, m.epoch_id DESC LIMIT $6";
    let (number, log_index, epoch_id) = before;
    let values = [
        network.into(),
        signer.into(),
        number.into(),
        log_index.into(),
        epoch_id.into(),
        i64::from(rows_max).into(),
        Layer::L2.column().into(),
    ];
    Entry::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing missed turns"))
}
