//! Networks, their progress, parameters and reconciliation.

use alloy_primitives::Address;
use api::indexer::v1 as wire;
use api::types::v1 as types;
use chain::pool::{EndpointStatus, Identity};
use prost_types::Timestamp;
use time::OffsetDateTime;

use super::{Context, Error, Served, as_of, as_of_height, at_height, block, checkpoint_of};
use crate::db::{self, Layer, checkpoint, epoch, height, parameters, reconciliation, reorg};
use crate::fold::parameters::Parameters;
use crate::fold::wire::address;
use crate::source::Source;

/// A time on the wire.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: time.unix_timestamp(),
        // Below a billion by the type, so it fits.
        nanos: i32::try_from(time.nanosecond()).unwrap_or(0),
    }
}

/// All networks by name.
///
/// # Errors
/// When the tables cannot be read.
pub async fn list(context: &Context) -> Result<wire::ListNetworksResponse, Error> {
    let view = db::snapshot(&context.db).await?;
    let rows = checkpoint::of_all(&view).await?;
    let mut networks = Vec::with_capacity(context.networks.len());
    for (name, served) in context.networks.iter() {
        let unacknowledged = reorg::unacknowledged(&view, name).await?;
        networks.push(network(name, served, &rows, unacknowledged.map_or(0, height)));
    }
    Ok(wire::ListNetworksResponse { networks })
}

fn network(name: &str, served: &Served, rows: &[checkpoint::Row], unacknowledged: u64) -> wire::Network {
    let l1 = &served.l1.spec.l1;
    let row = |layer: Layer| rows.iter().find(|row| row.network == name && row.layer == layer.column());
    let sources = [Some(&served.l1), served.l2.as_ref()];
    let progress = |source: &Source| wire::SourceProgress {
        unacknowledged_reorg_id: unacknowledged,
        ..progress(source, row(source.layer))
    };
    let sources = sources.into_iter().flatten().map(progress).collect();
    let variant = row(Layer::L1).map(|row| row.variant.clone()).filter(|variant| !variant.is_empty());
    wire::Network {
        name: name.to_owned(),
        sources,
        locking_pool: address(l1.locking_pool),
        locking_info: address(l1.locking_info),
        metis_token: address(l1.metis),
        sequencer_set: served.l1.spec.l2.as_ref().map(|l2| address(l2.sequencer_set)).unwrap_or_default(),
        variant: variant.unwrap_or_else(|| "unknown".to_owned()),
        confirmations: u32::try_from(l1.confirmations).unwrap_or(u32::MAX),
    }
}

fn progress(source: &Source, row: Option<&checkpoint::Row>) -> wire::SourceProgress {
    let mut progress = wire::SourceProgress {
        layer: source.layer.wire().into(),
        chain_id: source.chain_id(),
        start_block: source.start(),
        backfilling: true,
        problem: "not looked at yet".to_owned(),
        endpoints: source.pool.status().iter().map(endpoint).collect(),
        ..Default::default()
    };
    if let Some(row) = row {
        progress.indexed = row.tip().as_ref().map(block);
        progress.latest = height(row.latest);
        progress.safe = height(row.safe);
        progress.finalized = height(row.finalized);
        progress.backfilling = row.backfilling;
        progress.last_contact = row.last_contact.map(timestamp);
        progress.problem.clone_from(&row.problem);
        progress.blocks_per_second = height(row.blocks_per_second);
        progress.remaining_seconds = row.remaining_seconds();
    }
    progress
}

fn endpoint(status: &EndpointStatus) -> wire::EndpointHealth {
    let problem = match status.identity {
        Identity::Other(chain) => format!("it serves chain {chain}"),
        Identity::Fork { number } => format!("it has another block {number} than the others"),
        Identity::Unproven | Identity::Ours if status.rests => "it rests after failures".to_owned(),
        Identity::Unproven | Identity::Ours if status.distrusted => {
            "its answers were incomplete, so it is asked last".to_owned()
        }
        Identity::Unproven | Identity::Ours => String::new(),
    };
    wire::EndpointHealth {
        name: status.name.clone(),
        usable: status.is_usable(),
        problem,
        head: status.head.unwrap_or(0),
        latency_ms: status
            .latency
            .map_or(0, |latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
        // A share of 0 to 1, so that it fits.
        failure_permille: (status.failure_rate * 1_000.0).round() as u32,
        requests: status.requests,
        calls: status.calls,
    }
}

/// The parameters of a network's contracts as indexed.
///
/// # Errors
/// When the network is unknown, or the block is not indexed.
pub async fn get_parameters(
    context: &Context,
    request: &wire::GetChainParametersRequest,
) -> Result<wire::GetChainParametersResponse, Error> {
    let source = &context.network("network", &request.network)?.l1;
    let network = source.network.as_str();
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L1).await?;
    let number = at_height(source, &row, "at_block", request.at_block)?;
    let as_of = as_of_height(&view, source, &row, number).await?;
    let l1 = parameters::as_of(&view, network, number).await?.map(Parameters::from).unwrap_or_default();
    // The two chains have their time in common.
    let time = as_of.block.as_ref().and_then(|block| block.time).filter(|_| request.at_block != 0);
    let time = time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok());
    let l2 = match time {
        Some(time) => epoch::parameters_at(&view, network, time).await?,
        None => epoch::parameters(&view, network).await?,
    };
    let epoch_length = l2.map_or(0, |l2| height(l2.epoch_length));
    Ok(wire::GetChainParametersResponse { parameters: Some(message(&l1, epoch_length)), as_of: Some(as_of) })
}

/// Parameters on the wire.
pub fn message(parameters: &Parameters, epoch_length: u64) -> wire::ChainParameters {
    let Parameters {
        min_lock,
        max_lock,
        total_locked,
        total_rewards_liquidated,
        reward_per_block,
        exit_delay_secs,
        signer_update_throttle,
        batch_id,
        batch_block: _,
        batch_start_epoch: _,
        batch_end_epoch,
        paused,
        active,
        exiting,
        exited: _,
        reward_payer,
        mpc,
    } = parameters;
    wire::ChainParameters {
        min_lock_wei: min_lock.wei_string(),
        max_lock_wei: max_lock.wei_string(),
        total_locked_wei: total_locked.wei_string(),
        total_rewards_liquidated_wei: total_rewards_liquidated.wei_string(),
        reward_per_block_wei: reward_per_block.wei_string(),
        exit_delay_seconds: *exit_delay_secs,
        signer_update_throttle: *signer_update_throttle,
        current_batch: batch_id.0,
        last_rewarded_epoch: batch_end_epoch.0,
        paused: *paused,
        active_count: *active,
        exiting_count: *exiting,
        reward_payer: address(*reward_payer),
        mpc: address(*mpc),
        epoch_length,
    }
}

/// Whether an owner is whitelisted, and since which log.
///
/// # Errors
/// When the network or the owner is wrong, or nothing is indexed yet.
pub async fn get_whitelist_entry(
    context: &Context,
    request: &wire::GetWhitelistEntryRequest,
) -> Result<wire::GetWhitelistEntryResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let owner: Address = api::convert::address_nonzero("owner", &request.owner)?;
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L1).await?;
    let entry = db::whitelist::of_owner(&view, network, owner.into()).await?;
    let since = entry.map(|entry| types::LogRef {
        layer: Layer::L1.wire().into(),
        block: Some(block(&checkpoint::Tip {
            number: entry.number,
            hash: entry.block_hash,
            time: entry.time,
        })),
        transaction_hash: crate::fold::wire::hash(entry.transaction_hash.0),
        log_index: u32::try_from(entry.log_index).unwrap_or(0),
    });
    let whitelisted = entry.is_some_and(|entry| entry.whitelisted);
    Ok(wire::GetWhitelistEntryResponse { whitelisted, since, as_of: as_of(&row) })
}

/// The last comparison of the index with the contracts.
///
/// # Errors
/// When the network is unknown or no comparison was made yet.
pub async fn get_reconciliation(
    context: &Context,
    request: &wire::GetReconciliationRequest,
) -> Result<wire::GetReconciliationResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let row = reconciliation::of(&context.db, network).await?.ok_or_else(|| {
        let what = format!("the index of {network} was not compared with the contracts yet");
        runtime::errors::Refusal::new(&api::reasons::INDEX_BEHIND, what).meta("network", network)
    })?;
    let reconciliation::Standing {
        number,
        hash,
        time,
        drift,
        first_difference,
        compared_at,
        verified_number,
        verified_hash,
        verified_time,
    } = row;
    let verified = verified_number.zip(verified_hash).zip(verified_time);
    let verified = verified.map(|((number, hash), time)| block(&checkpoint::Tip { number, hash, time }));
    Ok(wire::GetReconciliationResponse {
        block: Some(block(&checkpoint::Tip { number, hash, time })),
        drift: height(drift),
        first_difference,
        compare_time: Some(timestamp(compared_at)),
        verified,
    })
}
