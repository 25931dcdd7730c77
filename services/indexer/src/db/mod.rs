//! The tables of the indexer, one file each: row types and plain queries.
//!
//! Rows carry heights as `bigint`; everything above a height is deleted by [`unwind`].

pub mod batch;
pub mod block;
pub mod checkpoint;
pub mod derived;
pub mod epoch;
pub mod implementation;
pub mod log;
pub mod missed_turn;
pub mod node;
pub mod node_chain;
pub mod node_event;
pub mod parameters;
pub mod reconciliation;
pub mod record;
pub mod reorg;
pub mod resync;
pub mod transaction;
pub mod whitelist;

use api::types::v1 as types;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, IsolationLevel, TransactionTrait,
};
use store::{Error, statement};
use time::OffsetDateTime;

/// The schema of this service.
pub const SCHEMA: &str = "indexer";

/// Which chain of a network, as the tables number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Ethereum.
    L1 = 1,
    /// Metis.
    L2 = 2,
}

impl Layer {
    /// The value of the column.
    pub fn column(self) -> i16 {
        self as i16
    }

    /// The layer of a column's value; the tables allow no other.
    pub fn of_column(value: i16) -> Self {
        if value == Self::L2.column() { Self::L2 } else { Self::L1 }
    }

    /// The layer on the wire.
    pub fn wire(self) -> types::Layer {
        match self {
            Self::L1 => types::Layer::L1,
            Self::L2 => types::Layer::L2,
        }
    }

    /// The name in leases, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
        }
    }
}

/// A height as a column; heights beyond 2^63 do not exist.
pub fn column(height: u64) -> i64 {
    i64::try_from(height).unwrap_or(i64::MAX)
}

/// A height from a column; the tables hold none below 0, but "before block 0" is -1.
pub fn height(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// Seconds since 1970 as a column; block times beyond year 9999 are shown as that.
pub fn time(seconds: u64) -> OffsetDateTime {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::macros::datetime!(9999-12-31 0:00 UTC))
}

/// One consistent view of all tables: what is read in it belongs together.
///
/// # Errors
/// When the transaction cannot be begun.
pub async fn snapshot(db: &DatabaseConnection) -> Result<DatabaseTransaction, Error> {
    db.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly))
        .await
        .map_err(|source| Error::Transaction { step: "beginning", source })
}

/// What is kept of each chain above a height.
const UNWOUND_L1: &[&str] =
    &["sequencer_record", "signer", "whitelist", "parameters", "credit", "batch", "implementation"];
const UNWOUND_L2: &[&str] = &["epoch", "set_parameters", "missed_turn"];

/// Takes back everything above `reorg.to_number`, and notes it in `reorg`. Must run in one transaction with the new
/// checkpoint.
///
/// # Errors
/// When a statement fails.
pub async fn unwind<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    reorg: &reorg::New,
) -> Result<(), Error> {
    reorg::insert(tx, network, layer, reorg).await?;
    for table in ["log", "transaction", "block"] {
        let sql = format!("DELETE FROM indexer.{table} WHERE network = $1 AND layer = $2 AND number > $3");
        let values = [network.into(), layer.column().into(), reorg.to_number.into()];
        tx.execute_raw(statement(sql, values)).await.map_err(Error::at("taking back logs"))?;
    }
    let tables = match layer {
        Layer::L1 => UNWOUND_L1,
        Layer::L2 => UNWOUND_L2,
    };
    for table in tables {
        let sql = format!("DELETE FROM indexer.{table} WHERE network = $1 AND number > $2");
        let values = [network.into(), reorg.to_number.into()];
        tx.execute_raw(statement(sql, values)).await.map_err(Error::at("taking back blocks"))?;
    }
    Ok(())
}
