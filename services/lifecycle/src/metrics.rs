//! What this service counts. Names are listed in its README.

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

use crate::reconcile::foreign::Kind;

/// The outcome of a delivery that was given up.
pub const DEAD: &str = "dead";

/// The verdict of an endpoint that refuses in words that nobody knows.
const UNKNOWN_WORDS: &str = "Refused";

/// The instruments; made once.
#[derive(Debug, Clone)]
pub struct Metrics {
    operations: Counter<u64>,
    transitions: Counter<u64>,
    undone: Counter<u64>,
    broadcasts: Counter<u64>,
    refused: Counter<u64>,
    foreign_nonces: Counter<u64>,
    deliveries: Counter<u64>,
    applied_block: Gauge<u64>,
    network_held: Gauge<u64>,
    queued_to_broadcast: Histogram<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let meter = global::meter("lifecycle");
        Self {
            operations: meter.u64_counter("lifecycle_operations").with_description("States entered").build(),
            transitions: meter.u64_counter("lifecycle_transitions").with_description("State changes").build(),
            undone: meter
                .u64_counter("lifecycle_transitions_undone")
                .with_description("State changes taken back by reorganisations")
                .build(),
            broadcasts: meter
                .u64_counter("lifecycle_broadcasts")
                .with_description("Answers of endpoints to transactions, by meaning")
                .build(),
            refused: meter
                .u64_counter("lifecycle_transactions_refused")
                .with_description("Transactions that every endpoint refuses for what they are: an alert")
                .build(),
            foreign_nonces: meter
                .u64_counter("lifecycle_foreign_nonces")
                .with_description("Nonces of ours that somebody else spent: an alert")
                .build(),
            deliveries: meter
                .u64_counter("lifecycle_webhook_deliveries")
                .with_description("Attempts to deliver notifications, by outcome; dead ones are for people")
                .build(),
            applied_block: meter
                .u64_gauge("lifecycle_applied_block")
                .with_description("L1 block up to which events are applied")
                .build(),
            network_held: meter
                .u64_gauge("lifecycle_network_held")
                .with_description(
                    "1 while nothing is sent because of an unacknowledged reorganisation: an alert",
                )
                .build(),
            queued_to_broadcast: meter
                .f64_histogram("lifecycle_queued_to_broadcast_seconds")
                .with_description("From intake to the first broadcast")
                .build(),
        }
    }
}

fn network(name: &str) -> KeyValue {
    KeyValue::new("network", name.to_owned())
}

impl Metrics {
    /// Shows what alerts stand on as 0: of a series that begins with 1, Prometheus sees no increase.
    pub fn begin<'a>(&self, networks: impl Iterator<Item = &'a String>) {
        self.deliveries.add(0, &[KeyValue::new("outcome", DEAD)]);
        for name in networks {
            self.refused.add(0, &[network(name)]);
            self.broadcasts.add(0, &[network(name), KeyValue::new("verdict", UNKNOWN_WORDS)]);
            for kind in Kind::ALL {
                self.foreign_nonces.add(0, &[network(name), KeyValue::new("kind", kind.name())]);
            }
        }
    }

    /// A notification was delivered, has to be tried again, or is dead.
    pub fn delivery(&self, outcome: &'static str) {
        self.deliveries.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// An operation entered a state.
    pub fn operation(&self, on: &str, kind: &str, state: &'static str) {
        self.operations
            .add(1, &[network(on), KeyValue::new("kind", kind.to_owned()), KeyValue::new("state", state)]);
    }

    /// State changes were recorded.
    pub fn transitions(&self, on: &str, count: u64) {
        self.transitions.add(count, &[network(on)]);
    }

    /// State changes were taken back.
    pub fn undone(&self, on: &str, count: u64) {
        self.undone.add(count, &[network(on)]);
    }

    /// An endpoint answered a broadcast.
    pub fn broadcast(&self, on: &str, verdict: &str) {
        self.broadcasts.add(1, &[network(on), KeyValue::new("verdict", verdict.to_owned())]);
    }

    /// Every endpoint has refused a transaction for what it is.
    pub fn transaction_refused(&self, on: &str) {
        self.refused.add(1, &[network(on)]);
    }

    /// Somebody else spent a nonce of ours, with a transaction of this kind.
    pub fn foreign_nonce(&self, on: &str, kind: &'static str) {
        self.foreign_nonces.add(1, &[network(on), KeyValue::new("kind", kind)]);
    }

    /// Events up to this block are applied.
    pub fn applied_block(&self, on: &str, block: u64) {
        self.applied_block.record(block, &[network(on)]);
    }

    /// Nothing is sent on a network, or it is again.
    pub fn network_held(&self, on: &str, held: bool) {
        self.network_held.record(held.into(), &[network(on)]);
    }

    /// An operation was sent for the first time.
    pub fn sent_after(&self, on: &str, secs: f64) {
        self.queued_to_broadcast.record(secs, &[network(on)]);
    }
}
