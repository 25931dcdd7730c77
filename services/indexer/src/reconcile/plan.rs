//! From fetched blocks to rows. Pure: decodes each log, folds it, and writes the message that consumers get.

use alloy_primitives::B256;
use api::indexer::v1 as wire_v1;
use chain::event::{self, ChainEvent, Decoded, Source as Contract};
use chain::rpc::Log;
use prost::Message;

use super::fetch::Fetched;
use crate::db::{block, checkpoint, column, epoch, log, parameters, record, time};
use crate::fold::epochs::Epochs;
use crate::fold::ledger::Ledger;
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
pub struct Plan {
    /// Headers.
    pub blocks: Vec<block::Row>,
    /// Logs.
    pub logs: Vec<log::Row>,
    /// Everything derived.
    pub changes: Changes,
    /// The last block.
    pub tip: Option<checkpoint::Tip>,
    /// Logs that have no type, for the metric.
    pub untyped: u64,
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
}

/// Folds the blocks into rows.
///
/// # Errors
/// When logs are missing before one of these; the fold is then of no more use.
pub fn plan(source: &Source, fold: &mut Fold, fetched: &Fetched) -> Result<Plan, Gap> {
    let mut plan = Plan::default();
    for header in fetched.headers.values() {
        plan.blocks.push(block::Row {
            hash: header.hash.into(),
            number: column(header.number),
            parent: header.parent_hash.into(),
            time: time(header.timestamp),
            orphaned_by: None,
        });
    }
    plan.tip = plan.blocks.last().map(|last| checkpoint::Tip {
        number: last.number,
        hash: last.hash,
        time: last.time,
    });
    for log in &fetched.logs {
        let Some(contract) = source.contract(log.address) else { continue };
        let block_time = fetched.headers.get(&log.block_number).map_or(0, |header| header.timestamp);
        let row = row(source, fold, fetched, &mut plan, (log, contract, block_time))?;
        plan.logs.push(row);
    }
    Ok(plan)
}

fn row(
    source: &Source,
    fold: &mut Fold,
    fetched: &Fetched,
    plan: &mut Plan,
    (log, contract, block_time): (&Log, Contract, u64),
) -> Result<log::Row, Gap> {
    let place = Place {
        number: log.block_number,
        block_hash: log.block_hash,
        time: block_time,
        transaction_hash: log.transaction_hash,
        log_index: u32::try_from(log.log_index).unwrap_or(u32::MAX),
    };
    let from = fetched.transactions.get(&log.transaction_hash).map(|transaction| transaction.from);
    let (kind, sequencer_id, account, message) = match event::decode(contract, &log.topics, &log.data) {
        Decoded::Event(event) => {
            let derived = fold.apply(&place, contract, &event, fetched, &mut plan.changes)?;
            let message = wire::event(&event, &derived);
            (event.name(), wire::sequencer_of(&event), wire::account_of(&event), message)
        }
        Decoded::Unknown { topic0 } => {
            plan.untyped += 1;
            let why = format!("no event of this contract has topic {}", topic0.unwrap_or(B256::ZERO));
            (UNKNOWN, None, None, Some(wire::raw(&log.topics, &log.data, why)))
        }
        Decoded::Malformed { name, why } => {
            plan.untyped += 1;
            (name, None, None, Some(wire::raw(&log.topics, &log.data, why)))
        }
    };
    let message = message.map(|event| wire_v1::ChainEvent {
        at: Some(wire::place(source.layer, &place)),
        contract: wire::address(log.address),
        transaction_from: from.map(wire::address).unwrap_or_default(),
        event: Some(event),
    });
    Ok(log::Row {
        number: column(log.block_number),
        log_index: i32::try_from(log.log_index).unwrap_or(i32::MAX),
        block_hash: log.block_hash.into(),
        transaction_hash: log.transaction_hash.into(),
        transaction_index: i32::try_from(log.transaction_index).unwrap_or(i32::MAX),
        transaction_from: from.map(Into::into),
        address: log.address.into(),
        topics: log.topics.iter().copied().map(Into::into).collect(),
        data: log.data.to_vec(),
        kind: kind.to_owned(),
        sequencer_id: sequencer_id.map(|id| column(id.0)),
        account: account.map(Into::into),
        event: message.map(|message| message.encode_to_vec()),
    })
}
