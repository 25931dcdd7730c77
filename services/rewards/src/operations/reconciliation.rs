//! The last comparison of the ledger with the contracts.

use api::convert;
use api::rewards::v1::{GetReconciliationRequest, GetReconciliationResponse};
use api::types::v1::BlockRef;
use prost_types::Timestamp;
use tonic::Status;

use super::{failed, position};
use crate::db::reconciliation::{self, Reconciliation};
use crate::rpc::Rewards;

/// The last result; without block before the first comparison.
pub async fn get(
    rewards: &Rewards,
    request: GetReconciliationRequest,
) -> Result<GetReconciliationResponse, Status> {
    position(rewards, &request.network).await?;
    let result = reconciliation::of_network(&rewards.database, &request.network)
        .await
        .map_err(|error| failed(&error))?;
    Ok(result.map_or_else(GetReconciliationResponse::default, |(result, compared_at)| {
        let Reconciliation { block, drift, first_difference } = result;
        let block = BlockRef {
            number: block.number.0,
            hash: block.hash.to_string(),
            time: Some(convert::wire_time(block.time)),
        };
        let compare_time = Timestamp { seconds: compared_at.unix_timestamp(), nanos: 0 };
        GetReconciliationResponse {
            block: Some(block),
            drift,
            first_difference,
            compare_time: Some(compare_time),
        }
    }))
}
