//! How often one question about logs is asked: once, until an answer was found to lack some.
//!
//! What no counter shows at once, as the end of an answer that was cut, comes to light blocks later, and asking once
//! more may lose something else. So for a while after a loss everything is asked several times, and what any answer
//! has counts: an answer that is cut has nothing that is not there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain::pool::EndpointId;
use chain::rpc::{Ask, Log};
use futures::future::join_all;

use super::agree;
use super::fetch::FetchError;
use crate::source::Source;

/// A loss is forgotten after this: an endpoint with a fault for good loses more before.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Ranges are long: asking three times finds all but one in a hundred losses of a fifth of all answers.
pub const RANGE_MOST: usize = 2;
/// Blocks near the head are few, and each is an answer of its own.
pub const HEAD_MOST: usize = 5;

/// Losses of late on one chain; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Care(Arc<Mutex<VecDeque<Instant>>>);

impl Care {
    /// An answer was found to lack logs.
    pub fn lost(&self) {
        let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        losses.push_back(Instant::now());
        while losses.len() > HEAD_MOST {
            losses.pop_front();
        }
    }

    /// How often to ask again, at most so often.
    pub fn again(&self, most: usize) -> usize {
        let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while losses.front().is_some_and(|loss| loss.elapsed() > FORGOTTEN_AFTER) {
            losses.pop_front();
        }
        // Whoever lost one answer is not trusted with the next.
        if losses.is_empty() { 0 } else { (losses.len() + 1).min(most) }
    }
}

/// The logs of blocks in order: those of an answer that says twice the same, or of several answers together.
pub async fn told<A: Ask<Answer = Vec<Vec<Vec<Log>>>>>(
    source: &Source,
    blocks: (u64, u64),
    (first, endpoint): (Vec<Vec<Vec<Log>>>, EndpointId),
    (avoid, most): (&[EndpointId], usize),
    question: impl Fn() -> A,
) -> Result<Vec<Log>, FetchError> {
    let again = source.care.again(most);
    if again == 0 {
        return agree::twice_told(source, blocks, endpoint, first);
    }
    let answers = join_all((0..again).map(|_| source.pool.ask_besides(avoid, question()))).await;
    let others = answers.into_iter().filter_map(Result::ok).map(|(answer, _)| answer);
    let all = std::iter::once(first).chain(others).flatten().flatten().flatten();
    let logs = united(all).ok_or_else(|| agree::disagreed(source, blocks, (endpoint, endpoint)))?;
    Ok(agree::in_order(source, vec![logs]))
}

/// Everything that any answer has, in chain order; none if two say different things of one place.
fn united(logs: impl Iterator<Item = Log>) -> Option<Vec<Log>> {
    let mut places: BTreeMap<(u64, u64), Log> = BTreeMap::new();
    for log in logs {
        let known = places.entry((log.block_number, log.log_index)).or_insert_with(|| log.clone());
        if !agree::same(std::slice::from_ref(known), &[log]) {
            return None;
        }
    }
    Some(places.into_values().collect())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};
    use chain::rpc::Topics;

    use super::*;

    #[test]
    fn nothing_is_asked_twice_until_something_was_lost() {
        let care = Care::default();
        assert_eq!(care.again(RANGE_MOST), 0);
        care.lost();
        assert_eq!(care.again(RANGE_MOST), 2);
        (0..2 * HEAD_MOST).for_each(|_| care.clone().lost());
        assert_eq!((care.again(RANGE_MOST), care.again(HEAD_MOST)), (RANGE_MOST, HEAD_MOST));
    }

    #[test]
    fn what_any_answer_has_counts_unless_two_contradict_each_other() {
        let log = |block_number, log_index, data: u8| Log {
            block_number,
            log_index,
            data: vec![data].into(),
            address: Address::ZERO,
            topics: Topics::default(),
            block_hash: B256::ZERO,
            transaction_hash: B256::ZERO,
            transaction_index: 0,
            block_timestamp: None,
            removed: false,
        };
        let united_of = |logs: &[Log]| united(logs.iter().cloned());
        let (a, b, c) = (log(1, 1, 7), log(1, 2, 7), log(2, 0, 7));
        let whole = vec![a.clone(), b.clone(), c.clone()];
        assert_eq!(united_of(&[a.clone(), c.clone(), a.clone(), b.clone()]), Some(whole));
        assert_eq!(united_of(&[a, b, log(1, 1, 8)]), None);
    }
}
