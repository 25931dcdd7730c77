//! The state of nodes and chains as Prometheus gauges, for deploy/prometheus/alerts.yml.
//!
//! What is unknown has no series, never 0, and whoever does not hold the lease exports none at all, so that nothing
//! stale is left behind when another replica takes over. All come from the tables and the last probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use api::indexer::v1 as wire;
use api::types::v1::Verdict;
use opentelemetry::metrics::Meter;
use opentelemetry::{KeyValue, global};

use crate::db::node_chain::Chain;

/// Every gauge with what it says.
const GAUGES: &[(&str, &str)] = &[
    ("indexer_nodes_registered", "Nodes of a network that are probed"),
    ("indexer_node_ready", "1 if the node's sequencer may lock"),
    ("indexer_node_probe_timestamp_seconds", "When the node was probed last"),
    ("indexer_node_process_up", "1 if the process answered"),
    ("indexer_node_catching_up", "1 if the process says that it is behind"),
    ("indexer_node_height", "Height of the process"),
    ("indexer_node_lag_blocks", "Blocks that the process is behind the chain it follows"),
    ("indexer_node_peers", "Peers of the process"),
    ("indexer_node_check", "A check: 0 holds, 1 warns, 2 fails"),
    ("indexer_node_validator_power", "Power of the node's signer in consensus"),
    ("indexer_node_producing", "1 if it is the signer's turn to produce L2 blocks"),
    ("indexer_node_missed_turn_timestamp_seconds", "When the signer last lost a turn"),
    ("indexer_node_mpc_sign_ok", "Of a proposer that asked: 1 if the MPC has ever signed for it"),
    ("indexer_node_mpc_sign_timestamp_seconds", "Of a proposer that asked: when it last did"),
    ("indexer_chain_block", "Height of a chain: indexed, or latest or finalized of the endpoints"),
    ("indexer_chain_troubled", "1 if a chain cannot be followed at the moment"),
    ("indexer_chain_contact_timestamp_seconds", "When an endpoint of a chain last answered"),
    ("indexer_chain_backfilling", "1 while history is fetched"),
    ("indexer_chain_blocks_per_second", "Blocks of history fetched in a second; 0 when none is"),
    ("indexer_chain_remaining_seconds", "Until history is fetched, at this rate"),
    ("indexer_epoch_blocks_ahead", "L2 blocks from the head to the end of the newest epoch"),
    ("indexer_reorg_unacknowledged", "1 if no operator has acknowledged a reorganisation below finalized"),
    ("indexer_lease_held", "1 if some replica holds the lease"),
    ("indexer_watched_balance", "Balance of a watched address, in whole coins"),
    ("indexer_watched_balance_low", "1 if it is below its minimum"),
];

/// One value of one gauge.
#[derive(Debug, Clone)]
pub struct Reading {
    gauge: &'static str,
    value: f64,
    labels: Vec<KeyValue>,
}

/// A reading. Labels are few, and their values are ours or of registered nodes.
pub fn reading(gauge: &'static str, value: f64, labels: &[(&'static str, &str)]) -> Reading {
    let labels = labels.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned())).collect();
    Reading { gauge, value, labels }
}

type Readings = Mutex<BTreeMap<String, Vec<Reading>>>;

/// What is exported now; nothing once it is dropped.
#[derive(Debug, Default)]
pub struct Panel(Arc<Readings>);

impl Panel {
    /// A panel of the process' meter.
    pub fn new() -> Self {
        let panel = Self::default();
        export(&global::meter("indexer"), &Arc::downgrade(&panel.0));
        panel
    }

    /// Puts these readings in the place of those that a source gave before.
    pub fn show(&self, source: &str, readings: Vec<Reading>) {
        locked(&self.0).insert(source.to_owned(), readings);
    }

    /// Takes everything down: someone else knows now.
    pub fn clear(&self) {
        locked(&self.0).clear();
    }
}

fn locked(readings: &Readings) -> MutexGuard<'_, BTreeMap<String, Vec<Reading>>> {
    // A map of plain values is whole whoever has panicked.
    readings.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn export(meter: &Meter, readings: &Weak<Readings>) {
    for (gauge, what) in GAUGES {
        let readings = readings.clone();
        meter
            .f64_observable_gauge(*gauge)
            .with_description(*what)
            .with_callback(move |observer| {
                let Some(readings) = readings.upgrade() else { return };
                for reading in locked(&readings).values().flatten().filter(|one| one.gauge == *gauge) {
                    observer.observe(reading.value, &reading.labels);
                }
            })
            .build();
    }
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A height as a gauge; exact up to 2^53, beyond which there are none.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn count(number: u64) -> f64 {
    number as f64
}

fn seconds(time: &prost_types::Timestamp) -> f64 {
    count(u64::try_from(time.seconds).unwrap_or(0))
}

/// The gauges of one node after a probe.
pub fn of_node(network: &str, node: &str, report: &wire::Node) -> Vec<Reading> {
    let own = [("network", network), ("node", node)];
    let mut all = vec![reading("indexer_node_ready", flag(report.ready_to_lock), &own)];
    let mut known = |gauge, value: Option<f64>| all.extend(value.map(|value| reading(gauge, value, &own)));
    known("indexer_node_probe_timestamp_seconds", report.probe_time.as_ref().map(seconds));
    known("indexer_node_validator_power", report.validator_known.then(|| count(report.validator_power)));
    known("indexer_node_producing", report.producing.map(flag));
    known("indexer_node_missed_turn_timestamp_seconds", report.missed_turn_time.as_ref().map(seconds));
    // A bridge begins with zeros, and one that is no proposer never signs: neither is a failure.
    let proposer = report.bridge.as_ref().filter(|bridge| bridge.mpc_proposer && bridge.mpc_time.is_some());
    known("indexer_node_mpc_sign_ok", proposer.map(|bridge| flag(bridge.mpc_sign_success)));
    let asked = proposer.and_then(|bridge| bridge.mpc_time.as_ref());
    known("indexer_node_mpc_sign_timestamp_seconds", asked.map(seconds));
    for process in &report.processes {
        let own = [("network", network), ("node", node), ("process", process.process.as_str())];
        all.push(reading("indexer_node_process_up", flag(process.reachable), &own));
        let mut known =
            |gauge, value: Option<f64>| all.extend(value.map(|value| reading(gauge, value, &own)));
        known("indexer_node_catching_up", process.catching_up.map(flag));
        known("indexer_node_height", process.height.map(count));
        known("indexer_node_lag_blocks", process.lag.map(count));
        known("indexer_node_peers", process.peers.map(f64::from));
    }
    for check in &report.checks {
        let value = match check.verdict() {
            Verdict::Pass => 0.0,
            Verdict::Warn => 1.0,
            Verdict::Fail => 2.0,
            Verdict::Unknown | Verdict::Unspecified => continue,
        };
        let own = [("network", network), ("node", node), ("check", check.name.as_str())];
        all.push(reading("indexer_node_check", value, &own));
    }
    all
}

/// The gauges of one chain as the tables have it.
pub fn of_chain(network: &str, chain: &Chain) -> Vec<Reading> {
    let layer = chain.layer.name();
    let own = [("network", network), ("layer", layer)];
    let at = |at, height| reading("indexer_chain_block", count(height), &[own[0], own[1], ("at", at)]);
    let mut all = vec![
        reading("indexer_chain_troubled", flag(chain.troubled), &own),
        reading("indexer_chain_backfilling", flag(chain.backfilling), &own),
        reading("indexer_chain_blocks_per_second", count(chain.blocks_per_second), &own),
        reading("indexer_chain_remaining_seconds", count(chain.remaining_seconds), &own),
    ];
    all.extend(chain.indexed.map(|height| at("indexed", height)));
    if let Some(contact) = chain.last_contact {
        all.push(at("latest", chain.latest));
        all.push(at("finalized", chain.finalized));
        let contact = count(u64::try_from(contact.unix_timestamp()).unwrap_or(0));
        all.push(reading("indexer_chain_contact_timestamp_seconds", contact, &own));
    }
    all
}

/// The gauges of a network as a whole; those that are none are unknown.
pub fn of_network(network: &str, nodes: u64, known: [(&'static str, Option<u64>); 2]) -> Vec<Reading> {
    let own = [("network", network)];
    let mut all = vec![reading("indexer_nodes_registered", count(nodes), &own)];
    all.extend(known.into_iter().filter_map(|(gauge, value)| Some(reading(gauge, count(value?), &own))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_no_series() {
        let silent = wire::Node {
            processes: vec![wire::ProcessProbe { process: "dtl".to_owned(), ..Default::default() }],
            bridge: Some(wire::BridgeHealth { mpc_proposer: true, ..Default::default() }),
            ..Default::default()
        };
        let names: Vec<&str> = of_node("sepolia", "one", &silent).into_iter().map(|one| one.gauge).collect();
        assert_eq!(names, ["indexer_node_ready", "indexer_node_process_up"]);
    }

    #[test]
    fn every_reading_has_its_gauge() {
        let time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        let check = api::types::v1::Check { verdict: Verdict::Fail.into(), ..Default::default() };
        let process = wire::ProcessProbe {
            catching_up: Some(true),
            height: Some(1),
            lag: Some(1),
            peers: Some(1),
            ..Default::default()
        };
        let bridge = wire::BridgeHealth { mpc_proposer: true, mpc_time: time, ..Default::default() };
        let full = wire::Node {
            probe_time: time,
            processes: vec![process],
            checks: vec![check],
            validator_known: true,
            producing: Some(true),
            missed_turn_time: time,
            bridge: Some(bridge),
            ..Default::default()
        };
        let readings = of_node("sepolia", "one", &full);
        assert_eq!(readings.len(), 13);
        for one in readings {
            assert!(GAUGES.iter().any(|(gauge, _)| *gauge == one.gauge), "{}", one.gauge);
        }
    }
}
