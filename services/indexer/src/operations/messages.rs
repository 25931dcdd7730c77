//! Stored logs as the messages that consumers get: decoded when they are read, with what the tables know beyond them.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::Address;
use api::indexer::v1 as wire;
use chain::event::{ChainEvent, Decoded, decode};
use domain::amount::Metis;
use domain::ids::SequencerId;
use domain::reward::Credit;
use sea_orm::ConnectionTrait;

use super::{Error, Served};
use crate::db::{Layer, derived, height, log};
use crate::fold::Place;
use crate::fold::credit::Split;
use crate::fold::wire::{Derived, address, event, place, raw};

/// What the tables know beyond the logs.
#[derive(Default)]
struct Known {
    splits: BTreeMap<i64, Split>,
    displaced: HashMap<(i64, i32), Vec<Address>>,
}

/// The messages of these logs, in their order.
///
/// # Errors
/// When the tables cannot be read.
pub async fn of<C: ConnectionTrait>(
    view: &C,
    served: &Served,
    rows: &[log::Stored],
) -> Result<Vec<wire::ChainEvent>, Error> {
    let known = known(view, &served.l1.network, rows).await?;
    Ok(rows.iter().map(|row| message(served, &known, row)).collect())
}

async fn known<C: ConnectionTrait>(view: &C, network: &str, rows: &[log::Stored]) -> Result<Known, Error> {
    let mut known = Known::default();
    if let Some(span) = span(rows, "DistributeReward") {
        for row in derived::credited(view, network, span).await? {
            let method = wire::CreditMethod::try_from(i32::from(row.method));
            let method = method.unwrap_or(wire::CreditMethod::Unattributed);
            let split = known.splits.entry(row.batch_id).or_insert(Split { method, credits: Vec::new() });
            if let (Some(id), Some(blocks), Some(amount)) = (row.sequencer_id, row.blocks, row.amount) {
                let (sequencer, blocks) = (SequencerId(height(id)), height(blocks));
                split.credits.push(Credit { sequencer, blocks, amount: Metis(amount.0) });
            }
        }
    }
    if let Some(span) = span(rows, "ReCommitEpoch") {
        for row in derived::displaced(view, network, span).await? {
            known.displaced.entry((row.number, row.log_index)).or_default().push(row.signer.0);
        }
    }
    Ok(known)
}

/// The heights between which logs of a kind stand; none if there are none.
fn span(rows: &[log::Stored], kind: &str) -> Option<(i64, i64)> {
    let mut numbers = rows.iter().filter(|row| row.kind == kind).map(|row| row.number);
    let first = numbers.next()?;
    Some(numbers.fold((first, first), |(low, high), number| (low.min(number), high.max(number))))
}

fn message(served: &Served, known: &Known, row: &log::Stored) -> wire::ChainEvent {
    let layer = Layer::of_column(row.layer);
    let at = Place {
        number: height(row.number),
        block_hash: row.block_hash.0,
        time: u64::try_from(row.block_time.unix_timestamp()).unwrap_or(0),
        transaction_hash: row.transaction_hash.0,
        log_index: u32::try_from(row.log_index).unwrap_or(0),
    };
    wire::ChainEvent {
        at: Some(place(layer, &at)),
        contract: address(row.address.0),
        transaction_from: row.sender.map(|sender| address(sender.0)).unwrap_or_default(),
        event: Some(body(served, layer, known, row)),
    }
}

fn body(served: &Served, layer: Layer, known: &Known, row: &log::Stored) -> wire::chain_event::Event {
    let topics = row.topics();
    let source = served.source(layer);
    let Some(contract) = source.and_then(|source| source.contract(row.address.0)) else {
        return raw(&topics, &row.data, "the contract is no longer configured".to_owned());
    };
    match decode(contract, &topics, &row.data) {
        Decoded::Event(decoded) => {
            let derived = derived_of(&decoded, known, row);
            event(&decoded, &derived)
                .unwrap_or_else(|| raw(&topics, &row.data, "it is evidence only".to_owned()))
        }
        Decoded::Unknown { topic0 } => {
            let why = format!("no event of this contract has topic {}", topic0.unwrap_or_default());
            raw(&topics, &row.data, why)
        }
        Decoded::Malformed { name: _, why } => raw(&topics, &row.data, why),
    }
}

fn derived_of(decoded: &ChainEvent, known: &Known, row: &log::Stored) -> Derived {
    match decoded {
        ChainEvent::Relocked { .. } => {
            Derived::FromReward(row.from_reward.map_or(Metis::ZERO, |part| Metis(part.0)))
        }
        ChainEvent::DistributeReward { batch_id, .. } => {
            let split = i64::try_from(batch_id.0).ok().and_then(|id| known.splits.get(&id));
            split.cloned().map_or(Derived::None, Derived::Split)
        }
        ChainEvent::ReCommitEpoch { .. } => {
            let displaced = known.displaced.get(&(row.number, row.log_index));
            Derived::Displaced(displaced.cloned().unwrap_or_default())
        }
        _ => Derived::None,
    }
}
