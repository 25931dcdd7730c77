//! What the service counts.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

/// The instruments; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    decisions: Counter<u64>,
    signing: Histogram<f64>,
    backend: Histogram<f64>,
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
            backend: meter
                .f64_histogram("keys.backend.duration")
                .with_unit("s")
                .with_description("Time of a request to a remote backend, by backend, verb and outcome")
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

    /// One request to a remote backend. Its name stands in the configuration.
    pub fn asked_backend(&self, name: &str, verb: &'static str, ok: bool, took: std::time::Duration) {
        let attributes = [
            KeyValue::new("backend", name.to_owned()),
            KeyValue::new("verb", verb),
            KeyValue::new("outcome", if ok { "ok" } else { "error" }),
        ];
        self.backend.record(took.as_secs_f64(), &attributes);
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
