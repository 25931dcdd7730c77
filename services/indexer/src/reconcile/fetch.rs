//! Getting blocks with their logs from the endpoints, and proof that they belong together.
//!
//! Near the head nothing is believed by height: logs are asked for by block hash, and headers are tied to one another
//! by parent hashes. Below `finalized` ranges are asked for by height, and every log must agree with the others on
//! what block stands there. What does not fit was fetched across a reorg, and is fetched again. Which logs could be
//! missing is the business of [`crate::fold`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use chain::abi::LockingPool;
use chain::pool::EndpointId;
use chain::rpc::{Ask, BlockId, Header, Log, NodeErrorKind, RpcError, Transaction, call};

use super::agree::{disagreed, same, twice_told, uncounted};
use super::care::told;
use super::credits;
use super::follow::{At, Sight, chained};
use crate::fold::ledger::Evidence;
use crate::source::Source;

/// Blocks near the head that are fetched together, each with its logs by hash: 32 headers and 64 log queries make
/// one HTTP request each.
pub const HEAD_BLOCKS: u64 = 32;

/// Where an endpoint does not say what is final, blocks this deep are taken for it, as on Ethereum in good times.
const FINAL_DEPTH: u64 = 64;

/// Askings of one question about blocks that another answer has named: behind one address may be several nodes, of
/// which some do not have them yet.
const LAG_TRIES: u32 = 3;

/// Headers asked for in one HTTP request: what geth and the providers take (P 7 of the anchors: 100).
const HEADERS_TOGETHER: usize = 100;

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
    /// Two answers to the same question differ.
    #[error("{first} and {second} disagree about the logs of blocks {from} to {to}")]
    Disagreed {
        /// First block.
        from: u64,
        /// Last block.
        to: u64,
        /// Who said the one.
        first: String,
        /// Who said the other; the same endpoint for two questions of one request.
        second: String,
        /// The endpoint, if one contradicts itself.
        between: Option<EndpointId>,
    },
    /// The quorum cannot be had.
    #[error("only {found} of {quorum} endpoints answered for blocks {from} to {to}")]
    NoQuorum {
        /// First block.
        from: u64,
        /// Last block.
        to: u64,
        /// Endpoints that must agree.
        quorum: usize,
        /// Those that answered.
        found: usize,
    },
    /// The work was cancelled from outside, which only the end of the process does.
    #[error("fetching was interrupted")]
    Interrupted,
}

impl FetchError {
    /// For `map_err`.
    pub fn asking(what: &'static str) -> impl FnOnce(RpcError) -> Self {
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

/// A block as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Hash.
    pub hash: B256,
    /// Hash of the block before, from its header.
    pub parent: Option<B256>,
    /// Time.
    pub time: u64,
}

impl From<&Header> for Seen {
    fn from(header: &Header) -> Self {
        Self { hash: header.hash, parent: Some(header.parent_hash), time: header.timestamp }
    }
}

/// A run of blocks, complete.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Blocks to be stored, by height: all near the head, else those with logs and the last.
    pub blocks: BTreeMap<u64, Seen>,
    /// All logs of ours in chain order.
    pub logs: Vec<Log>,
    /// Transactions of the reward batches among them.
    pub transactions: HashMap<B256, Transaction>,
    /// Shares of those batches.
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
    let (safe, finalized) = firm(latest.number, safe.ok().flatten(), finalized.ok().flatten());
    let sight = Sight { latest: At::from(&latest), at_tip: at_tip.as_ref().map(At::from) };
    Ok(Observed { sight, safe, finalized })
}

/// Heights of `safe` and `finalized`.
fn firm(latest: u64, safe: Option<Header>, finalized: Option<Header>) -> (u64, u64) {
    let deep = latest.saturating_sub(FINAL_DEPTH);
    let height = |tag: Option<Header>| tag.map_or(deep, |header| header.number);
    (height(safe), height(finalized))
}

/// The headers at these heights on the endpoint's chain.
pub async fn headers_at(source: &Source, heights: &[u64]) -> Result<Vec<Option<At>>, FetchError> {
    let question = call::headers(heights.iter().copied());
    let headers = source.pool.ask(question).await.map_err(FetchError::asking("headers"))?;
    Ok(headers.iter().map(|header| header.as_ref().map(At::from)).collect())
}

/// A range of final blocks by height, preferably not from the endpoints in `avoid`; as many endpoints as the quorum
/// wants must give the same logs. With it comes who gave them.
pub async fn range(
    source: &Source,
    (from, to): (u64, u64),
    avoid: &[EndpointId],
) -> Result<(Fetched, EndpointId), FetchError> {
    let (logs, last, endpoint) = agreed(source, (from, to), avoid).await?;
    let mut blocks = timed(source, &logs, to).await?;
    if blocks.get(&to).is_some_and(|seen| seen.hash != last.hash) {
        return Err(FetchError::Moved { what: "logs of a range" });
    }
    blocks.insert(to, Seen::from(&last));
    Ok((complete(source, blocks, logs).await?, endpoint))
}

/// The answer that as many endpoints give as the quorum wants. Those that were outvoted are distrusted.
async fn agreed(
    source: &Source,
    (from, to): (u64, u64),
    avoid: &[EndpointId],
) -> Result<(Vec<Log>, Header, EndpointId), FetchError> {
    let quorum = source.pool.quorum();
    let mut answers: Vec<(Vec<Log>, Header, EndpointId)> = Vec::new();
    loop {
        let heard: Vec<EndpointId> = answers.iter().map(|(.., endpoint)| *endpoint).collect();
        let last: Vec<EndpointId> = heard.iter().chain(avoid).copied().collect();
        let answer = one_range(source, from, to, &last).await?;
        if heard.contains(&answer.2) {
            // Nobody else is left to be asked.
            return Err(match heard.as_slice() {
                [first, .., other] => disagreed(source, (from, to), (*first, *other)),
                _ => FetchError::NoQuorum { from, to, quorum, found: heard.len() },
            });
        }
        let (with, against): (Vec<_>, Vec<_>) = answers.iter().partition(|(logs, ..)| same(logs, &answer.0));
        if with.len() + 1 >= quorum {
            for (.., endpoint) in against {
                source.pool.distrust(*endpoint, "others agree that its logs are wrong");
            }
            return Ok(answer);
        }
        answers.push(answer);
    }
}

async fn one_range(
    source: &Source,
    from: u64,
    to: u64,
    avoid: &[EndpointId],
) -> Result<(Vec<Log>, Header, EndpointId), FetchError> {
    let logs = || -> Vec<_> {
        let filters = source.filters().into_iter().chain(uncounted(source));
        filters.map(|filter| call::logs_of_range(from, to, &filter)).collect()
    };
    let question = || (vec![logs()], call::header(BlockId::Number(to)));
    let has_last = |(_, last): &(_, Option<Header>)| last.is_some();
    let ((first, last), endpoint) = found(source, avoid, "the logs of a range", has_last, question).await?;
    let last = last.ok_or(FetchError::Missing { what: "the last block of a range" })?;
    let first = (first, endpoint);
    let logs = told(source, (from, to), first, (avoid, true), || vec![logs()]).await?;
    Ok((logs, last, endpoint))
}

/// The blocks of logs, with their times as the logs tell them, else from their headers.
async fn timed(source: &Source, logs: &[Log], to: u64) -> Result<BTreeMap<u64, Seen>, FetchError> {
    let mut blocks = BTreeMap::new();
    let mut timeless = BTreeSet::new();
    for log in logs {
        let Some(time) = log.block_timestamp else {
            timeless.insert(log.block_number);
            continue;
        };
        let seen = Seen { hash: log.block_hash, parent: None, time };
        if *blocks.entry(log.block_number).or_insert(seen) != seen {
            return Err(FetchError::Moved { what: "logs of a range" });
        }
    }
    timeless.remove(&to);
    let heights: Vec<u64> = timeless.into_iter().collect();
    for heights in heights.chunks(HEADERS_TOGETHER) {
        let asked = source.pool.ask(call::headers(heights.iter().copied())).await;
        for header in asked.map_err(FetchError::asking("the headers of a range"))? {
            let header = header.ok_or(FetchError::Missing { what: "a block that it gave logs of" })?;
            blocks.insert(header.number, Seen::from(&header));
        }
    }
    Ok(blocks)
}

/// Blocks near the head: every header, each on the one before, and the logs of each by its hash; and who gave these.
pub async fn head(
    source: &Source,
    parent: Option<B256>,
    (from, to): (u64, u64),
    avoid: &[EndpointId],
) -> Result<(Fetched, EndpointId), FetchError> {
    let whole = |headers: &Vec<Option<Header>>| headers.iter().all(Option::is_some);
    let (headers, _) =
        found(source, avoid, "headers near the head", whole, || call::headers(from..=to)).await?;
    let headers: Option<Vec<Header>> = headers.into_iter().collect();
    let headers = headers.ok_or(FetchError::Missing { what: "a block below its own head" })?;
    if !chained(parent, &headers) {
        return Err(FetchError::Moved { what: "headers near the head" });
    }
    let question = || headers.iter().map(|header| logs_of(source, header.hash)).collect::<Vec<_>>();
    let (first, endpoint) = found(source, avoid, "logs near the head", |_| true, question).await?;
    let first = (first, endpoint);
    let logs = told(source, (from, to), first, (avoid, false), question).await?;
    let blocks = headers.iter().map(|header| (header.number, Seen::from(header))).collect();
    Ok((complete(source, blocks, logs).await?, endpoint))
}

/// The block that was just announced, on top of ours: its logs, and what is firm now, in one request.
pub async fn child(source: &Source, header: &Header) -> Result<(Fetched, Observed), FetchError> {
    let question = (
        logs_of(source, header.hash),
        call::header(BlockId::Safe).attempt(),
        call::header(BlockId::Finalized).attempt(),
    );
    let asked = source.pool.ask_told(question).await;
    let ((logs, safe, finalized), endpoint) = asked.map_err(FetchError::asking("the logs of the head"))?;
    let (safe, finalized) = firm(header.number, safe.ok().flatten(), finalized.ok().flatten());
    let blocks = [(header.number, Seen::from(header))].into();
    let logs = twice_told(source, (header.number, header.number), endpoint, vec![logs])?;
    let fetched = complete(source, blocks, logs).await?;
    let latest = At::from(header);
    let sight = Sight { latest, at_tip: Some(latest) };
    Ok((fetched, Observed { sight, safe, finalized }))
}

/// Asks until the answer has everything: what another answer named is there, if not on this node. Who lacks
/// something is asked last from then on.
async fn found<A: Ask>(
    source: &Source,
    avoid: &[EndpointId],
    what: &'static str,
    is_whole: impl Fn(&A::Answer) -> bool,
    ask: impl Fn() -> A,
) -> Result<(A::Answer, EndpointId), FetchError> {
    let mut tries = 1;
    let mut last = avoid.to_vec();
    loop {
        let asked = source.pool.ask_besides(&last, ask()).await;
        let lacks =
            |error: &RpcError| error.node().is_some_and(|node| node.kind() == NodeErrorKind::UnknownBlock);
        match asked {
            Ok(answered) if is_whole(&answered.0) => return Ok(answered),
            Ok(_) if tries == LAG_TRIES => return Err(FetchError::Missing { what }),
            Ok((_, endpoint)) => {
                last.push(endpoint);
                tries += 1;
            }
            Err(source) if tries == LAG_TRIES || !lacks(&source) => {
                return Err(FetchError::Ask { what, source });
            }
            Err(_) => tries += 1,
        }
    }
}

/// The logs of a block, those that are asked for twice at the end.
fn logs_of(source: &Source, block: B256) -> Vec<chain::rpc::Call<Vec<Log>>> {
    let filters = source.filters().into_iter().chain(uncounted(source));
    filters.map(|filter| call::logs_of_block(block, &filter)).collect()
}

async fn complete(
    source: &Source,
    blocks: BTreeMap<u64, Seen>,
    logs: Vec<Log>,
) -> Result<Fetched, FetchError> {
    let tied = |log: &Log| blocks.get(&log.block_number).is_some_and(|seen| seen.hash == log.block_hash);
    if !logs.iter().all(tied) {
        return Err(FetchError::Moved { what: "logs" });
    }
    let pool = source.spec.l1.locking_pool;
    let batch = |log: &&Log| {
        log.address == pool && log.topics.first() == Some(&LockingPool::DistributeReward::SIGNATURE_HASH)
    };
    let hashes: BTreeSet<B256> = logs.iter().filter(batch).map(|log| log.transaction_hash).collect();
    let (mut transactions, mut evidence) = (HashMap::new(), Evidence::new());
    if !hashes.is_empty() {
        let question = || hashes.iter().copied().map(call::transaction).collect::<Vec<_>>();
        let whole = |found: &Vec<Option<Transaction>>| found.iter().all(Option::is_some);
        let (known, _) = found(source, &[], "transactions of reward batches", whole, question).await?;
        transactions = known.into_iter().flatten().map(|found| (found.hash, found)).collect();
        evidence = credits::evidence(source, &logs, &transactions).await?;
    }
    Ok(Fetched { blocks, logs, transactions, evidence })
}
