//! What L1 takes for gas now, and how high it is. Asked once for all lanes that look at the same moment.

use std::time::{Duration, Instant};

use chain::fees::{self, FeePolicy, Fees, FeesRefused, Urgency};
use chain::pool::Pool;
use chain::rpc::{BlockId, FeeHistory, RpcError, call};
use tokio::sync::Mutex;

/// An answer is good for this long: a twelfth of a block of L1.
const FRESH: Duration = Duration::from_secs(1);

/// The same for the head: less than the shortest blocks of a devnet.
const HEAD_FRESH: Duration = Duration::from_millis(200);

/// The last answers of one network.
#[derive(Debug, Default)]
pub struct Market {
    history: Mutex<Option<(Instant, FeeHistory)>>,
    head: Mutex<Option<(Instant, u64)>>,
}

impl Market {
    /// Fees that are enough now, or why none are within the policy.
    pub async fn fees(
        &self,
        l1: &Pool,
        policy: &FeePolicy,
        urgency: Urgency,
    ) -> Result<Result<Fees, FeesRefused>, RpcError> {
        // Held while asking, so that many at once ask once.
        let mut last = self.history.lock().await;
        if let Some((_, history)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(fees::suggest(history, policy, urgency));
        }
        let history = fees::history(l1, policy).await?;
        let fees = fees::suggest(&history, policy, urgency);
        *last = Some((Instant::now(), history));
        Ok(fees)
    }

    /// The newest block, as far as an endpoint tells.
    pub async fn head(&self, l1: &Pool) -> Option<u64> {
        let mut last = self.head.lock().await;
        if let Some((_, head)) = last.as_ref().filter(|(at, _)| at.elapsed() < HEAD_FRESH) {
            return Some(*head);
        }
        let head = l1.ask(call::header(BlockId::Latest)).await.ok().flatten()?.number;
        *last = Some((Instant::now(), head));
        Some(head)
    }
}
