//! New heads: from a WebSocket while one works, else by polling. Never ends and never fails; what is
//! wrong shows in the pool's status.

use std::time::Duration;

use alloy_primitives::B256;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use super::Pool;
use super::health::Identity;
use crate::rpc::{BlockId, Header, Subscription, call};

/// A subscription silent for this long is checked against a poll: connections die without a word.
const QUIET_MAX: Duration = Duration::from_secs(20);
/// Wait before the next try for a WebSocket; it doubles up to the maximum.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

struct Heads {
    pool: Pool,
    subscription: Option<(usize, Subscription)>,
    /// The next endpoint with a WebSocket to try, so that a broken one does not block the others.
    turn: usize,
    retry_at: Instant,
    retry_wait: Duration,
    /// Whether to look at once: at the start, and after a subscription began or ended.
    look_now: bool,
    last: Option<B256>,
}

pub(super) fn stream(pool: Pool) -> BoxStream<'static, Header> {
    let heads = Heads {
        pool,
        subscription: None,
        turn: 0,
        retry_at: Instant::now(),
        retry_wait: RETRY_MIN,
        look_now: true,
        last: None,
    };
    stream::unfold(heads, |mut heads| async move {
        let head = heads.next().await;
        Some((head, heads))
    })
    .boxed()
}

impl Heads {
    async fn next(&mut self) -> Header {
        loop {
            self.subscribe_if_due().await;
            let seen = if std::mem::take(&mut self.look_now) { self.look().await } else { self.wait().await };
            if let Some(head) = seen
                && self.last != Some(head.hash)
            {
                self.last = Some(head.hash);
                return head;
            }
        }
    }

    /// Waits for the subscription or for the next poll.
    async fn wait(&mut self) -> Option<Header> {
        let Some((place, subscription)) = &mut self.subscription else {
            sleep(jittered(self.pool.0.options.poll_every)).await;
            return self.look().await;
        };
        match timeout(QUIET_MAX, subscription.next()).await {
            Ok(Some(head)) => {
                self.pool.0.members[*place].health().head = Some(head.number);
                self.retry_wait = RETRY_MIN;
                Some(head)
            }
            Ok(None) => {
                self.unsubscribe("it was closed");
                None
            }
            Err(_) => {
                let head = self.look().await?;
                if self.last != Some(head.hash) {
                    self.unsubscribe("it fell silent while the chain went on");
                }
                Some(head)
            }
        }
    }

    async fn look(&mut self) -> Option<Header> {
        self.pool.ask(call::header(BlockId::Latest)).await.ok().flatten()
    }

    fn unsubscribe(&mut self, why: &str) {
        if let Some((place, _)) = self.subscription.take() {
            let endpoint = self.pool.0.members[place].endpoint.name();
            info!(endpoint, "the subscription to heads of {endpoint} ended, polling: {why}");
        }
        self.look_now = true;
        self.postpone();
    }

    fn postpone(&mut self) {
        self.retry_at = Instant::now() + jittered(self.retry_wait);
        self.retry_wait = (self.retry_wait * 2).min(RETRY_MAX);
    }

    async fn subscribe_if_due(&mut self) {
        if self.subscription.is_some() || Instant::now() < self.retry_at {
            return;
        }
        let members = &self.pool.0.members;
        let may = |place: &usize| {
            members[*place].ws.is_some() && !matches!(members[*place].health().identity, Identity::Other(_))
        };
        let candidates: Vec<usize> = self.pool.order().into_iter().filter(may).collect();
        let Some(place) = candidates.get(self.turn % candidates.len().max(1)).copied() else {
            return self.postpone();
        };
        let member = &members[place];
        let Some(url) = &member.ws else { return };
        match Subscription::open(url, self.pool.0.chain_id).await {
            Ok(subscription) => {
                debug!(endpoint = member.endpoint.name(), "subscribed to heads");
                self.subscription = Some((place, subscription));
                // What came between the last look and the subscription would be missed otherwise.
                self.look_now = true;
            }
            Err(error) => {
                debug!(error = &error as &dyn std::error::Error, "no subscription to heads, polling");
                self.turn = self.turn.wrapping_add(1);
                self.postpone();
            }
        }
    }
}

/// Between 75 % and 125 %, so that many processes do not ask in step.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}
