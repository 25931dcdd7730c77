//! Totals of a network.

use api::rewards::v1::{GetNetworkSummaryRequest, GetNetworkSummaryResponse};
use domain::amount::Metis;
use domain::ids::SequencerId;
use tonic::Status;

use super::{as_of, balance, failed, pending, position};
use crate::db::batch;
use crate::db::entry::{self, Sums};
use crate::rpc::Rewards;

/// Sequencers that are added up; a pool has a few dozen.
const SEQUENCERS_MAX: u32 = 10_000;

/// The sum over all sequencers.
pub async fn get(
    rewards: &Rewards,
    request: GetNetworkSummaryRequest,
) -> Result<GetNetworkSummaryResponse, Status> {
    let network = request.network;
    let position = position(rewards, &network).await?;
    let at = position.block.number;
    let rows = entry::sums(&rewards.database, &network, at, SequencerId(0), SEQUENCERS_MAX)
        .await
        .map_err(|error| failed(&error))?;
    let total = rows.iter().fold(Sums::default(), |total, (_, sums)| total.plus(sums));
    let (batches, unattributed_batches) =
        batch::counts(&rewards.database, &network).await.map_err(|error| failed(&error))?;
    let pending =
        Metis::checked_sum(pending::of_all(rewards, &network).await?.into_values()).unwrap_or(Metis::MAX);
    Ok(GetNetworkSummaryResponse {
        total: Some(balance::wire(SequencerId(0), total, pending)),
        batches,
        unattributed_batches,
        as_of: Some(as_of(&position, at)),
    })
}
