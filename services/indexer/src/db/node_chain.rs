//! What the rest of the index knows that matters to nodes: locks of their signers, turns, heads, and what is wrong.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash, Wei};
use store::{Error, statement};
use time::OffsetDateTime;

use super::{Layer, checkpoint, epoch, height};

/// Epochs of which the running one is one: it, the queued one, and one that was just cut.
const EPOCHS: u32 = 3;

/// The last lock of a signer.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Lock {
    /// It is the signer of the sequencer today.
    pub current: bool,
    /// Status as the contract numbers it.
    pub status: i16,
    /// Principal.
    pub amount: Wei,
    /// Operation counter.
    pub nonce: i64,
    /// Height at which the counter got there: later versions only got rewards, which consensus does not hear of.
    pub number: i64,
    /// Height of the `Locked`.
    pub locked_number: Option<i64>,
    /// Its transaction.
    pub locked_hash: Option<Hash>,
    /// Its place in the block.
    pub locked_index: Option<i32>,
}

/// A turn that a signer lost.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct MissedTurn {
    /// L2 block of the re-span.
    pub number: i64,
    /// Its time, where it is known.
    pub time: Option<OffsetDateTime>,
    /// L2 blocks lost.
    pub blocks_lost: i64,
}

/// Where a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Which chain.
    pub layer: Layer,
    /// Last block indexed.
    pub indexed: Option<u64>,
    /// Head that the endpoints report.
    pub latest: u64,
    /// `finalized` of the endpoints.
    pub finalized: u64,
    /// History is being fetched.
    pub backfilling: bool,
    /// It cannot be followed at the moment.
    pub troubled: bool,
    /// When an endpoint last answered.
    pub last_contact: Option<OffsetDateTime>,
    /// While history is fetched.
    pub blocks_per_second: u64,
    /// Until it is fetched, at this rate.
    pub remaining_seconds: u64,
}

impl From<checkpoint::Row> for Chain {
    fn from(row: checkpoint::Row) -> Self {
        Self {
            layer: Layer::of_column(row.layer),
            blocks_per_second: height(row.blocks_per_second),
            remaining_seconds: row.remaining_seconds(),
            indexed: row.number.map(height),
            latest: height(row.latest),
            finalized: height(row.finalized),
            backfilling: row.backfilling,
            troubled: !row.problem.is_empty(),
            last_contact: row.last_contact,
        }
    }
}

/// The lock of a signer, if it has or had one.
///
/// # Errors
/// When the statement fails.
pub async fn lock<C: ConnectionTrait>(db: &C, network: &str, signer: Addr) -> Result<Option<Lock>, Error> {
    let sql = "SELECT r.signer = s.signer AS current, r.status, r.amount, r.nonce,
                      (SELECT min(v.number) FROM indexer.sequencer_record v
                        WHERE v.network = s.network AND v.sequencer_id = s.sequencer_id AND v.nonce = r.nonce) AS number,
                      l.number AS locked_number, t.hash AS locked_hash, l.log_index AS locked_index
                 FROM indexer.signer s
                 JOIN LATERAL (SELECT * FROM indexer.sequencer_record r
                                WHERE r.network = s.network AND r.sequencer_id = s.sequencer_id
                                ORDER BY r.number DESC LIMIT 1) r ON true
                 -- It was locked in the block of its first version.
                 JOIN LATERAL (SELECT v.number FROM indexer.sequencer_record v
                                WHERE v.network = s.network AND v.sequencer_id = s.sequencer_id
                                ORDER BY v.number LIMIT 1) first ON true
                 LEFT JOIN indexer.log l ON l.network = s.network AND l.layer = 1 AND l.number = first.number
                       AND l.sequencer_id = s.sequencer_id AND l.kind = 'Locked'
                 LEFT JOIN indexer.transaction t ON t.network = l.network AND t.layer = l.layer
                       AND t.number = l.number AND t.transaction_index = l.transaction_index
                WHERE s.network = $1 AND s.signer = $2";
    Lock::find_by_statement(statement(sql, [network.into(), signer.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the lock of a signer"))
}

/// The last turn that a signer lost.
///
/// # Errors
/// When the statement fails.
pub async fn missed_turn<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signer: Addr,
) -> Result<Option<MissedTurn>, Error> {
    let sql = "SELECT m.number, b.time, m.blocks_lost
                 FROM indexer.missed_turn m
                 LEFT JOIN indexer.block b ON b.network = m.network AND b.layer = 2 AND b.number = m.number
                       
                WHERE m.network = $1 AND m.signer = $2 ORDER BY m.number DESC LIMIT 1";
    MissedTurn::find_by_statement(statement(sql, [network.into(), signer.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the last turn that a signer lost"))
}

/// Who produces the block after `head`, if its epoch is known, and the last block of the newest epoch.
///
/// # Errors
/// When the statement fails.
pub async fn producer<C: ConnectionTrait>(
    db: &C,
    network: &str,
    head: u64,
) -> Result<(Option<Addr>, Option<u64>), Error> {
    let newest = epoch::newest(db, network, i64::MAX, None, EPOCHS).await?;
    let next = super::column(head.saturating_add(1));
    let running = newest.iter().find(|epoch| epoch.start_block <= next && next <= epoch.end_block);
    Ok((running.map(|epoch| epoch.signer), newest.first().map(|epoch| height(epoch.end_block))))
}

/// Whether somebody holds a lease of this service, by name.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// It has not expired.
    pub held: bool,
}

/// All leases that anyone ever held.
///
/// # Errors
/// When the statement fails.
pub async fn leases<C: ConnectionTrait>(db: &C) -> Result<Vec<Lease>, Error> {
    let sql = "SELECT name, expires_at > clock_timestamp() AS held FROM indexer.lease ORDER BY name";
    Lease::find_by_statement(statement(sql, [])).all(db).await.map_err(Error::at("reading the leases"))
}
