//! The mining reward rate over a window: what accrued, on the lock really held, scaled to a year.

use std::collections::BTreeMap;

use api::convert;
use api::indexer::v1::GetChainParametersRequest;
use api::rewards::v1::{GetRateRequest, GetRateResponse};
use domain::amount::Metis;
use domain::ids::SequencerId;
use domain::reward::rate::{self, BLOCK_INTERVAL_SECS, LockChange, LockTime, NoRate, Window};
use runtime::errors::{Refusal, generic};
use tonic::Status;

use super::{as_of, failed, position};
use crate::db::principal::Change;
use crate::db::{entry, principal};
use crate::rpc::Rewards;

/// The rate of one sequencer, or of the network.
pub async fn get(rewards: &Rewards, request: GetRateRequest) -> Result<GetRateResponse, Status> {
    let GetRateRequest { network, sequencer_id, from, to } = request;
    let sequencer = match sequencer_id.as_str() {
        "" => None,
        text => Some(convert::sequencer_id("sequencer_id", text)?),
    };
    let position = position(rewards, &network).await?;
    let from = convert::chain_time("from", &convert::present("from", from)?)?;
    let to = to.map_or(Ok(position.block.time), |to| convert::chain_time("to", &to))?;
    let window = Window::new(from, to).map_err(|error| refused(&error))?;
    let accrued = entry::accrued_between(&rewards.database, &network, sequencer, from, to)
        .await
        .map_err(|error| failed(&error))?;
    let changes =
        principal::until(&rewards.database, &network, sequencer, to).await.map_err(|error| failed(&error))?;
    let lock = LockTime::over(window, &total(changes)).map_err(|error| refused(&error))?;
    Ok(GetRateResponse {
        accrued_wei: accrued.wei_string(),
        average_lock_wei: lock.average().wei_string(),
        // Without a lock there is no rate, and no wrong one.
        simple_rate: lock.simple_rate(accrued).map(|rate| rate.to_string()).unwrap_or_default(),
        window_seconds: window.secs(),
        network_rate: network_rate(rewards, &network).await,
        as_of: Some(as_of(&position, position.block.number)),
    })
}

/// What the present parameters aim at; empty without the indexer or without a lock.
async fn network_rate(rewards: &Rewards, network: &str) -> String {
    let request = GetChainParametersRequest { network: network.to_owned(), at_block: 0 };
    let Ok(answer) = rewards.indexer.clone().get_chain_parameters(request).await else {
        return String::new();
    };
    let parameters = answer.into_inner().parameters.unwrap_or_default();
    let wei = |text: &str| Metis::parse_wei(text).unwrap_or_default();
    rate::network(
        wei(&parameters.reward_per_block_wei),
        wei(&parameters.total_locked_wei),
        BLOCK_INTERVAL_SECS,
    )
    .map(|rate| rate.to_string())
    .unwrap_or_default()
}

/// The changes of several principals as the changes of their sum.
fn total(mut changes: Vec<Change>) -> Vec<LockChange> {
    changes.sort_by_key(|change| change.since);
    let mut locks: BTreeMap<SequencerId, Metis> = BTreeMap::new();
    let mut timeline = Vec::with_capacity(changes.len());
    for Change { sequencer, since, amount } in changes {
        locks.insert(sequencer, amount);
        let lock = Metis::checked_sum(locks.values().copied()).unwrap_or(Metis::MAX);
        timeline.push(LockChange { at: since, lock });
    }
    timeline
}

fn refused(error: &NoRate) -> Refusal {
    Refusal::new(&generic::INVALID_ARGUMENT, error.to_string()).field("from", error.to_string())
}

#[cfg(test)]
mod tests {
    use domain::ids::Timestamp;

    use super::*;

    #[test]
    fn the_locks_of_two_sequencers_add_up_over_time() {
        let change = |id, since, wei| Change {
            sequencer: SequencerId(id),
            since: Timestamp(since),
            amount: Metis::wei(wei),
        };
        let timeline = total(vec![change(1, 10, 5), change(1, 30, 0), change(2, 20, 7)]);
        let locks: Vec<_> = timeline.iter().map(|change| (change.at.0, change.lock)).collect();
        assert_eq!(locks, [(10, Metis::wei(5)), (20, Metis::wei(12)), (30, Metis::wei(7))]);
    }
}
