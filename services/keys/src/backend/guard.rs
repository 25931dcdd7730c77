//! What stands before every remote backend: a deadline, a bound on requests under way and waiting, a rate below the
//! quota of the provider, and one more attempt where that is safe.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;
use tokio::time;

use super::settings::Bounds;
use super::{Backend, Error, Held, Numbers, Payload, Wanted};
use crate::db::key::Key;
use crate::metrics::Metrics;

/// Requests that may wait for each one under way. More would only run into the deadline.
const WAITING_FOR_EACH: u32 = 16;
/// Before the second attempt: long enough for a restarted connection, short beside the deadline.
const PAUSE: Duration = Duration::from_millis(100);
/// A failed connection is most often an old one that the other side has closed.
const ATTEMPTS_MAX: u32 = 2;

/// A backend with bounds.
pub struct Guarded<B> {
    name: String,
    inner: B,
    bounds: Bounds,
    /// Who may wait.
    admitted: Semaphore,
    /// Who may ask.
    asking: Semaphore,
    rate: DefaultDirectRateLimiter,
    metrics: Metrics,
}

impl<B: Backend> Guarded<B> {
    /// Puts bounds around a backend.
    pub fn new(name: &str, inner: B, bounds: Bounds, metrics: Metrics) -> Self {
        let places = |count: u32| Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS));
        Self {
            name: name.to_owned(),
            inner,
            bounds,
            admitted: places(bounds.concurrent.saturating_mul(1 + WAITING_FOR_EACH)),
            asking: places(bounds.concurrent),
            rate: RateLimiter::direct(Quota::per_second(bounds.per_second)),
            metrics,
        }
    }

    /// One attempt within the bounds.
    async fn once<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let _asking = self.asking.acquire().await.map_err(Error::away)?;
        self.rate.until_ready().await;
        work.await
    }

    async fn bounded<T, W>(&self, attempts: u32, verb: &'static str, work: impl Fn() -> W) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>>,
    {
        let begun = Instant::now();
        let trying = async {
            let _admitted = self.admitted.try_acquire().map_err(|_| Error::Busy)?;
            let mut attempt = 1;
            loop {
                match self.once(work()).await {
                    Err(Error::Away(_) | Error::Throttled(_)) if attempt < attempts => {
                        attempt += 1;
                        time::sleep(PAUSE).await;
                    }
                    done => return done,
                }
            }
        };
        let timeout = self.bounds.timeout;
        let result = time::timeout(timeout, trying).await.unwrap_or(Err(Error::Slow(timeout)));
        self.metrics.asked_backend(&self.name, verb, result.is_ok(), begun.elapsed());
        result
    }
}

#[async_trait]
impl<B: Backend> Backend for Guarded<B> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    /// Never tried twice: the first attempt may have made a key.
    async fn generate(&self, wanted: &Wanted<'_>) -> Result<Held, Error> {
        self.bounded(1, "generate", || self.inner.generate(wanted)).await
    }

    async fn find(&self, reference: &str) -> Result<Held, Error> {
        self.bounded(ATTEMPTS_MAX, "find", || self.inner.find(reference)).await
    }

    /// Tried twice: the digest is the same, so a second signature says nothing new.
    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        self.bounded(ATTEMPTS_MAX, "sign", || self.inner.sign(key, payload)).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.bounded(ATTEMPTS_MAX, "health", || self.inner.health()).await
    }
}

impl<B: Backend> fmt::Debug for Guarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("name", &self.name)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
