//! What the indexer counts, by network and layer.

use chain::pool::EndpointStatus;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::{KeyValue, global};

use crate::db::Layer;

/// The instruments; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    events: Counter<u64>,
    untyped: Counter<u64>,
    reorgs: Counter<u64>,
    reorg_depth: Histogram<u64>,
    reorgs_below_finalized: Counter<u64>,
    gaps: Counter<u64>,
    rpc_errors: Counter<u64>,
    drift: Gauge<u64>,
    drift_checked: Gauge<u64>,
    endpoint_requests: Gauge<u64>,
    endpoint_failures: Gauge<u64>,
    endpoint_usable: Gauge<u64>,
    nodes_ready: Gauge<u64>,
    streams: opentelemetry::metrics::UpDownCounter<i64>,
}

fn labels(network: &str, layer: Layer) -> [KeyValue; 2] {
    [KeyValue::new("network", network.to_owned()), KeyValue::new("layer", layer.name())]
}

impl Default for Metrics {
    fn default() -> Self {
        Self::of(&global::meter("indexer"))
    }
}

impl Metrics {
    fn of(meter: &Meter) -> Self {
        let gauge = |name, what| meter.u64_gauge(name).with_description(what).build();
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        Self {
            events: counter("indexer_events", "Events applied"),
            untyped: counter("indexer_untyped_logs", "Logs kept raw because they have no type"),
            reorgs: counter("indexer_reorgs", "Reorganisations taken back"),
            reorg_depth: meter
                .u64_histogram("indexer_reorg_depth_blocks")
                .with_description("Blocks taken back by a reorganisation")
                .with_boundaries(vec![1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 64.0, 200.0, 1_000.0])
                .build(),
            reorgs_below_finalized: counter(
                "indexer_reorgs_below_finalized",
                "Reorganisations that took back blocks which had been called final",
            ),
            gaps: counter("indexer_gaps", "Answers in which the contracts' own counters showed missing logs"),
            rpc_errors: counter("indexer_rpc_errors", "Questions that no endpoint answered"),
            drift: gauge("indexer_drift_fields", "Fields in which index and contracts differ; must be 0"),
            drift_checked: gauge(
                "indexer_drift_checked_seconds",
                "When index and contracts were last compared, in seconds since 1970",
            ),
            endpoint_requests: gauge("indexer_endpoint_requests", "HTTP requests sent to an endpoint"),
            endpoint_failures: gauge("indexer_endpoint_failures", "Questions that failed by its fault"),
            endpoint_usable: gauge("indexer_endpoint_usable", "1 if it is asked: not resting, not shut out"),
            nodes_ready: gauge("indexer_nodes_ready", "Nodes whose sequencer may lock"),
            streams: meter
                .i64_up_down_counter("indexer_streams")
                .with_description("Open event streams")
                .build(),
        }
    }

    /// Logs were applied, some of them without type.
    pub fn applied(&self, network: &str, layer: Layer, logs: u64, untyped: u64) {
        self.events.add(logs, &labels(network, layer));
        self.untyped.add(untyped, &labels(network, layer));
    }

    /// A reorganisation was taken back.
    pub fn reorg(&self, network: &str, layer: Layer, depth: u64, below_finalized: bool) {
        self.reorgs.add(1, &labels(network, layer));
        self.reorg_depth.record(depth, &labels(network, layer));
        self.reorgs_below_finalized.add(u64::from(below_finalized), &labels(network, layer));
    }

    /// Logs were found to be missing.
    pub fn gap(&self, network: &str, layer: Layer) {
        self.gaps.add(1, &labels(network, layer));
    }

    /// A question got no answer.
    pub fn rpc_error(&self, network: &str, layer: Layer) {
        self.rpc_errors.add(1, &labels(network, layer));
    }

    /// What the last comparison of index and contracts found, and when in seconds since 1970.
    pub fn drift(&self, network: &str, fields: u64, checked: u64) {
        let labels = [KeyValue::new("network", network.to_owned())];
        self.drift.record(fields, &labels);
        self.drift_checked.record(checked, &labels);
    }

    /// How an endpoint is doing that this process asks.
    pub fn endpoint(&self, network: &str, layer: Layer, status: &EndpointStatus) {
        let [network, layer] = labels(network, layer);
        let labels = [network, layer, KeyValue::new("endpoint", status.name.clone())];
        self.endpoint_requests.record(status.requests, &labels);
        self.endpoint_failures.record(status.failures, &labels);
        self.endpoint_usable.record(u64::from(status.is_usable()), &labels);
    }

    /// Nodes of a network were probed.
    pub fn nodes_ready(&self, network: &str, ready: u64) {
        self.nodes_ready.record(ready, &[KeyValue::new("network", network.to_owned())]);
    }

    /// A stream was opened (+1) or ended (-1).
    pub fn streams(&self, network: &str, change: i64) {
        self.streams.add(change, &[KeyValue::new("network", network.to_owned())]);
    }
}
