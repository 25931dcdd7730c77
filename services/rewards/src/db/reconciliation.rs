//! `rewards.reconciliation`: the last comparison with the contracts.

use domain::ids::Height;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::{Error, statement};
use time::OffsetDateTime;

use super::{Block, bigint, chain_time, number, timestamptz};

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Where it was made.
    pub block: Block,
    /// Sequencers that differ.
    pub drift: u64,
    /// The first one in words; empty without drift.
    pub first_difference: String,
}

/// Stores the result with the database's time.
pub async fn store<C: ConnectionTrait>(db: &C, network: &str, result: &Reconciliation) -> Result<(), Error> {
    let Reconciliation { block, drift, first_difference } = result;
    let sql = "INSERT INTO rewards.reconciliation AS r VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (network) DO UPDATE SET block_number = $2, block_hash = $3, block_time = $4, drift = $5,
            first_difference = $6, compared_at = clock_timestamp()";
    let values = [
        network.into(),
        bigint(block.number.0).into(),
        Hash(block.hash).into(),
        timestamptz(block.time).into(),
        bigint(*drift).into(),
        first_difference.clone().into(),
    ];
    db.execute_raw(statement(sql, values)).await.map_err(Error::at("storing a comparison"))?;
    Ok(())
}

/// The last result and when it was made; none before the first.
pub async fn of_network<C: ConnectionTrait>(
    db: &C,
    network: &str,
) -> Result<Option<(Reconciliation, OffsetDateTime)>, Error> {
    #[derive(FromQueryResult)]
    struct Row {
        block_number: i64,
        block_hash: Hash,
        block_time: OffsetDateTime,
        drift: i64,
        first_difference: String,
        compared_at: OffsetDateTime,
    }
    let sql = "SELECT * FROM rewards.reconciliation WHERE network = $1";
    let row = Row::find_by_statement(statement(sql, [network.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a comparison"))?;
    Ok(row.map(|Row { block_number, block_hash, block_time, drift, first_difference, compared_at }| {
        let block =
            Block { number: Height(number(block_number)), hash: block_hash.0, time: chain_time(block_time) };
        (Reconciliation { block, drift: number(drift), first_difference }, compared_at)
    }))
}
