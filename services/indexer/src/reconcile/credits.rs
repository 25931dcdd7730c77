//! Finding the split of reward batches, which no log says, by the ladder of P 1.13: the transaction's own calldata,
//! a trace of it, the rewards before and after its block. A rung counts only if it adds up to what the event says.
//!
//! A batch for which no rung does is left without evidence, and the fold keeps its total as unattributed.

use std::collections::HashMap;

use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use api::indexer::v1::CreditMethod;
use chain::abi::LockingPool;
use chain::calldata::RewardBatch;
use chain::event::{ChainEvent, Decoded, Source as Contract, decode};
use chain::rpc::{BlockId, Log, NodeErrorKind, RpcError, Transaction, call};
use futures::{StreamExt, TryStreamExt, stream};

use super::contract;
use super::fetch::FetchError;
use crate::fold::credit::{Announced, Shares, difference, fits};
use crate::fold::ledger::Evidence;
use crate::source::Source;

/// Batches looked into at once: a trace keeps a node busy for a while, and most batches need none.
const SEARCHES: usize = 8;

/// Refusals of a trace after which another try is worth it. A node that has the transaction and finds no trace of it has
/// dropped the state that it needs; if the block is gone instead, the question for the state finds that out.
const LATER: &[NodeErrorKind] = &[NodeErrorKind::RateLimited];
/// The same for state. Nodes without traces fail inside when asked for one, but none does so for state for ever.
const STATE_LATER: &[NodeErrorKind] =
    &[NodeErrorKind::UnknownBlock, NodeErrorKind::RateLimited, NodeErrorKind::Internal];

/// A batch, with the log that announced it.
#[derive(Debug, Clone, Copy)]
struct Batch<'a> {
    log: &'a Log,
    announced: Announced,
    /// The only one of its block, so that what the block changed is what it changed.
    alone: bool,
}

/// The shares of every reward batch among the logs, which are all of ours of their blocks, as far as they can be
/// proven.
///
/// # Errors
/// When an endpoint that might know does not answer now, or the block is gone.
pub async fn evidence(
    source: &Source,
    logs: &[Log],
    transactions: &HashMap<B256, Transaction>,
) -> Result<Evidence, FetchError> {
    let batches = batches(source, logs);
    // A loop rather than `map`: the compiler cannot prove an async closure over references to be `Send`.
    let mut searches = Vec::with_capacity(batches.len());
    for batch in &batches {
        searches.push(search(source, logs, batch, transactions.get(&batch.log.transaction_hash)));
    }
    let found: Vec<Option<Shares>> = stream::iter(searches).buffered(SEARCHES).try_collect().await?;
    let keys = batches.iter().map(|batch| (batch.log.transaction_hash, batch.announced.batch_id));
    Ok(keys.zip(found).filter_map(|(key, shares)| Some((key, shares?))).collect())
}

/// The reward batches among the logs.
fn batches<'a>(source: &Source, logs: &'a [Log]) -> Vec<Batch<'a>> {
    let mut batches: Vec<Batch<'a>> = Vec::new();
    // Looked for by its topic: to decode all logs only for this would take its time.
    let rewards = |log: &&Log| {
        log.topics.first() == Some(&LockingPool::DistributeReward::SIGNATURE_HASH)
            && source.contract(log.address) == Some(Contract::PoolProxy)
    };
    for log in logs.iter().filter(rewards) {
        let Some(ChainEvent::DistributeReward { batch_id, start_epoch, end_epoch, amount, reward_per_block }) =
            event(source, log)
        else {
            continue;
        };
        let announced = Announced { batch_id, start_epoch, end_epoch, amount, reward_per_block };
        // Logs are in chain order: another one of the same block is the one before.
        let before = batches.last_mut().filter(|before| before.log.block_hash == log.block_hash);
        let alone = before.is_none();
        if let Some(before) = before {
            before.alone = false;
        }
        batches.push(Batch { log, announced, alone });
    }
    batches
}

fn event(source: &Source, log: &Log) -> Option<ChainEvent> {
    match decode(source.contract(log.address)?, &log.topics, &log.data) {
        Decoded::Event(event) => Some(event),
        Decoded::Unknown { .. } | Decoded::Malformed { .. } => None,
    }
}

/// Down the ladder, to the first rung that adds up.
async fn search(
    source: &Source,
    logs: &[Log],
    batch: &Batch<'_>,
    transaction: Option<&Transaction>,
) -> Result<Option<Shares>, FetchError> {
    let proven = |method: CreditMethod, found: Vec<RewardBatch>| {
        let mut shares = found.into_iter().map(|batch| Shares::Batch { method, batch });
        shares.find(|shares| fits(&batch.announced, shares))
    };
    let pool = source.spec.l1.locking_pool;
    let direct = transaction
        .filter(|transaction| transaction.to == Some(pool))
        .and_then(|transaction| RewardBatch::decode(&transaction.input).ok());
    if let Some(shares) = proven(CreditMethod::Calldata, direct.into_iter().collect()) {
        return Ok(Some(shares));
    }
    let (traced, failed) = match traced(source, batch.log.transaction_hash).await {
        Ok(traced) => (traced, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    if let Some(shares) = proven(CreditMethod::Trace, traced) {
        return Ok(Some(shares));
    }
    let state = if batch.alone { by_state(source, logs, batch.log.block_hash).await? } else { None };
    let state = state.filter(|shares| fits(&batch.announced, shares));
    match (state, failed) {
        // What a trace would show later must not be lost for good.
        (None, Some(failed)) => Err(failed),
        (state, _) => Ok(state),
    }
}

/// The batches inside a transaction; none where no endpoint traces it.
async fn traced(source: &Source, hash: B256) -> Result<Vec<RewardBatch>, FetchError> {
    let trace = source.pool.ask(call::trace_transaction(hash)).await;
    let trace = known(trace, "a trace", LATER)?;
    Ok(trace.map(|trace| RewardBatch::all_in(&trace, source.spec.l1.locking_pool)).unwrap_or_default())
}

/// What the block added to each reward; none where no endpoint has the state before and after it.
async fn by_state(source: &Source, logs: &[Log], block: B256) -> Result<Option<Shares>, FetchError> {
    let header = source.pool.ask(call::header(BlockId::Hash(block))).await;
    let header = header.map_err(|source| FetchError::Ask { what: "the block of a reward batch", source })?;
    let header = header.ok_or(FetchError::Missing { what: "the block of a reward batch" })?;
    let at = |hash| contract::records(source, BlockId::Hash(hash));
    let read = async { tokio::try_join!(at(header.parent_hash), at(block)) };
    let Some((before, after)) = known(read.await, "the rewards around a batch", STATE_LATER)? else {
        return Ok(None);
    };
    let events: Vec<(B256, ChainEvent)> = logs
        .iter()
        .filter(|log| log.block_hash == block)
        .filter_map(|log| Some((log.transaction_hash, event(source, log)?)))
        .collect();
    Ok(difference(&events, &before, &after).map(|credits| Shares::State { credits }))
}

/// An answer, or none if the endpoints say that they never can give it. What may come later is an error.
fn known<T>(
    answer: Result<T, RpcError>,
    what: &'static str,
    later: &[NodeErrorKind],
) -> Result<Option<T>, FetchError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(source) if source.node().is_some_and(|node| !later.contains(&node.kind())) => Ok(None),
        Err(source) => Err(FetchError::Ask { what, source }),
    }
}
