//! Getting blocks with their logs from the endpoints, and proof that they belong together.
//!
//! Nothing is believed by height alone: every log is tied to a header by its block hash, and headers near the
//! head to one another by parent hashes. What does not fit was fetched across a reorg, and is fetched again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use api::indexer::v1::CreditMethod;
use chain::abi::LockingPool;
use chain::calldata::RewardBatch;
use chain::event::Source as Contract;
use chain::rpc::{BlockId, Header, Log, RpcError, Transaction, call};

use super::follow::{At, Sight, chained};
use crate::fold::credit::Shares;
use crate::fold::ledger::Evidence;
use crate::source::Source;

/// Blocks near the head that are fetched together, each with its logs by hash: 32 headers and 64 log queries make
/// one HTTP request each.
pub const HEAD_BLOCKS: u64 = 32;

/// Where an endpoint does not say what is final, blocks this deep are taken for it, as on Ethereum in good times.
const FINAL_DEPTH: u64 = 64;

/// Why blocks could not be fetched. All are worth another try.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No endpoint answered.
    #[error("asking for {what}")]
    Ask {
        /// What was asked for.
        what: &'static str,
        /// Why there was no answer.
        #[source]
        source: RpcError,
    },
    /// The endpoint does not have what another answer named.
    #[error("the endpoint lacks {what}")]
    Missing {
        /// What it lacks.
        what: &'static str,
    },
    /// The answers are of different chains.
    #[error("the chain changed while {what} were fetched")]
    Moved {
        /// What was fetched.
        what: &'static str,
    },
}

impl FetchError {
    fn asking(what: &'static str) -> impl FnOnce(RpcError) -> Self {
        move |source| Self::Ask { what, source }
    }
}

/// What an endpoint says of its head.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// For the decision.
    pub sight: Sight,
    /// Height of `safe`.
    pub safe: u64,
    /// Height of `finalized`.
    pub finalized: u64,
}

/// A run of blocks, complete.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Headers to be stored, by height: all near the head, else those with logs and the last.
    pub headers: BTreeMap<u64, Header>,
    /// All logs of ours in chain order.
    pub logs: Vec<Log>,
    /// Their transactions.
    pub transactions: HashMap<B256, Transaction>,
    /// Shares of the reward batches among them.
    pub evidence: Evidence,
}

/// Looks at the head, and at the height of our own block, in one breath of one endpoint.
pub async fn observe(source: &Source, tip: Option<At>) -> Result<Observed, FetchError> {
    // Without a block of our own the height does not matter, and the start is as good as any.
    let ours = call::header(BlockId::Number(tip.map_or(source.start(), |tip| tip.number)));
    let question = (
        call::header(BlockId::Latest),
        ours,
        call::header(BlockId::Safe).attempt(),
        call::header(BlockId::Finalized).attempt(),
    );
    let (latest, at_tip, safe, finalized) =
        source.pool.ask(question).await.map_err(FetchError::asking("the head"))?;
    let latest = latest.ok_or(FetchError::Missing { what: "its own head" })?;
    let deep = latest.number.saturating_sub(FINAL_DEPTH);
    let height = |tag: Option<Header>| tag.map_or(deep, |header| header.number);
    Ok(Observed {
        sight: Sight { latest: At::from(&latest), at_tip: at_tip.as_ref().map(At::from) },
        safe: height(safe.ok().flatten()),
        finalized: height(finalized.ok().flatten()),
    })
}

/// The headers at these heights on the endpoint's chain.
pub async fn headers_at(source: &Source, heights: &[u64]) -> Result<Vec<Option<At>>, FetchError> {
    let question = call::headers(heights.iter().copied());
    let headers = source.pool.ask(question).await.map_err(FetchError::asking("headers"))?;
    Ok(headers.iter().map(|header| header.as_ref().map(At::from)).collect())
}

/// A range of final blocks: logs by height, headers only of blocks that have any.
pub async fn range(source: &Source, from: u64, to: u64) -> Result<Fetched, FetchError> {
    let logs: Vec<_> = source.filters().iter().map(|filter| call::logs_of_range(from, to, filter)).collect();
    let question = (logs, call::header(BlockId::Number(to)));
    let (logs, last) = source.pool.ask(question).await.map_err(FetchError::asking("the logs of a range"))?;
    let last = last.ok_or(FetchError::Missing { what: "the last block of a range" })?;
    let logs = in_order(logs);
    let heights: BTreeSet<u64> =
        logs.iter().map(|log| log.block_number).filter(|number| *number != to).collect();
    let found = source
        .pool
        .ask(call::headers(heights.iter().copied()))
        .await
        .map_err(FetchError::asking("the headers of a range"))?;
    let found: Option<Vec<Header>> = found.into_iter().collect();
    let found = found.ok_or(FetchError::Missing { what: "a block that it gave logs of" })?;
    let headers = found.into_iter().chain([last]).map(|header| (header.number, header)).collect();
    complete(source, headers, logs).await
}

/// Blocks near the head: every header, each on the one before, and the logs of each by its hash.
pub async fn head(source: &Source, parent: Option<B256>, from: u64, to: u64) -> Result<Fetched, FetchError> {
    let headers = source
        .pool
        .ask(call::headers(from..=to))
        .await
        .map_err(FetchError::asking("headers near the head"))?;
    let headers: Option<Vec<Header>> = headers.into_iter().collect();
    let headers = headers.ok_or(FetchError::Missing { what: "a block below its own head" })?;
    if !chained(parent, &headers) {
        return Err(FetchError::Moved { what: "headers near the head" });
    }
    let filters = source.filters();
    let of_block =
        |header: &Header| filters.iter().map(|filter| call::logs_of_block(header.hash, filter)).collect();
    let question: Vec<Vec<_>> = headers.iter().map(of_block).collect();
    let logs = source.pool.ask(question).await.map_err(FetchError::asking("logs near the head"))?;
    let logs = in_order(logs.into_iter().flatten().collect());
    complete(source, headers.into_iter().map(|header| (header.number, header)).collect(), logs).await
}

fn in_order(logs: Vec<Vec<Log>>) -> Vec<Log> {
    let mut logs: Vec<Log> = logs.into_iter().flatten().filter(|log| !log.removed).collect();
    logs.sort_by_key(|log| (log.block_number, log.log_index));
    logs
}

async fn complete(
    source: &Source,
    headers: BTreeMap<u64, Header>,
    logs: Vec<Log>,
) -> Result<Fetched, FetchError> {
    let tied = |log: &Log| headers.get(&log.block_number).is_some_and(|header| header.hash == log.block_hash);
    if !logs.iter().all(tied) {
        return Err(FetchError::Moved { what: "logs" });
    }
    // Transfers are evidence only: nobody asks who sent them.
    let ours = |log: &&Log| source.contract(log.address) != Some(Contract::Metis);
    let hashes: BTreeSet<B256> = logs.iter().filter(ours).map(|log| log.transaction_hash).collect();
    let question: Vec<_> = hashes.into_iter().map(call::transaction).collect();
    let found = source.pool.ask(question).await.map_err(FetchError::asking("transactions"))?;
    let found: Option<Vec<Transaction>> = found.into_iter().collect();
    let found = found.ok_or(FetchError::Missing { what: "a transaction that it gave logs of" })?;
    let transactions = found.into_iter().map(|transaction| (transaction.hash, transaction)).collect();
    let evidence = evidence(source, &logs, &transactions).await?;
    Ok(Fetched { headers, logs, transactions, evidence })
}

/// The shares of every reward batch: in the calldata of a transaction to the pool, else in a traced call (P 1.13).
async fn evidence(
    source: &Source,
    logs: &[Log],
    transactions: &HashMap<B256, Transaction>,
) -> Result<Evidence, FetchError> {
    let pool = source.spec.l1.locking_pool;
    let batch = |log: &&Log| {
        log.address == pool && log.topics.first() == Some(&LockingPool::DistributeReward::SIGNATURE_HASH)
    };
    let hashes: BTreeSet<B256> = logs.iter().filter(batch).map(|log| log.transaction_hash).collect();
    let mut evidence = Evidence::new();
    for hash in hashes {
        let direct = transactions
            .get(&hash)
            .filter(|transaction| transaction.to == Some(pool))
            .and_then(|transaction| RewardBatch::decode(&transaction.input).ok());
        let (method, batches) = match direct {
            Some(batch) => (CreditMethod::Calldata, vec![batch]),
            None => (CreditMethod::Trace, traced(source, hash).await?),
        };
        for batch in batches {
            evidence.insert((hash, batch.batch_id), Shares { method, batch });
        }
    }
    Ok(evidence)
}

/// The batches inside a transaction; none where the endpoint does not trace.
async fn traced(source: &Source, hash: B256) -> Result<Vec<RewardBatch>, FetchError> {
    let trace = source.pool.ask(call::trace_transaction(hash).attempt()).await;
    match trace {
        Ok(Ok(trace)) => Ok(RewardBatch::all_in(&trace, source.spec.l1.locking_pool)),
        Ok(Err(_)) => Ok(Vec::new()),
        // No endpoint has the method: the batch stays unattributed, which its method says.
        Err(error) if error.node().is_some() => Ok(Vec::new()),
        Err(error) => Err(FetchError::asking("a trace")(error)),
    }
}
