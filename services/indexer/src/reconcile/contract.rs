//! Pictures of the contracts at one block, in a few fat questions.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use chain::rpc::{Ask, BlockId, RpcError};
use chain::views;
use domain::ids::{EpochId, SequencerId};

use super::compare::{EPOCHS, OnChain, SetOnChain};
use crate::fold::credit::Records;
use crate::source::Source;

/// Views asked for in one question: a fat HTTP request, but one that nodes still take.
const VIEWS_TOGETHER: usize = 400;

/// All records of the pool.
pub async fn records(source: &Source, at: BlockId) -> Result<Records, RpcError> {
    let pool = source.spec.l1.locking_pool;
    let last = source.pool.ask(views::total_sequencers(pool, at)).await?;
    let ids: Vec<SequencerId> = (1..=last.0).map(SequencerId).collect();
    let found = many(source, &ids, |id| views::sequencer(pool, *id, at)).await?;
    Ok(ids.into_iter().zip(found).filter_map(|(id, record)| Some((id, record?))).collect())
}

/// Everything of L1 that the index has too; of the whitelist these owners.
pub async fn l1(source: &Source, at: BlockId, owners: &[Address]) -> Result<OnChain, RpcError> {
    let l1 = &source.spec.l1;
    let together = (
        views::pool_parameters(l1.locking_pool, at),
        views::escrow_parameters(l1.locking_info, at),
        views::status_counts(l1.locking_pool, at),
        views::token_balance(l1.metis, l1.locking_info, at),
    );
    let (pool, escrow, counts, escrow_balance) = source.pool.ask(together).await?;
    let records = records(source, at).await?;
    let whitelisted = many(source, owners, |owner| views::whitelisted(l1.locking_pool, *owner, at)).await?;
    let whitelist = owners.iter().copied().zip(whitelisted).collect();
    Ok(OnChain { records, pool, escrow, counts, whitelist, escrow_balance })
}

/// What MetisSequencerSet is set to, and its newest epochs; `indexed` is the newest that the index has.
pub async fn l2(
    source: &Source,
    set: Address,
    at: BlockId,
    indexed: Option<EpochId>,
) -> Result<SetOnChain, RpcError> {
    let together =
        (views::current_epoch(set, at), views::epoch_length(set, at), views::sequencer_set_mpc(set, at));
    let (current, epoch_length, mpc) = source.pool.ask(together).await?;
    let newest = |last: EpochId| (last.0.saturating_sub(u64::from(EPOCHS) - 1)..=last.0).map(EpochId);
    let mut ids: Vec<EpochId> = newest(current).chain(indexed.into_iter().flat_map(newest)).collect();
    ids.sort();
    ids.dedup();
    let found = many(source, &ids, |id| views::epoch(set, *id, at)).await?;
    let epochs: BTreeMap<_, _> =
        ids.into_iter().zip(found).filter_map(|(id, epoch)| Some((id, epoch?))).collect();
    Ok(SetOnChain { current, epochs, epoch_length, mpc })
}

/// The same question about many, a few hundred at a time.
async fn many<T, A: Ask>(
    source: &Source,
    subjects: &[T],
    ask: impl Fn(&T) -> A,
) -> Result<Vec<A::Answer>, RpcError> {
    let mut answers = Vec::with_capacity(subjects.len());
    for subjects in subjects.chunks(VIEWS_TOGETHER) {
        let question: Vec<A> = subjects.iter().map(&ask).collect();
        answers.extend(source.pool.ask(question).await?);
    }
    Ok(answers)
}
