//! Holding a lease until the shutdown, and giving it back then: a lease that is only dropped keeps the next holder
//! waiting for its time to live.

use std::sync::atomic::{AtomicBool, Ordering};

use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use store::lease::{Claim, Lease, while_held};

/// Waits for the lease and runs `work` while it is held. `None` when the lease was lost, or the shutdown came before
/// it was had. The work ends by itself on shutdown.
pub async fn until_stopped<T, F, Fut>(
    db: &DatabaseConnection,
    claim: &Claim,
    shutdown: &Shutdown,
    work: F,
) -> Result<Option<T>, store::Error>
where
    F: FnOnce(Lease) -> Fut,
    Fut: Future<Output = T>,
{
    let holds = AtomicBool::new(false);
    let begun = |lease| {
        holds.store(true, Ordering::Relaxed);
        work(lease)
    };
    tokio::select! {
        held = while_held(db, claim, begun) => held,
        () = stopped_without(&holds, shutdown) => Ok(None),
    }
}

async fn stopped_without(holds: &AtomicBool, shutdown: &Shutdown) {
    shutdown.stopped().await;
    if holds.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
