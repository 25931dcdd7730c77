//! The newest block of a network and what its contracts are set to there, asked once for all who look at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{Address, B256};
use chain::pool::Pool;
use chain::rpc::{BlockId, Header, RpcError, call};
use chain::views::{self, EscrowParameters, PoolParameters, StatusCounts};
use tokio::sync::{Mutex, OnceCell};

/// What concerns every operation of a network, at one block.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub pool: PoolParameters,
    pub escrow: EscrowParameters,
    pub counts: StatusCounts,
    /// What stands behind the pool's proxy.
    pub implementation: Address,
}

/// Shared by all who look at one network.
#[derive(Debug, Default)]
pub struct Head {
    latest: Together<Option<Header>>,
    // Of the block that was looked at last: a block never changes.
    settings: Mutex<Option<(B256, Arc<OnceCell<Settings>>)>>,
}

impl Head {
    /// The newest block, as an endpoint told it after this was asked; none if it knows no block.
    pub async fn latest(&self, l1: &Pool) -> Result<Option<Header>, RpcError> {
        self.latest.ask(|| async { l1.ask(call::header(BlockId::Latest)).await }).await
    }

    /// What the contracts were set to at a block.
    pub async fn settings(
        &self,
        l1: &Pool,
        pool: Address,
        info: Address,
        block: B256,
    ) -> Result<Settings, RpcError> {
        let cell = {
            let mut last = self.settings.lock().await;
            match last.as_ref().filter(|(hash, _)| *hash == block) {
                Some((_, cell)) => cell.clone(),
                None => last.insert((block, Arc::default())).1.clone(),
            }
        };
        let read = || async move {
            let at = BlockId::Hash(block);
            let all = (
                views::pool_parameters(pool, at),
                views::escrow_parameters(info, at),
                views::status_counts(pool, at),
                views::implementation(pool, at),
            );
            let (pool, escrow, counts, implementation) = l1.ask(all).await?;
            Ok(Settings { pool, escrow, counts, implementation })
        };
        cell.get_or_try_init(read).await.copied()
    }
}

/// One answer for all who asked before it was asked for: never older than the question.
#[derive(Debug, Default)]
struct Together<T> {
    asked: AtomicU64,
    last: Mutex<Last<T>>,
}

#[derive(Debug, Default)]
struct Last<T> {
    /// The answer is for questions with a number below this.
    covers: u64,
    /// None where nobody answered.
    answer: Option<T>,
}

impl<T: Clone> Together<T> {
    async fn ask<E, F, Fut>(&self, ask: F) -> Result<T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        {
            let mut last = self.last.lock().await;
            if last.covers <= number {
                let covers = self.asked.load(Ordering::SeqCst);
                let answer = ask().await;
                *last = Last { covers, answer: answer.as_ref().ok().cloned() };
                return answer;
            }
            if let Some(answer) = &last.answer {
                return Ok(answer.clone());
            }
        }
        // What failed for another is asked again, and not one after the other.
        ask().await
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicU32;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_one_answer_that_is_younger_than_their_question() {
        let (together, gate, calls) = (Together::default(), Semaphore::new(0), AtomicU32::new(0));
        let question = || async {
            together
                .ask(|| async {
                    let number = calls.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.expect("open").forget();
                    Ok::<_, Infallible>(number)
                })
                .await
                .expect("an answer")
        };
        let open = async {
            // The first is under way and three wait, who came after it was asked.
            tokio::task::yield_now().await;
            gate.add_permits(2);
        };
        let (first, two, three, four, ()) =
            tokio::join!(question(), question(), question(), question(), open);
        assert_eq!((first, two, three, four), (0, 1, 1, 1));
        gate.add_permits(1);
        assert_eq!(question().await, 2, "nothing is kept for later");
    }

    #[tokio::test]
    async fn what_failed_for_one_is_asked_again_by_the_others() {
        let (together, calls) = (Together::<u32>::default(), AtomicU32::new(0));
        let question = || {
            together.ask(|| async {
                let number = calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                if number < 2 { Err(number) } else { Ok(number) }
            })
        };
        let answers = tokio::join!(question(), question(), question());
        assert_eq!(answers, (Err(0), Err(1), Ok(2)));
    }
}
