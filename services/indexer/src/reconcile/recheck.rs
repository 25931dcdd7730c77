//! Whether any log is missing that no counter of the contracts counts: these logs alone are asked for once more, since
//! the last comparison that found nothing, and must be those that are stored.
//!
//! The state at one block says what was set last, but not what was set before it.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use chain::rpc::{BlockId, Log, RpcError, call};
use futures::future::join_all;
use sea_orm::ConnectionTrait;
use store::Error;

use super::agree::uncounted;
use super::care::RANGE_MOST;
use super::follow::At;
use super::range::Range;
use crate::db::{checkpoint, column, height, log, reconciliation};
use crate::source::Source;

/// Without a loss only so many blocks are asked for again, a few minutes of L1 with room for an outage: history was
/// asked for twice when it was fetched.
const BLOCKS_MAX: u64 = 2_000;

/// What the index has of these logs.
#[derive(Debug)]
pub struct Stored {
    /// First block.
    from: u64,
    /// Last block.
    to: u64,
    /// Its hash.
    hash: B256,
    /// Height and place of each.
    places: BTreeSet<(u64, u64)>,
}

/// What is to be compared with the chain up to a block; none if there is nothing to ask for, or too much.
pub async fn stored<C: ConnectionTrait>(
    view: &C,
    source: &Source,
    at: checkpoint::Tip,
) -> Result<Option<Stored>, Error> {
    let topics: Vec<_> = uncounted(source).into_iter().flat_map(|filter| filter.topics).flatten().collect();
    let compared = reconciliation::of(view, &source.network).await?;
    let verified = compared.and_then(|row| row.verified_number).map(height);
    let (from, to) = (verified.map_or(source.start(), |number| number + 1), height(at.number));
    let too_much = to.saturating_sub(from) >= BLOCKS_MAX && source.care.again_any(RANGE_MOST) == 0;
    if topics.is_empty() || from > to || too_much {
        return Ok(None);
    }
    let of = (source.network.as_str(), source.layer);
    let places = log::places(view, of, (column(from), column(to)), &topics).await?;
    let places =
        places.into_iter().map(|(number, place)| (height(number), height(i64::from(place)))).collect();
    Ok(Some(Stored { from, to, hash: at.hash.0, places }))
}

/// Names every log that is on one side only; none where an endpoint does not have the last block, or another one.
///
/// # Errors
/// When the endpoints do not answer.
pub async fn differences(source: &Source, stored: Option<Stored>) -> Result<Vec<String>, RpcError> {
    let Some(Stored { from, to, hash, places }) = stored else { return Ok(Vec::new()) };
    let mut found = BTreeSet::new();
    let (mut next, mut range) = (from, Range::default());
    while next <= to {
        let last = range.to(next, to);
        match asked(source, (next, last), At { number: to, hash }).await {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(logs)) => {
                range.answered(last - next + 1, logs.len());
                found.extend(logs.iter().map(|log| (log.block_number, log.log_index)));
                next = last + 1;
            }
            Err(error) if range.refused((next, last), &error) => {}
            Err(error) => return Err(error),
        }
    }
    let missing =
        found.difference(&places).map(|(number, place)| format!("log {place} of block {number}: missing"));
    let surplus = places
        .difference(&found)
        .map(|(number, place)| format!("log {place} of block {number}: not on the chain"));
    Ok(missing.chain(surplus).collect())
}

/// All that any of several answers has; none if one is from a node without this block.
async fn asked(source: &Source, (from, to): (u64, u64), of: At) -> Result<Option<Vec<Log>>, RpcError> {
    let question = || {
        let logs: Vec<_> =
            uncounted(source).iter().map(|filter| call::logs_of_range(from, to, filter)).collect();
        (logs, call::header(BlockId::Number(of.number)))
    };
    let answers =
        join_all((0..=source.care.again_any(RANGE_MOST)).map(|_| source.pool.ask(question()))).await;
    let mut logs = Vec::new();
    for answer in answers {
        let (of_filters, header) = answer?;
        if header.is_none_or(|header| At::from(&header) != of) {
            return Ok(None);
        }
        logs.extend(of_filters.into_iter().flatten());
    }
    Ok(Some(logs))
}
