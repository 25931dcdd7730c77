//! How often one question about logs is asked of an endpoint: once, until an answer of it was found to lack some.
//!
//! What no counter shows at once, as the end of an answer that was cut, comes to light blocks later, and asking once
//! more may lose something else. So for a while after a loss everything is asked several times, and what any answer
//! has counts: an answer that is cut has nothing that is not there. Only answers of the same endpoint are put together:
//! else a quorum would count one endpoint twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
/// Ranges are long: of losses in a fifth of all answers, three find all but one in a hundred.
const RANGE_MOST: usize = 2;
/// Blocks near the head are few, and each is an answer of its own.
const HEAD_MOST: usize = 5;

/// More of them say nothing new.
const LOSSES_MAX: usize = 32;

/// Losses of late on one chain; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Care(Arc<Mutex<VecDeque<Loss>>>);

#[derive(Debug)]
struct Loss {
    /// Whose answer it was; unknown where blocks that are stored lack logs.
    by: Option<EndpointId>,
    at: Instant,
}

impl Care {
    /// An answer of this endpoint, or of an unknown one, was found to lack logs.
    pub fn lost(&self, by: Option<EndpointId>) {
        let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        losses.push_back(Loss { by, at: Instant::now() });
        while losses.len() > LOSSES_MAX {
            losses.pop_front();
        }
    }

    /// How often to ask this endpoint again for blocks near the head.
    pub fn again(&self, endpoint: EndpointId) -> usize {
        self.count(|by| by.is_none_or(|by| by == endpoint), HEAD_MOST)
    }

    /// How often to ask again for a range: not where losses were seen in the answer itself, as most are among
    /// thousands of logs, since asking again when it happens costs less.
    pub fn again_range(&self) -> usize {
        self.count(|by| by.is_none(), RANGE_MOST)
    }

    /// The same where any may be asked, and answers are short.
    pub fn again_any(&self) -> usize {
        self.count(|_| true, RANGE_MOST)
    }

    fn count(&self, is_of: impl Fn(Option<EndpointId>) -> bool, most: usize) -> usize {
        let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while losses.front().is_some_and(|loss| loss.at.elapsed() > FORGOTTEN_AFTER) {
            losses.pop_front();
        }
        let of = losses.iter().filter(|loss| is_of(loss.by)).count();
        // Whoever lost one answer is not trusted with the next.
        if of == 0 { 0 } else { (of + 1).min(most) }
    }
}

/// The logs of blocks in order: those of an answer that says twice the same, or of several answers together.
///
/// Of long answers two that agree are enough. Those near the head are short, and all are asked for at once. Where two
/// contradict each other one of them lies, and more of them do not help: then the first stands for itself.
pub async fn told<A: Ask<Answer = Vec<Vec<Vec<Log>>>>>(
    source: &Source,
    blocks: (u64, u64),
    (first, endpoint): (Vec<Vec<Vec<Log>>>, EndpointId),
    (avoid, is_range): (&[EndpointId], bool),
    question: impl Fn() -> A,
) -> Result<Vec<Log>, FetchError> {
    let again = if is_range { source.care.again_range() } else { source.care.again(endpoint) };
    let mut united = United::default();
    if again == 0 || united.add(first.clone()).is_none() {
        return agree::twice_told(source, blocks, endpoint, first);
    }
    let together = if is_range { 1 } else { again };
    let mut left = again;
    while left > 0 {
        left -= together;
        let answers = join_all((0..together).map(|_| source.pool.ask_besides(avoid, question()))).await;
        let told = answers.into_iter().filter_map(Result::ok).filter(|(_, by)| *by == endpoint);
        for (answer, _) in told {
            let Some(agrees) = united.add(answer) else {
                return agree::twice_told(source, blocks, endpoint, first);
            };
            left = if agrees && together == 1 { 0 } else { left };
        }
    }
    Ok(agree::in_order(source, vec![united.0.into_values().collect()]))
}

/// Everything that any answer has, in chain order.
#[derive(Debug, Default)]
struct United(BTreeMap<(u64, u64), Log>);

impl United {
    /// Adds an answer. Whether it is just what was there before; none if it says something else of one place.
    fn add(&mut self, answer: Vec<Vec<Vec<Log>>>) -> Option<bool> {
        let before = self.0.len();
        let mut places = BTreeSet::new();
        for log in answer.into_iter().flatten().flatten() {
            let place = (log.block_number, log.log_index);
            places.insert(place);
            let known = self.0.entry(place).or_insert_with(|| log.clone());
            if !agree::same(std::slice::from_ref(known), &[log]) {
                return None;
            }
        }
        Some(self.0.len() == before && places.len() == before)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};
    use chain::rpc::Topics;

    use super::*;

    #[test]
    fn nothing_is_asked_twice_until_something_was_lost() {
        let url: chain::rpc::EndpointUrl = "http://127.0.0.1:9".parse().expect("a URL");
        let pool = chain::pool::Pool::new(1, vec![url.clone().into(), url.into()], Default::default());
        let status = pool.expect("a pool").status();
        let [one, other] = [status[0].id, status[1].id];
        let care = Care::default();
        assert_eq!(care.again_any(), 0);
        care.lost(Some(one));
        assert_eq!((care.again(one), care.again(other), care.again_range()), (2, 0, 0));
        (0..2 * HEAD_MOST).for_each(|_| care.clone().lost(None));
        assert_eq!((care.again(one), care.again_range()), (HEAD_MOST, RANGE_MOST));
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
        let (a, b, c) = (log(1, 1, 7), log(1, 2, 7), log(2, 0, 7));
        let mut united = United::default();
        assert_eq!(united.add(vec![vec![vec![a.clone(), c.clone(), a.clone()]]]), Some(false));
        assert_eq!(united.add(vec![vec![vec![a.clone()], vec![c.clone()]]]), Some(true), "the same again");
        assert_eq!(united.add(vec![vec![vec![a.clone()]]]), Some(false), "it lacks one");
        assert_eq!(united.add(vec![vec![vec![b.clone()]]]), Some(false));
        assert_eq!(united.0.values().cloned().collect::<Vec<_>>(), [a, b, c]);
        assert_eq!(united.add(vec![vec![vec![log(1, 1, 8)]]]), None);
    }
}
