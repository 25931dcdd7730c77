//! New heads: from a WebSocket while one works, else by polling. Never ends and never fails; what is
//! wrong shows in the pool's status.

use std::time::Duration;

use alloy_primitives::B256;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use super::Pool;
use crate::rpc::{BlockId, Header, SubscribeError, Subscription, call};

/// Wait before the next try for a WebSocket; it doubles up to the maximum.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

struct Heads {
    pool: Pool,
    link: Link,
    /// The next endpoint with a WebSocket to try, so that a broken one does not block the others.
    turn: usize,
    retry_at: Instant,
    retry_wait: Duration,
    /// Whether to look at once: at the start, and after a subscription began or ended.
    look_now: bool,
    last: Option<B256>,
}

/// Where heads come from. Each link is that of one endpoint, by its place.
enum Link {
    Polling,
    /// Polling goes on while a WebSocket is opened.
    Opening(usize, BoxFuture<'static, Result<Subscription, SubscribeError>>),
    Open(usize, Subscription),
}

/// What happened on the link.
enum Event {
    TimeToLook,
    Opened(usize, Subscription),
    NotOpened(SubscribeError),
    Head(usize, Header),
    Closed,
    Silent,
}

pub(super) fn stream(pool: Pool) -> BoxStream<'static, Header> {
    let heads = Heads {
        pool,
        link: Link::Polling,
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
            self.open_if_due();
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
        match self.event().await {
            Event::TimeToLook => self.look().await,
            Event::Opened(place, subscription) => {
                debug!(endpoint = self.pool.0.members[place].endpoint.name(), "subscribed to heads");
                self.link = Link::Open(place, subscription);
                // What came between the last look and the subscription would be missed otherwise.
                self.look_now = true;
                None
            }
            Event::NotOpened(error) => {
                debug!(error = &error as &dyn std::error::Error, "no subscription to heads, polling");
                self.postpone();
                None
            }
            Event::Head(place, head) => {
                let mut health = self.pool.0.members[place].health();
                health.saw(head.number, Instant::now().into_std());
                let foreign = health.identity.is_foreign();
                drop(health);
                if foreign {
                    self.unsubscribe("the endpoint was shut out");
                    return None;
                }
                self.retry_wait = RETRY_MIN;
                Some(head)
            }
            Event::Closed => {
                self.unsubscribe("it was closed");
                None
            }
            Event::Silent => {
                let head = self.look().await?;
                if self.last != Some(head.hash) {
                    self.unsubscribe("it fell silent while the chain went on");
                }
                Some(head)
            }
        }
    }

    async fn event(&mut self) -> Event {
        let options = &self.pool.0.options;
        match &mut self.link {
            Link::Polling => {
                sleep(jittered(options.poll_every)).await;
                Event::TimeToLook
            }
            Link::Opening(place, opening) => match timeout(jittered(options.poll_every), opening).await {
                Ok(Ok(subscription)) => Event::Opened(*place, subscription),
                Ok(Err(error)) => Event::NotOpened(error),
                Err(_) => Event::TimeToLook,
            },
            Link::Open(place, subscription) => match timeout(options.quiet_max, subscription.next()).await {
                Ok(Some(head)) => Event::Head(*place, head),
                Ok(None) => Event::Closed,
                Err(_) => Event::Silent,
            },
        }
    }

    async fn look(&mut self) -> Option<Header> {
        self.pool.ask_hedged(call::header(BlockId::Latest)).await.ok().flatten()
    }

    fn unsubscribe(&mut self, why: &str) {
        if let Link::Open(place, _) = &self.link {
            let endpoint = self.pool.0.members[*place].endpoint.name();
            info!(endpoint, "the subscription to heads of {endpoint} ended, polling: {why}");
        }
        self.look_now = true;
        self.postpone();
    }

    /// Goes on without a WebSocket for a while, and then tries the next one.
    fn postpone(&mut self) {
        self.link = Link::Polling;
        self.turn = self.turn.wrapping_add(1);
        self.retry_at = Instant::now() + jittered(self.retry_wait);
        self.retry_wait = (self.retry_wait * 2).min(RETRY_MAX);
    }

    fn open_if_due(&mut self) {
        if !matches!(self.link, Link::Polling) || Instant::now() < self.retry_at {
            return;
        }
        let members = &self.pool.0.members;
        // In the order of the configuration, so that each has its turn; who is shut out is not in the other order.
        let asked = self.pool.order();
        let may = |(place, url)| asked.contains(&place).then_some((place, url));
        let with_url = |(place, member): (usize, &super::Member)| Some((place, member.ws.clone()?));
        let candidates: Vec<_> = members.iter().enumerate().filter_map(with_url).filter_map(may).collect();
        let Some((place, url)) = candidates.get(self.turn % candidates.len().max(1)).cloned() else {
            return self.postpone();
        };
        let chain_id = self.pool.0.chain_id;
        let opening = async move { Subscription::open(&url, chain_id).await };
        self.link = Link::Opening(place, opening.boxed());
    }
}

/// Between 75 % and 125 %, so that many processes do not ask in step.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}
