//! What the service counts.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

/// The instruments; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    decisions: Counter<u64>,
    signing: Histogram<f64>,
    uncovered: Gauge<u64>,
}

impl Metrics {
    /// On the global meter, so that a process without one counts nothing.
    pub fn new() -> Self {
        let meter = opentelemetry::global::meter("keys");
        Self {
            decisions: meter
                .u64_counter("keys.signing.decisions")
                .with_description("Requests to sign, by network, function and reason (OK when signed)")
                .build(),
            signing: meter
                .f64_histogram("keys.signing.duration")
                .with_unit("s")
                .with_description("Time from request to signature, with the durable decision")
                .build(),
            uncovered: meter
                .u64_gauge("keys.audit.uncovered_records")
                .with_description("Records of the audit log behind the last signed and published head")
                .build(),
        }
    }

    /// One decision. `network` and `function` are known names here, never text of the caller.
    pub fn decided(&self, network: &str, function: &str, reason: &'static str) {
        let attributes = [
            KeyValue::new("network", network.to_owned()),
            KeyValue::new("function", function.to_owned()),
            KeyValue::new("reason", reason),
        ];
        self.decisions.add(1, &attributes);
    }

    /// Records behind the last published head.
    pub fn uncovered(&self, records: u64) {
        self.uncovered.record(records, &[]);
    }

    /// One signature.
    pub fn signed(&self, took: std::time::Duration) {
        self.signing.record(took.as_secs_f64(), &[]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
