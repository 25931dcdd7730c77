//! The tables of the schema `rewards`, one file each: row type and its queries.

pub mod batch;
pub mod entry;
pub mod position;
pub mod principal;
pub mod reconciliation;

use alloy_primitives::B256;
use domain::ids::{Height, Timestamp};
use time::OffsetDateTime;

/// A block as every row names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Height.
    pub number: Height,
    /// Hash.
    pub hash: B256,
    /// Timestamp.
    pub time: Timestamp,
}

/// Heights, ids and counters as bigint; what does not fit was never on a chain.
pub fn bigint(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A bigint that we wrote.
pub fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Chain time as timestamptz.
pub fn timestamptz(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(bigint(time.0)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// timestamptz as chain time.
pub fn chain_time(time: OffsetDateTime) -> Timestamp {
    Timestamp(number(time.unix_timestamp()))
}
