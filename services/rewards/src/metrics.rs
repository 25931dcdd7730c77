//! What the service counts: how far each ledger is, and how far off.

use std::sync::LazyLock;

use opentelemetry::metrics::Gauge;
use opentelemetry::{KeyValue, global};

static HEIGHT: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    global::meter("rewards")
        .u64_gauge("rewards_ledger_height")
        .with_description("Last L1 block that the ledger has applied")
        .build()
});

static DRIFT: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    global::meter("rewards")
        .u64_gauge("rewards_drift")
        .with_description("Sequencers whose ledger differs from the contract; must be 0")
        .build()
});

/// The ledger of a network stands at this block.
pub fn at_height(network: &str, height: u64) {
    HEIGHT.record(height, &[KeyValue::new("network", network.to_owned())]);
}

/// Result of a comparison.
pub fn drift(network: &str, drift: u64) {
    DRIFT.record(drift, &[KeyValue::new("network", network.to_owned())]);
}
