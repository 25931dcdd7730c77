//! What the events add up to. Pure: logs go in, in chain order; rows and messages come out.
//!
//! The fold also proves that no log is missing as far as the contracts' own counters reach: a
//! counter that does not follow from the one before is a [`Gap`], and nothing is applied.

pub mod credit;
pub mod digest;
pub mod epochs;
pub mod ledger;
pub mod pairs;
pub mod parameters;
pub mod stored;
pub mod wire;

use std::collections::BTreeMap;
use std::fmt::Display;

use alloy_primitives::B256;

use crate::db::{batch, epoch, implementation, missed_turn, parameters as parameters_row, record, whitelist};

/// Where a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Height.
    pub number: u64,
    /// Block.
    pub block_hash: B256,
    /// Time of the block.
    pub time: u64,
    /// Transaction.
    pub transaction_hash: B256,
    /// Place in the block.
    pub log_index: u32,
}

/// The logs do not follow from those before: some are missing, or were emitted by other code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} at block {number}, log {log_index} should be {expected} and is {found}: logs before it are missing"
)]
pub struct Gap {
    /// Which counter.
    pub what: &'static str,
    /// Height of the log that tells.
    pub number: u64,
    /// Its place in the block.
    pub log_index: u32,
    /// What follows from the logs before.
    pub expected: String,
    /// What the log says.
    pub found: String,
}

impl Place {
    /// The place within the block as a column; no block has so many logs that it would not fit.
    fn column(&self) -> i32 {
        i32::try_from(self.log_index).unwrap_or(i32::MAX)
    }

    /// Compares a counter of the contract with what the logs before add up to.
    fn expect<T: PartialEq + Display>(&self, what: &'static str, expected: T, found: T) -> Result<(), Gap> {
        if expected == found {
            return Ok(());
        }
        Err(self.gap(what, expected, found))
    }

    /// The same for a sum that may not fit, and then is no sum of ours.
    fn expect_some<T: PartialEq + Display>(
        &self,
        what: &'static str,
        expected: Option<T>,
        found: T,
    ) -> Result<(), Gap> {
        match expected {
            Some(expected) => self.expect(what, expected, found),
            None => Err(self.gap(what, "an amount that fits", found)),
        }
    }

    fn gap(&self, what: &'static str, expected: impl Display, found: impl Display) -> Gap {
        Gap {
            what,
            number: self.number,
            log_index: self.log_index,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// Rows that came out of a run of blocks, ready to be stored in bulk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Records by height, one version of each for a block.
    pub records: Vec<record::Row>,
    /// New signers.
    pub signers: Vec<record::Signer>,
    /// Changes of the whitelist.
    pub whitelist: Vec<whitelist::Row>,
    /// Parameters by height, one version for a block.
    pub parameters: Vec<parameters_row::Row>,
    /// Batches.
    pub batches: Vec<batch::Row>,
    /// Credits.
    pub credits: Vec<batch::Credit>,
    /// Epochs by height and number.
    pub epochs: BTreeMap<(i64, u64), epoch::Row>,
    /// Parameters of L2 by height.
    pub set_parameters: BTreeMap<i64, epoch::Parameters>,
    /// Turns that producers lost by re-spans.
    pub missed_turns: Vec<missed_turn::Row>,
    /// Implementations of the pool.
    pub implementations: Vec<implementation::Row>,
}
