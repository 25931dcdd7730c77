//! A process that is told to leave says so first, still answers, and is gone in time.

use std::time::Duration;

use anyhow::Result;
use runtime::shutdown::{DRAIN_WAIT, STOP_WAIT};
use serde_json::json;

use crate::stage::Stage;

/// Load balancers look about every second.
const NOTICED_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn told_to_leave_it_drains_answers_and_ends() -> Result<()> {
    let stage = Stage::set().await?;
    let mut seqd = stage.seqd(&[]).await?;
    let (frontend, _) = stage.frontend().await?;
    seqd.terminate()?;
    seqd.until_unready(NOTICED_MAX).await;
    frontend.call("sequencer_list", json!({ "network": "devnet" })).await?;
    let status = seqd.ended(DRAIN_WAIT + STOP_WAIT).await;
    assert!(status.success(), "seqd ended with {status}");
    // Nothing holds on to its addresses or its leases.
    let again = stage.seqd(&[]).await?;
    frontend.call("sequencer_list", json!({ "network": "devnet" })).await?;
    again.kill()?;
    stage.strike().await
}

#[tokio::test(flavor = "multi_thread")]
async fn told_twice_it_does_not_wait_for_load_balancers() -> Result<()> {
    let stage = Stage::set().await?;
    let mut seqd = stage.seqd(&[]).await?;
    seqd.terminate()?;
    seqd.until_unready(NOTICED_MAX).await;
    seqd.terminate()?;
    // Measured: a fraction of a second.
    let status = seqd.ended(DRAIN_WAIT / 2).await;
    assert!(status.success(), "seqd ended with {status}");
    stage.strike().await
}
