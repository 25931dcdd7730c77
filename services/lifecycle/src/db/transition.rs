//! The history of states. Rows are only added: a transition that a reorganisation takes back gets a row of its own,
//! so that whoever watches sees both.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Hash;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one};

/// One state change, or (with `undone`) its taking back.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    /// Place in the history of all networks; of the undo where that is what the row tells.
    pub position: i64,
    /// The transition itself.
    pub id: i64,
    pub sequencer: Uuid,
    pub network: String,
    pub from_phase: Option<String>,
    pub to_phase: String,
    pub cause: String,
    pub block_number: i64,
    pub block_hash: Option<Hash>,
    pub block_time: OffsetDateTime,
    pub log_layer: Option<i16>,
    pub log_block_number: Option<i64>,
    pub log_block_hash: Option<Hash>,
    pub log_block_time: Option<OffsetDateTime>,
    pub log_transaction: Option<Hash>,
    pub log_index: Option<i32>,
    pub record_time: OffsetDateTime,
    pub undone: bool,
}

/// The log behind a transition.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// 1 for L1, 2 for L2.
    pub layer: i16,
    pub block_number: i64,
    pub block_hash: Hash,
    pub block_time: OffsetDateTime,
    pub transaction: Hash,
    pub index: i32,
}

impl Row {
    /// The log behind it, if there is one.
    pub fn log(&self) -> Option<Log> {
        Some(Log {
            layer: self.log_layer?,
            block_number: self.log_block_number?,
            block_hash: self.log_block_hash?,
            block_time: self.log_block_time?,
            transaction: self.log_transaction?,
            index: self.log_index?,
        })
    }
}

/// A state change to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    pub sequencer: Uuid,
    pub network: String,
    /// None at the first appearance.
    pub from_phase: Option<String>,
    pub to_phase: String,
    pub cause: String,
    /// L1 block from which it holds.
    pub block_number: i64,
    pub block_hash: Option<Hash>,
    pub block_time: OffsetDateTime,
    pub log: Option<Log>,
}

#[derive(Debug, FromQueryResult)]
struct Counter {
    position: i64,
}

#[derive(Debug, FromQueryResult)]
struct Whose {
    sequencer: Uuid,
}

#[derive(Debug, FromQueryResult)]
struct Id {
    position: i64,
}

const COLUMNS: &str = "t.position AS id, t.sequencer, t.network, t.from_phase, t.to_phase, t.cause, t.block_number, \
    t.block_hash, t.block_time, t.log_layer, t.log_block_number, t.log_block_hash, t.log_block_time, \
    t.log_transaction, t.log_index";

/// The next place. The row lock makes places appear in the order of commit.
async fn next_position<C: ConnectionTrait>(tx: &C) -> Result<i64, Error> {
    let sql = "UPDATE lifecycle.history_counter SET position = position + 1 RETURNING position";
    let row: Option<Counter> = one(tx, "taking a place in the history", sql, []).await?;
    Ok(row.ok_or(Error::Row { what: "the history counter" })?.position)
}

/// Records a state change.
pub async fn append<C: ConnectionTrait>(tx: &C, new: &New) -> Result<i64, Error> {
    let position = next_position(tx).await?;
    let New { sequencer, network, from_phase, to_phase, cause, block_number, block_hash, block_time, log } =
        new.clone();
    let sql = "INSERT INTO lifecycle.transition (position, sequencer, network, from_phase, to_phase, cause, \
               block_number, block_hash, block_time, log_layer, log_block_number, log_block_hash, log_block_time, \
               log_transaction, log_index) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)";
    let values = [
        position.into(),
        sequencer.into(),
        network.into(),
        from_phase.into(),
        to_phase.into(),
        cause.into(),
        block_number.into(),
        block_hash.into(),
        block_time.into(),
        log.as_ref().map(|log| log.layer).into(),
        log.as_ref().map(|log| log.block_number).into(),
        log.as_ref().map(|log| log.block_hash).into(),
        log.as_ref().map(|log| log.block_time).into(),
        log.as_ref().map(|log| log.transaction).into(),
        log.as_ref().map(|log| log.index).into(),
    ];
    execute(tx, "recording a transition", sql, values).await?;
    Ok(position)
}

async fn undo<C: ConnectionTrait>(tx: &C, network: &str, ids: Vec<Id>) -> Result<u64, Error> {
    let count = ids.len() as u64;
    for Id { position: transition } in ids {
        let position = next_position(tx).await?;
        let sql = "INSERT INTO lifecycle.transition_undo (position, transition, network) VALUES ($1, $2, $3)";
        execute(tx, "recording an undo", sql, [position.into(), transition.into(), network.into()]).await?;
    }
    Ok(count)
}

/// Takes back every transition that holds from an L1 block above `block`, newest first. A registration has no block
/// of its own (its hash is null): no reorganisation takes it back.
pub async fn undo_above<C: ConnectionTrait>(tx: &C, network: &str, block: i64) -> Result<u64, Error> {
    let sql = "SELECT t.position FROM lifecycle.transition t WHERE t.network = $1 AND t.block_number > $2 \
               AND t.block_hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lifecycle.transition_undo u WHERE u.transition = t.position) \
               ORDER BY t.position DESC";
    let ids = all(tx, "reading the transitions to take back", sql, [network.into(), block.into()]).await?;
    undo(tx, network, ids).await
}

/// Sequencers with a standing transition that an L2 log above `block` caused.
pub async fn caused_by_l2_above<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    block: i64,
) -> Result<Vec<Uuid>, Error> {
    let sql = "SELECT DISTINCT t.sequencer FROM lifecycle.transition t WHERE t.network = $1 AND t.log_layer = 2 \
               AND t.log_block_number > $2 \
               AND NOT EXISTS (SELECT 1 FROM lifecycle.transition_undo u WHERE u.transition = t.position)";
    let rows: Vec<Whose> =
        all(tx, "reading the L2 transitions to take back", sql, [network.into(), block.into()]).await?;
    Ok(rows.into_iter().map(|row| row.sequencer).collect())
}

/// The standing transitions of a sequencer, oldest first: a life has few.
pub async fn standing<C: ConnectionTrait>(tx: &C, sequencer: Uuid) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT t.position, {COLUMNS}, t.record_time, false AS undone FROM lifecycle.transition t \
         WHERE t.sequencer = $1 \
         AND NOT EXISTS (SELECT 1 FROM lifecycle.transition_undo u WHERE u.transition = t.position) \
         ORDER BY t.position"
    );
    all(tx, "reading the standing history", &sql, [sequencer.into()]).await
}

/// The last standing transition up to an L1 block: the state there, and why.
pub async fn at_block<C: ConnectionTrait>(db: &C, sequencer: Uuid, block: i64) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT t.position, {COLUMNS}, t.record_time, false AS undone FROM lifecycle.transition t \
         WHERE t.sequencer = $1 AND t.block_number <= $2 \
         AND NOT EXISTS (SELECT 1 FROM lifecycle.transition_undo u WHERE u.transition = t.position) \
         ORDER BY t.position DESC LIMIT 1"
    );
    one(db, "reading the state at a block", &sql, [sequencer.into(), block.into()]).await
}

/// Takes back these transitions, newest first.
pub async fn take_back<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Row]) -> Result<u64, Error> {
    undo(tx, network, rows.iter().rev().map(|row| Id { position: row.id }).collect()).await
}

/// What a page of history asks for.
#[derive(Debug, Clone)]
pub struct Filter {
    pub sequencer: Uuid,
    /// Only up to this L1 block, if above 0.
    pub at_block: i64,
    pub include_undone: bool,
    pub after: i64,
    pub limit: u32,
}

/// A page of the history of one sequencer, oldest first.
pub async fn page<C: ConnectionTrait>(db: &C, filter: &Filter) -> Result<Vec<Row>, Error> {
    let Filter { sequencer, at_block, include_undone, after, limit } = filter.clone();
    let sql = format!(
        "SELECT t.position, {COLUMNS}, t.record_time, u.position IS NOT NULL AS undone \
         FROM lifecycle.transition t LEFT JOIN lifecycle.transition_undo u ON u.transition = t.position \
         WHERE t.sequencer = $1 AND t.position > $2 AND ($3 = 0 OR t.block_number <= $3) \
         AND ($4 OR u.position IS NULL) ORDER BY t.position LIMIT $5"
    );
    let values =
        [sequencer.into(), after.into(), at_block.into(), include_undone.into(), i64::from(limit).into()];
    all(db, "reading a page of history", &sql, values).await
}

/// What happened after a place in the history, undos as rows of their own, oldest first.
pub async fn feed<C: ConnectionTrait>(
    db: &C,
    network: Option<&str>,
    after: i64,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT * FROM (SELECT t.position, {COLUMNS}, t.record_time, false AS undone FROM lifecycle.transition t \
         WHERE t.position > $1 AND ($2::text IS NULL OR t.network = $2) ORDER BY t.position LIMIT $3) a \
         UNION ALL \
         SELECT * FROM (SELECT u.position, {COLUMNS}, u.record_time, true AS undone \
         FROM lifecycle.transition_undo u JOIN lifecycle.transition t ON t.position = u.transition \
         WHERE u.position > $1 AND ($2::text IS NULL OR u.network = $2) ORDER BY u.position LIMIT $3) b \
         ORDER BY position LIMIT $3"
    );
    let values = [after.into(), network.map(str::to_owned).into(), i64::from(limit).into()];
    all(db, "reading what happened since", &sql, values).await
}

/// The last place of the history.
pub async fn last_position<C: ConnectionTrait>(db: &C) -> Result<i64, Error> {
    let row: Option<Counter> =
        one(db, "reading the history counter", "SELECT position FROM lifecycle.history_counter", []).await?;
    Ok(row.ok_or(Error::Row { what: "the history counter" })?.position)
}
