//! From fetched blocks to rows. Pure: decodes each log, folds it, checks that nothing is missing, and links the digests.

use alloy_primitives::B256;
use chain::event::{self, ChainEvent, Decoded, Source as Contract};
use chain::rpc::Log;

use super::fetch::Fetched;
use crate::db::{block, checkpoint, column, epoch, log, parameters, record, time, transaction};
use crate::fold::digest::{Hashed, Link};
use crate::fold::epochs::Epochs;
use crate::fold::ledger::Ledger;
use crate::fold::pairs::Tally;
use crate::fold::wire::{self, Derived};
use crate::fold::{Changes, Gap, Place};
use crate::source::Source;

/// Name of logs that our ABI does not know.
pub const UNKNOWN: &str = "Unknown";

/// What the events of one chain add up to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fold {
    /// The locking contracts.
    L1(Box<Ledger>),
    /// MetisSequencerSet.
    L2(Epochs),
}

/// Rows that take the index from one block to a later one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Headers.
    pub blocks: Vec<block::Row>,
    /// Transactions.
    pub transactions: Vec<transaction::Row>,
    /// Logs.
    pub logs: Vec<log::Row<'a>>,
    /// Everything derived.
    pub changes: Changes,
    /// The last block.
    pub tip: Option<checkpoint::Tip>,
    /// Logs that have no type, for the metric.
    pub untyped: u64,
    /// The digest after the last block, if these are final blocks.
    pub digest: Option<B256>,
}

impl Fold {
    /// The state of L1 as it was stored.
    pub fn l1(records: Vec<record::Row>, parameters: Option<parameters::Row>) -> Self {
        Self::L1(Box::new(Ledger::load(records, parameters)))
    }

    /// The state of L2 as it was stored.
    ///
    /// # Errors
    /// When the stored epochs are no sequence.
    pub fn l2(
        newest: Vec<epoch::Row>,
        parameters: Option<epoch::Parameters>,
    ) -> Result<Self, domain::epoch::Misfit> {
        Epochs::load(newest, parameters).map(Self::L2)
    }

    fn apply(
        &mut self,
        place: &Place,
        contract: Contract,
        event: &ChainEvent,
        fetched: &Fetched,
        changes: &mut Changes,
    ) -> Result<Derived, Gap> {
        match self {
            Self::L1(ledger) => ledger.apply(place, contract, event, &fetched.evidence, changes),
            Self::L2(epochs) => epochs.apply(place, event, changes),
        }
    }

    fn end_block(&mut self, number: u64, changes: &mut Changes) {
        if let Self::L1(ledger) = self {
            ledger.end_block(number, changes);
        }
    }
}

/// Folds the blocks into rows. `digest` is the one before them if they are final, and none near the head.
///
/// # Errors
/// When logs are missing among or before these; the fold is then of no more use.
pub fn plan<'a>(
    source: &Source,
    fold: &mut Fold,
    digest: Option<B256>,
    fetched: &'a Fetched,
) -> Result<Plan<'a>, Gap> {
    let mut plan = Plan { digest, ..Plan::default() };
    let mut logs = fetched.logs.as_slice();
    for (&number, seen) in &fetched.blocks {
        let (of_block, rest) = logs.split_at(logs.partition_point(|log| log.block_number <= number));
        logs = rest;
        for of_transaction in of_block.chunk_by(|a, b| a.transaction_index == b.transaction_index) {
            transaction(source, fold, fetched, &mut plan, (seen.time, of_transaction))?;
        }
        fold.end_block(number, &mut plan.changes);
        let linked = plan.digest.filter(|_| !of_block.is_empty());
        let linked = linked.map(|before| link(before, seen.hash, of_block));
        plan.digest = linked.or(plan.digest);
        plan.blocks.push(block::Row {
            number: column(number),
            hash: seen.hash.into(),
            parent: seen.parent.map(Into::into),
            time: time(seen.time),
            digest: linked.map(Into::into),
        });
    }
    plan.tip = plan.blocks.last().map(|last| checkpoint::Tip {
        number: last.number,
        hash: last.hash,
        time: last.time,
    });
    Ok(plan)
}

fn link(before: B256, block_hash: B256, logs: &[Log]) -> B256 {
    let mut link = Link::after(before, block_hash);
    for log in logs {
        link.add(Hashed {
            log_index: place_column(log.log_index),
            transaction_index: place_column(log.transaction_index),
            address: log.address,
            topics: &log.topics,
            data: &log.data,
        });
    }
    link.finish()
}

/// The logs of one transaction, which must be whole.
fn transaction<'a>(
    source: &Source,
    fold: &mut Fold,
    fetched: &Fetched,
    plan: &mut Plan<'a>,
    (block_time, logs): (u64, &'a [Log]),
) -> Result<(), Gap> {
    let Some(first) = logs.first() else { return Ok(()) };
    let sender = fetched.transactions.get(&first.transaction_hash).map(|transaction| transaction.from);
    let mut tally = Tally::default();
    let mut last = None;
    for log in logs {
        let Some(contract) = source.contract(log.address) else { continue };
        let place = place_of(log, block_time);
        let row = row(fold, fetched, plan, &mut tally, (log, contract, &place))?;
        plan.logs.push(row);
        last = Some(place);
    }
    if let Some(last) = last {
        tally.close(&last)?;
        plan.transactions.push(transaction::Row {
            number: column(first.block_number),
            transaction_index: place_column(first.transaction_index),
            hash: first.transaction_hash,
            sender,
        });
    }
    Ok(())
}

fn row<'a>(
    fold: &mut Fold,
    fetched: &Fetched,
    plan: &mut Plan<'a>,
    tally: &mut Tally,
    (log, contract, place): (&'a Log, Contract, &Place),
) -> Result<log::Row<'a>, Gap> {
    let mut row = log::Row {
        number: column(log.block_number),
        log_index: place_column(log.log_index),
        transaction_index: place_column(log.transaction_index),
        address: log.address,
        topics: &log.topics,
        data: &log.data,
        kind: UNKNOWN,
        sequencer_id: None,
        from_reward: None,
    };
    match event::decode(contract, &log.topics, &log.data) {
        Decoded::Event(event) => {
            tally.add(&event);
            row.kind = event.name();
            row.sequencer_id = wire::sequencer_of(&event).map(|id| column(id.0));
            if let Derived::FromReward(part) =
                fold.apply(place, contract, &event, fetched, &mut plan.changes)?
            {
                row.from_reward = Some(part.0);
            }
        }
        Decoded::Unknown { .. } => plan.untyped += 1,
        Decoded::Malformed { name, .. } => {
            plan.untyped += 1;
            row.kind = name;
        }
    }
    Ok(row)
}

fn place_of(log: &Log, time: u64) -> Place {
    Place {
        number: log.block_number,
        block_hash: log.block_hash,
        time,
        transaction_hash: log.transaction_hash,
        log_index: u32::try_from(log.log_index).unwrap_or(u32::MAX),
    }
}

/// A place within a block as a column; no block has so many that it would not fit.
fn place_column(place: u64) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}
