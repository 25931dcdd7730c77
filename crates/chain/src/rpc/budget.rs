//! How often an endpoint may be asked: a token bucket, full from the start, of which each JSON-RPC call takes one.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The budget of one endpoint.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: NonZeroU32,
    bucket: Mutex<Bucket>,
}

/// Tokens at a moment. Fewer than none are there while questions wait that took theirs in advance: so they are
/// served in the order in which they came.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Budget {
    pub fn new(per_second: NonZeroU32, now: Instant) -> Self {
        Self { per_second, bucket: Mutex::new(Bucket { tokens: f64::from(per_second.get()), at: now }) }
    }

    /// Calls that may go at once out of a full bucket.
    pub fn burst(&self) -> usize {
        self.per_second.get() as usize
    }

    /// Takes tokens and gives the time to wait before they may be used.
    ///
    /// # Errors
    /// If the wait would be longer than the patience; nothing is taken then.
    pub fn take(&self, calls: usize, patience: Duration, now: Instant) -> Result<Duration, Duration> {
        let mut bucket = self.bucket();
        let left = self.tokens(&bucket, now) - calls as f64;
        let wait = self.until(left);
        if wait > patience {
            return Err(wait);
        }
        *bucket = Bucket { tokens: left, at: now };
        Ok(wait)
    }

    /// Tokens there are now.
    pub fn left(&self, now: Instant) -> u32 {
        self.tokens(&self.bucket(), now).max(0.0) as u32
    }

    /// Time until one call may go.
    pub fn wait(&self, now: Instant) -> Duration {
        self.until(self.tokens(&self.bucket(), now) - 1.0)
    }

    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        let rate = f64::from(self.per_second.get());
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + since * rate).min(rate)
    }

    fn until(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64((-tokens).max(0.0) / f64::from(self.per_second.get()))
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        // A panic elsewhere leaves at worst a stale count.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn budget(now: Instant) -> Budget {
        Budget::new(NonZeroU32::new(10).expect("ten"), now)
    }

    #[test]
    fn a_full_bucket_serves_one_second_at_once_and_then_the_rate() {
        let now = Instant::now();
        let budget = budget(now);
        assert_eq!((budget.left(now), budget.wait(now)), (10, Duration::ZERO));
        assert_eq!(budget.take(10, PATIENCE, now), Ok(Duration::ZERO));
        assert_eq!(budget.take(5, PATIENCE, now), Ok(Duration::from_millis(500)));
        assert_eq!(budget.take(5, PATIENCE, now), Ok(Duration::from_secs(1)));
        assert_eq!((budget.left(now), budget.wait(now)), (0, Duration::from_millis(1_100)));
        let later = now + Duration::from_secs(2);
        assert_eq!(budget.left(later), 10);
        assert_eq!(budget.left(later + PATIENCE), 10, "no more than a second's worth is saved up");
    }

    #[test]
    fn a_wait_beyond_the_patience_takes_nothing() {
        let now = Instant::now();
        let budget = budget(now);
        assert_eq!(budget.take(40, PATIENCE, now), Err(Duration::from_secs(3)));
        assert_eq!(budget.left(now), 10);
    }
}
