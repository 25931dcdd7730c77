//! `rewards.stream_position`: how far the stream of each network has been applied.

use domain::ids::Height;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

use super::{Block, bigint, chain_time, number, timestamptz};

/// A position in the stream, with the L1 block that the ledger stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Network.
    pub network: String,
    /// Cursor of the last message applied.
    pub cursor: String,
    /// Last L1 block.
    pub block: Block,
    /// `safe` of L1.
    pub safe: Height,
    /// `finalized` of L1.
    pub finalized: Height,
}

#[derive(FromQueryResult)]
struct Row {
    network: String,
    cursor: String,
    block_number: i64,
    block_hash: Hash,
    block_time: OffsetDateTime,
    safe: i64,
    finalized: i64,
}

impl From<Row> for Position {
    fn from(row: Row) -> Self {
        let Row { network, cursor, block_number, block_hash, block_time, safe, finalized } = row;
        let block =
            Block { number: Height(number(block_number)), hash: block_hash.0, time: chain_time(block_time) };
        Self { network, cursor, block, safe: Height(number(safe)), finalized: Height(number(finalized)) }
    }
}

/// The positions of all networks.
pub async fn all<C: ConnectionTrait>(db: &C) -> Result<Vec<Position>, Error> {
    let sql = "SELECT * FROM rewards.stream_position ORDER BY network";
    let rows =
        Row::find_by_statement(statement(sql, [])).all(db).await.map_err(Error::at("reading positions"))?;
    Ok(rows.into_iter().map(Position::from).collect())
}

/// The position of one network; none before its first message.
pub async fn of_network<C: ConnectionTrait>(db: &C, network: &str) -> Result<Option<Position>, Error> {
    let sql = "SELECT * FROM rewards.stream_position WHERE network = $1";
    let row = Row::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a position"))?;
    Ok(row.map(Position::from))
}

/// Stores a position.
pub async fn store<C: ConnectionTrait>(tx: &C, position: &Position) -> Result<(), Error> {
    let Position { network, cursor, block, safe, finalized } = position;
    let sql = "INSERT INTO rewards.stream_position VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (network) DO UPDATE SET cursor = $2, block_number = $3, block_hash = $4, block_time = $5,
            safe = $6, finalized = $7";
    let values = [
        network.clone().into(),
        cursor.clone().into(),
        bigint(block.number.0).into(),
        Hash(block.hash).into(),
        timestamptz(block.time).into(),
        bigint(safe.0).into(),
        bigint(finalized.0).into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing a position"))?;
    Ok(())
}
