//! How far the indexer's stream has been applied on each network, the L1 head it told last, and whether the network is
//! held: nothing is sent while a reorganisation below `finalized` is unacknowledged.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Hash;
use time::OffsetDateTime;

use super::{execute, one};

/// The place in the stream of one network.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub network: String,
    /// The indexer's cursor; empty before the first message.
    pub cursor: String,
    pub block_number: Option<i64>,
    pub block_hash: Option<Hash>,
    /// The chain time of this network.
    pub block_time: Option<OffsetDateTime>,
    pub safe: i64,
    pub finalized: i64,
    /// Unacknowledged reorganisation below `finalized` of L1; 0 until its id was told.
    pub held_l1: Option<i64>,
    /// The same of L2.
    pub held_l2: Option<i64>,
}

pub(super) const COLUMNS: &str =
    "network, cursor, block_number, block_hash, block_time, safe, finalized, held_l1, held_l2";

/// The key of the lock between a decision to send and the message that begins a hold.
const HOLD_LOCK: &str = "hashtextextended('hold/' || $1, 0)";

/// Why nothing is sent on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    network: String,
    /// The newest one: who acknowledges it has acknowledged all. None until the indexer has told it.
    pub reorg_id: Option<i64>,
}

impl Hold {
    /// For people, with what to do.
    pub fn words(&self) -> String {
        let Self { network, reorg_id } = self;
        let which =
            reorg_id.map_or_else(|| "a reorganisation".to_owned(), |id| format!("reorganisation {id}"));
        format!(
            "nothing is sent on {network}: {which} went below a final block and waits for `seqctl chain acknowledge`"
        )
    }
}

impl Row {
    /// Whether nothing may be sent.
    pub fn hold(&self) -> Option<Hold> {
        let newest = self.held_l1.max(self.held_l2)?;
        Some(Hold { network: self.network.clone(), reorg_id: (newest > 0).then_some(newest) })
    }
}

/// The row, made if there is none, locked until the transaction ends: applying a message and registering a
/// sequencer exclude each other, so that neither misses what the other wrote.
pub async fn lock<C: ConnectionTrait>(tx: &C, network: &str) -> Result<Row, Error> {
    let insert = "INSERT INTO lifecycle.stream_cursor (network) VALUES ($1) ON CONFLICT DO NOTHING";
    execute(tx, "making a stream cursor", insert, [network.into()]).await?;
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.stream_cursor WHERE network = $1 FOR UPDATE");
    let row = one(tx, "locking a stream cursor", &sql, [network.into()]).await?;
    row.ok_or(Error::Row { what: "a stream cursor" })
}

/// Whether nothing may be sent, inside the transaction that decides a send. A lock is kept until its end: the message
/// that begins a hold is applied wholly before or wholly after it. The row itself is not locked, because every message
/// writes it.
pub async fn hold<C: ConnectionTrait>(tx: &C, network: &str) -> Result<Option<Hold>, Error> {
    // First, and by itself: a statement sees what was committed when it began.
    let lock = format!("SELECT pg_advisory_xact_lock_shared({HOLD_LOCK})");
    execute(tx, "keeping a hold from beginning", &lock, [network.into()]).await?;
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.stream_cursor WHERE network = $1");
    let row: Option<Row> = one(tx, "looking whether a network is held", &sql, [network.into()]).await?;
    Ok(row.and_then(|row| row.hold()))
}

/// The row as it is.
pub async fn of<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.stream_cursor WHERE network = $1");
    one(db, "reading a stream cursor", &sql, [network.into()]).await
}

/// Writes the row. Where that begins or ends a hold it waits for those who are deciding to send, and they for it.
pub async fn put<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { network, cursor, block_number, block_hash, block_time, safe, finalized, held_l1, held_l2 } =
        row.clone();
    let lock = format!(
        "SELECT pg_advisory_xact_lock({HOLD_LOCK}) FROM lifecycle.stream_cursor \
         WHERE network = $1 AND (held_l1, held_l2) IS DISTINCT FROM ($2, $3)"
    );
    execute(tx, "keeping sends back", &lock, [network.clone().into(), held_l1.into(), held_l2.into()])
        .await?;
    let sql = "UPDATE lifecycle.stream_cursor SET cursor = $2, block_number = $3, block_hash = $4, block_time = $5, \
               safe = $6, finalized = $7, held_l1 = $8, held_l2 = $9, update_time = now() WHERE network = $1";
    let values = [
        network.into(),
        cursor.into(),
        block_number.into(),
        block_hash.into(),
        block_time.into(),
        safe.into(),
        finalized.into(),
        held_l1.into(),
        held_l2.into(),
    ];
    execute(tx, "moving a stream cursor", sql, values).await?;
    Ok(())
}
