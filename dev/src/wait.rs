//! Waiting for what must become true, with a deadline and a reason when it does not.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Often enough not to be felt in a demo, seldom enough not to load the services.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks again and again until `look` succeeds; after the deadline its last error is the reason.
pub(crate) async fn until<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let start = Instant::now();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        let seen = tokio::time::timeout(left, look()).await;
        let why = match seen {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("no answer in time"),
        };
        if start.elapsed() >= deadline {
            return Err(why.context(format!("waited {} s in vain until {what}", deadline.as_secs())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
