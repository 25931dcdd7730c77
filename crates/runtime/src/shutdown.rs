//! Leaving in two phases: first not ready and no new work, then stopped, with every loop awaited.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Health;

/// How long we stay up after saying that we are not ready, for load balancers to notice.
pub const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// How long requests and loops may take to finish after the stop; then they are abandoned, which is
/// safe because all state is in Postgres.
pub const STOP_WAIT: Duration = Duration::from_secs(30);

/// The shutdown of a process or of one service in it; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopped: CancellationToken,
    tasks: TaskTracker,
}

/// Some loops did not finish in time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} tasks did not finish in time and were abandoned")]
pub struct Unfinished(pub usize);

impl Shutdown {
    /// A shutdown that nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The shutdown of a part: it goes with the whole, but can also go alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            draining: self.draining.child_token(),
            stopped: self.stopped.child_token(),
            tasks: self.tasks.clone(),
        }
    }

    /// First phase: not ready, loops begin nothing new, requests are still answered.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Second phase: streams end, servers finish what they have, loops return.
    pub fn stop(&self) {
        self.draining.cancel();
        self.stopped.cancel();
    }

    /// Whether the first phase has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Whether the second phase has begun.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_cancelled()
    }

    /// Completes when the first phase begins.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.draining.clone().cancelled_owned()
    }

    /// Completes when the second phase begins.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.stopped.clone().cancelled_owned()
    }

    /// Starts a loop that `finish` waits for.
    ///
    /// A loop that panics stops the whole: a process that silently lost one of its loops looks healthy
    /// and is not, and a restart is safe.
    pub fn spawn<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.clone();
        self.tasks.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!("the loop {name} panicked, stopping");
                shutdown.stop();
            }
        })
    }

    /// Waits for every spawned loop, at most `STOP_WAIT`.
    ///
    /// # Errors
    /// When loops are still running then.
    pub async fn finish(&self) -> Result<(), Unfinished> {
        self.finish_within(STOP_WAIT).await
    }

    async fn finish_within(&self, wait: Duration) -> Result<(), Unfinished> {
        self.tasks.close();
        match tokio::time::timeout(wait, self.tasks.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Unfinished(self.tasks.len())),
        }
    }

    /// The whole life after start: waits for a signal (or a stop from inside), then goes through both
    /// phases. A second signal skips the waiting of the first phase.
    ///
    /// # Errors
    /// When loops did not finish in time.
    pub async fn run(&self, health: &Health) -> Result<(), Unfinished> {
        tokio::select! {
            signal = wait_for_signal() => tracing::info!("{signal} received, draining"),
            () = self.draining() => {}
        }
        health.drain();
        self.drain();
        tokio::select! {
            () = tokio::time::sleep(DRAIN_WAIT) => {}
            signal = wait_for_signal() => tracing::info!("{signal} received again, stopping now"),
            () = self.stopped() => {}
        }
        self.stop();
        self.finish().await
    }
}

/// Waits for SIGINT or SIGTERM and says which came.
pub async fn wait_for_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("no signal handler could be installed; stop this process by its parent");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_waits_for_every_loop() {
        let shutdown = Shutdown::new();
        let (done, mut finished) = tokio::sync::oneshot::channel();
        let stopped = shutdown.stopped();
        shutdown.spawn("slow", async move {
            stopped.await;
            tokio::task::yield_now().await;
            let _ = done.send(());
        });
        shutdown.stop();
        assert!(shutdown.is_draining(), "the second phase includes the first");
        assert_eq!(shutdown.finish().await, Ok(()));
        assert_eq!(finished.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn a_loop_that_never_ends_is_abandoned_and_counted() {
        let shutdown = Shutdown::new();
        shutdown.spawn("stuck", std::future::pending());
        shutdown.stop();
        assert_eq!(shutdown.finish_within(Duration::ZERO).await, Err(Unfinished(1)));
    }

    #[tokio::test]
    async fn a_loop_that_panics_stops_the_process() {
        let shutdown = Shutdown::new();
        shutdown.spawn("broken", async { panic!("on purpose") });
        shutdown.stopped().await;
    }

    #[tokio::test]
    async fn a_stop_from_inside_ends_the_run() {
        let (shutdown, health) = (Shutdown::new(), Health::new());
        shutdown.drain();
        assert!(!shutdown.is_stopped(), "the first phase does not include the second");
        shutdown.stop();
        assert_eq!(shutdown.run(&health).await, Ok(()));
        assert!(!health.is_ready());
    }

    #[test]
    fn a_part_goes_with_the_whole_but_can_go_alone() {
        let whole = Shutdown::new();
        let (one, other) = (whole.child(), whole.child());
        one.stop();
        assert!(one.is_stopped() && !whole.is_draining() && !other.is_draining());
        whole.stop();
        assert!(other.is_stopped());
    }
}
