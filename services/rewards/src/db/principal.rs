//! `rewards.principal`: the lock that earns, after each change.

use domain::amount::Metis;
use domain::ids::{SequencerId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Wei;
use store::{Error, statement};
use time::OffsetDateTime;

use super::{Block, bigint, chain_time, number, timestamptz};

/// The principal of a sequencer from a block's time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Sequencer.
    pub sequencer: SequencerId,
    /// From when.
    pub since: Timestamp,
    /// How much.
    pub amount: Metis,
}

/// Adds a change.
pub async fn insert<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    sequencer: SequencerId,
    block: Block,
    log_index: u32,
    amount: Metis,
) -> Result<(), Error> {
    let sql = "INSERT INTO rewards.principal (network, sequencer_id, block_number, log_index, block_time, amount_wei)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let values = [
        network.into(),
        bigint(sequencer.0).into(),
        bigint(block.number.0).into(),
        i32::try_from(log_index).unwrap_or(i32::MAX).into(),
        timestamptz(block.time).into(),
        Wei(amount.0).into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("adding a change of principal"))?;
    Ok(())
}

/// All changes before a time, in chain order; of all sequencers if none is given.
pub async fn until<C: ConnectionTrait>(
    db: &C,
    network: &str,
    sequencer: Option<SequencerId>,
    to: Timestamp,
) -> Result<Vec<Change>, Error> {
    #[derive(FromQueryResult)]
    struct Row {
        sequencer_id: i64,
        block_time: OffsetDateTime,
        amount_wei: Wei,
    }
    let sql = "SELECT sequencer_id, block_time, amount_wei FROM rewards.principal
        WHERE network = $1 AND ($2::bigint IS NULL OR sequencer_id = $2) AND block_time < $3
        ORDER BY sequencer_id, block_number, log_index";
    let values = [network.into(), sequencer.map(|id| bigint(id.0)).into(), timestamptz(to).into()];
    let rows = Row::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("reading principals"))?;
    let change = |Row { sequencer_id, block_time, amount_wei }| Change {
        sequencer: SequencerId(number(sequencer_id)),
        since: chain_time(block_time),
        amount: Metis(amount_wei.0),
    };
    Ok(rows.into_iter().map(change).collect())
}
