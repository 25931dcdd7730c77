//! The wall clock of this service: when an operation may begin, until when it must have, and when approvals expire.
//! What the chain decides goes by block timestamps and never asks this clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};

/// The system's clock, which tests may put forward. Clones go together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_secs: Arc<AtomicI64>,
}

impl Clock {
    /// Now, in microseconds as the database keeps it, so that what is stored equals what was decided on.
    pub fn now(&self) -> OffsetDateTime {
        let ahead = Duration::seconds(self.ahead_secs.load(Ordering::Relaxed));
        let now = OffsetDateTime::now_utc().saturating_add(ahead);
        now.replace_nanosecond(now.microsecond() * 1_000).unwrap_or(now)
    }

    /// Puts it forward.
    pub fn advance(&self, secs: i64) {
        self.ahead_secs.fetch_add(secs, Ordering::Relaxed);
    }
}
