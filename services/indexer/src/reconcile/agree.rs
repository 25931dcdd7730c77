//! Whether answers agree: those of several endpoints with one another, and those to what is asked for twice.

use std::collections::BTreeSet;

use alloy_sol_types::SolEvent;
use chain::abi::{LockingInfo, LockingPool};
use chain::event::Source as Contract;
use chain::pool::EndpointId;
use chain::rpc::{Log, LogFilter};

use super::fetch::FetchError;
use crate::db::Layer;
use crate::source::Source;

/// The error of two answers that differ; of one endpoint with itself if both are from there.
pub fn disagreed(
    source: &Source,
    (from, to): (u64, u64),
    (first, second): (EndpointId, EndpointId),
) -> FetchError {
    let name = |endpoint| source.pool.name(endpoint).to_owned();
    let between = (first == second).then_some(first);
    FetchError::Disagreed { from, to, first: name(first), second: name(second), between }
}

/// The same logs of the same blocks, whatever else nodes write beside them.
pub fn same(ours: &[Log], theirs: &[Log]) -> bool {
    let key = |log: &Log| (log.block_hash, log.log_index, log.address, log.topics, log.data.clone());
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(our, their)| key(our) == key(their))
}

/// Logs that no counter of the contracts counts are asked for twice. The state at one block does not tell of all of
/// them: it has only the last of several, and nothing of an owner on the whitelist whom nobody knows.
pub fn uncounted(source: &Source) -> Vec<LogFilter> {
    if source.layer != Layer::L1 {
        return Vec::new();
    }
    let topics = vec![
        LockingPool::SetWhitelist::SIGNATURE_HASH,
        LockingPool::SequencerOwnerChanged::SIGNATURE_HASH,
        LockingPool::SequencerRewardRecipientChanged::SIGNATURE_HASH,
        LockingPool::UpdateMpc::SIGNATURE_HASH,
        LockingPool::SetSignerUpdateThrottle::SIGNATURE_HASH,
        LockingPool::Paused::SIGNATURE_HASH,
        LockingPool::Unpaused::SIGNATURE_HASH,
        LockingInfo::SetMinLock::SIGNATURE_HASH,
        LockingInfo::SetMaxLock::SIGNATURE_HASH,
        LockingInfo::SetRewardPayer::SIGNATURE_HASH,
    ];
    let l1 = &source.spec.l1;
    vec![LogFilter { addresses: vec![l1.locking_pool, l1.locking_info], topics: vec![topics] }]
}

/// Chain order, without METIS transfers that explain nothing: anyone may send METIS to the escrow.
pub fn in_order(source: &Source, logs: Vec<Vec<Log>>) -> Vec<Log> {
    let mut logs: Vec<Log> = logs.into_iter().flatten().filter(|log| !log.removed).collect();
    logs.sort_by_key(|log| (log.block_number, log.log_index));
    if source.layer == Layer::L1 {
        let place = |log: &Log| (log.block_number, log.transaction_index);
        let is_evidence = |log: &Log| source.contract(log.address) == Some(Contract::Metis);
        let explained: BTreeSet<_> =
            logs.iter().filter(|log| !is_evidence(log) && needs_transfer(log)).map(place).collect();
        logs.retain(|log| !is_evidence(log) || explained.contains(&place(log)));
    }
    logs
}

/// Whether a log is explained by METIS that came into the escrow.
fn needs_transfer(log: &Log) -> bool {
    use chain::abi::LockingInfo::{BatchSubmitReward, Locked, Relocked};
    let signatures = [Locked::SIGNATURE_HASH, Relocked::SIGNATURE_HASH, BatchSubmitReward::SIGNATURE_HASH];
    log.topics.first().is_some_and(|topic| signatures.contains(topic))
}

fn confirmed(logs: &[Log], twice: &[LogFilter], again: &[Log]) -> bool {
    let asked_twice = |log: &&Log| {
        twice.iter().any(|filter| {
            filter.addresses.contains(&log.address)
                && log.topics.first().is_some_and(|topic| filter.topics[0].contains(topic))
        })
    };
    let first: Vec<Log> = logs.iter().filter(asked_twice).cloned().collect();
    let mut again = again.to_vec();
    again.sort_by_key(|log| (log.block_number, log.log_index));
    same(&first, &again)
}

/// The logs of blocks in order, if what was asked for twice was answered the same twice.
pub fn twice_told(
    source: &Source,
    blocks: (u64, u64),
    endpoint: EndpointId,
    of_blocks: Vec<Vec<Vec<Log>>>,
) -> Result<Vec<Log>, FetchError> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    let filters = source.filters().len();
    for mut logs in of_blocks {
        again.extend(logs.split_off(filters.min(logs.len())).into_iter().flatten());
        first.append(&mut logs);
    }
    let logs = in_order(source, first);
    if confirmed(&logs, &uncounted(source), &again) {
        return Ok(logs);
    }
    source.pool.distrust(endpoint, "it gave two different answers to one question");
    source.care.lost(Some(endpoint));
    Err(disagreed(source, blocks, (endpoint, endpoint)))
}
