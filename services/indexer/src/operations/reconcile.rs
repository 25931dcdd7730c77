//! Comparing the index with the contracts on demand.

use api::indexer::v1 as wire;
use api::reasons;
use chain::rpc::RpcError;
use runtime::errors::{Refusal, report};

use super::{Context, Error, block, checkpoint_of};
use crate::db::{self, Layer, reconciliation};
use crate::reconcile::drift::{self, CompareError, Finding};
use crate::source::Source;

/// Looks at other blocks when one is taken back while it is compared: reorganisations are rarer than that.
const TRIES: u32 = 3;

/// Differences named in the answer; all are counted.
const NAMED_MAX: usize = 100;

/// Compares both chains at their last indexed blocks, and stores the result as the loop does.
///
/// # Errors
/// When the request is wrong, nothing of L1 is indexed yet, or no endpoint can tell the contracts' state.
pub async fn now(
    context: &Context,
    request: &wire::ReconcileRequest,
) -> Result<wire::ReconcileResponse, Error> {
    let served = context.network("network", &request.network)?;
    let network = served.l1.network.as_str();
    let l1 = compared(context, &served.l1).await?;
    let l2 = match &served.l2 {
        Some(l2) if is_indexed(context, l2).await? => Some(compared(context, l2).await?),
        _ => None,
    };
    let row = drift::result(network, &l1, l2.as_ref());
    reconciliation::put(&context.db, network, &row).await?;
    let l2_block = l2.as_ref().map(|l2| block(&l2.at));
    let differences: Vec<String> =
        l1.differences.into_iter().chain(l2.into_iter().flat_map(|l2| l2.differences)).collect();
    Ok(wire::ReconcileResponse {
        block: Some(block(&l1.at)),
        l2_block,
        drift: differences.len() as u64,
        differences: differences.into_iter().take(NAMED_MAX).collect(),
    })
}

async fn is_indexed(context: &Context, source: &Source) -> Result<bool, Error> {
    let row = db::checkpoint::of(&context.db, &source.network, source.layer).await?;
    Ok(row.is_some_and(|row| row.number.is_some()))
}

async fn compared(context: &Context, source: &Source) -> Result<Finding, Error> {
    let mut tries = 1;
    loop {
        let view = db::snapshot(&context.db).await?;
        let row = checkpoint_of(&view, &source.network, source.layer).await?;
        let tip = row.tip().ok_or(store::Error::Row { what: "a checkpoint with its block" })?;
        match drift::compare(view, source, tip).await {
            Ok(finding) => return Ok(finding),
            Err(CompareError::Chain(error)) if drift::is_gone(&error) && tries < TRIES => tries += 1,
            Err(CompareError::Chain(error)) => return Err(unavailable(source, &error).into()),
            Err(CompareError::Store(error)) => return Err(error.into()),
        }
    }
}

fn unavailable(source: &Source, error: &RpcError) -> Refusal {
    tracing::warn!("the contracts could not be read: {}", report(error));
    let reason = match source.layer {
        Layer::L1 => &reasons::L1_UNAVAILABLE,
        Layer::L2 => &reasons::L2_UNAVAILABLE,
    };
    let what = if drift::is_gone(error) {
        "the endpoints do not have the state of the last indexed block"
    } else {
        "no endpoint answered"
    };
    Refusal::new(reason, what).meta("network", &source.network)
}
