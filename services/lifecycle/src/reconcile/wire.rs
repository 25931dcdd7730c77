//! What the indexer's messages carry, as the tables hold it. A message that cannot be read is never skipped: the
//! stream stands still and says so.

use alloy_primitives::{Address, B256, U256};
use api::indexer::v1::ChainEvent;
use api::types::v1::{BlockRef, Layer, LogRef};
use domain::ids::Timestamp;
use store::column::Hash;
use time::OffsetDateTime;

use crate::db::transition;
use crate::error::Error;

const MALFORMED: Error = Error::Malformed { what: "a message of the event stream" };

/// A block as the tables hold it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    pub number: i64,
    pub hash: Hash,
    pub time: OffsetDateTime,
}

impl Block {
    /// Its timestamp as chain time.
    pub fn chain_time(&self) -> Timestamp {
        Timestamp(u64::try_from(self.time.unix_timestamp()).unwrap_or(0))
    }
}

pub fn block(reference: Option<&BlockRef>) -> Result<Block, Error> {
    let BlockRef { number, hash, time } = reference.ok_or(MALFORMED)?;
    let seconds = time.as_ref().ok_or(MALFORMED)?.seconds;
    Ok(Block {
        number: i64::try_from(*number).map_err(|_| MALFORMED)?,
        hash: Hash(hash.parse().map_err(|_| MALFORMED)?),
        time: OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| MALFORMED)?,
    })
}

/// The log of an event.
pub fn log(event: &ChainEvent) -> Result<transition::Log, Error> {
    let LogRef { layer, block: at, transaction_hash, log_index } = event.at.as_ref().ok_or(MALFORMED)?;
    let block = block(at.as_ref())?;
    Ok(transition::Log {
        layer: if *layer == i32::from(Layer::L2) { 2 } else { 1 },
        block_number: block.number,
        block_hash: block.hash,
        block_time: block.time,
        transaction: Hash(hash(transaction_hash)?),
        index: i32::try_from(*log_index).map_err(|_| MALFORMED)?,
    })
}

pub fn hash(text: &str) -> Result<B256, Error> {
    text.parse().map_err(|_| MALFORMED)
}

pub fn address(text: &str) -> Result<Address, Error> {
    text.parse().map_err(|_| MALFORMED)
}

pub fn number(text: &str) -> Result<U256, Error> {
    text.parse().map_err(|_| MALFORMED)
}

pub fn count(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| MALFORMED)
}

pub fn seconds(unix: u64) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(count(unix)?).map_err(|_| MALFORMED)
}

pub fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| MALFORMED)
}
