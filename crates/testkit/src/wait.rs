//! Waiting for what must become true, with a deadline: tests do not sleep.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Often enough not to be felt, seldom enough not to load what is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` is true.
///
/// # Panics
/// When it is still false at the deadline, naming `what`.
pub async fn wait_until<F, Fut>(what: &str, deadline: Duration, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(what, deadline, || {
        let ready = condition();
        async { ready.await.then_some(()) }
    })
    .await;
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// When there is still nothing at the deadline, naming `what`.
pub async fn wait_for<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        let found = tokio::time::timeout(left, look()).await.ok().flatten();
        if let Some(found) = found {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
