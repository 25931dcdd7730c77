//! What the service counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Counter, Gauge, Histogram};

/// The instruments; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    decisions: Counter<u64>,
    signing: Histogram<f64>,
    backend: Histogram<f64>,
    waiting: Histogram<f64>,
    batch: Histogram<u64>,
    deciding: Histogram<f64>,
    key_use: Histogram<f64>,
    uncovered: Gauge<u64>,
}

/// Bounds in seconds: the use of a local key to the deadline of a signature.
const BOUNDS_SECONDS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0, 10.0];
/// Bounds of what is decided at once: one to the most.
const BOUNDS_BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

impl Metrics {
    /// On the global meter, so that a process without one counts nothing.
    pub fn new() -> Self {
        let meter = opentelemetry::global::meter("keys");
        let seconds = |name: &'static str, what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(BOUNDS_SECONDS.to_vec()).build()
        };
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
            waiting: seconds("keys.queue.wait", "Time that a request to sign waits until it is decided"),
            batch: meter
                .u64_histogram("keys.decide.batch")
                .with_description("Requests to sign that were decided by one commit")
                .with_boundaries(BOUNDS_BATCH.to_vec())
                .build(),
            deciding: seconds("keys.decide.duration", "Time of one statement with its durable commit"),
            key_use: seconds("keys.sign.duration", "Time to open a key, to sign and to recover the signer"),
            uncovered: meter
                .u64_gauge("keys.audit.uncovered_records")
                .with_description("Records of the audit log behind the last signed and published head")
                .build(),
        }
    }

    /// Shows how many wait to be decided.
    pub fn watch_queue(&self, depth: impl Fn() -> usize + Send + Sync + 'static) {
        opentelemetry::global::meter("keys")
            .u64_observable_gauge("keys.queue.depth")
            .with_description("Requests to sign that wait to be decided")
            .with_callback(move |gauge| gauge.observe(u64::try_from(depth()).unwrap_or(u64::MAX), &[]))
            .build();
    }

    /// How long a request waited to be taken up.
    pub fn waited(&self, wait: Duration) {
        self.waiting.record(wait.as_secs_f64(), &[]);
    }

    /// One commit.
    pub fn committed(&self, requests: usize, took: Duration) {
        self.batch.record(u64::try_from(requests).unwrap_or(u64::MAX), &[]);
        self.deciding.record(took.as_secs_f64(), &[]);
    }

    /// One use of a key.
    pub fn key_used(&self, took: Duration) {
        self.key_use.record(took.as_secs_f64(), &[]);
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

    /// Records behind the last published head.
    pub fn uncovered(&self, records: u64) {
        self.uncovered.record(records, &[]);
    }

    /// One signature.
    pub fn signed(&self, took: Duration) {
        self.signing.record(took.as_secs_f64(), &[]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Every gauge of the state, with its help.
const GAUGES: &[(&str, &str)] = &[
    ("keys_sealed", "1 while no key-encryption key opens this installation"),
    ("keys_memory_locked", "1 if secrets are locked in memory, 0 if the limit forbids it"),
    ("keys_kek_generation", "Newest generation of the key-encryption key"),
    ("keys_kek_behind", "Keys under an older generation: above 0 while a rotation is not done"),
    ("keys_backup_never_proven", "Keys of which no restore was ever proven"),
    (
        "keys_backup_age_days",
        "Days since the restore of a key was last proven, or since it was made if it never was",
    ),
];

type Readings = Mutex<Vec<Reading>>;

/// The gauges as they were last shown. Goes with its last clone, so that nothing stale is exported.
#[derive(Debug, Clone)]
pub struct Panel(Arc<Readings>);

/// One value of one gauge.
#[derive(Debug, Clone)]
pub struct Reading {
    gauge: &'static str,
    value: f64,
    labels: Vec<KeyValue>,
}

impl Reading {
    /// Without labels.
    pub fn plain(gauge: &'static str, value: f64) -> Self {
        Self { gauge, value, labels: Vec::new() }
    }

    /// Of one key, by its name.
    pub fn of_key(gauge: &'static str, name: &str, value: f64) -> Self {
        Self { gauge, value, labels: vec![KeyValue::new("key", name.to_owned())] }
    }
}

impl Panel {
    /// On the global meter.
    pub fn new() -> Self {
        let readings = Arc::new(Readings::default());
        let meter = opentelemetry::global::meter("keys");
        for (gauge, what) in GAUGES {
            let readings = Arc::downgrade(&readings);
            let observed = move |observer: &dyn AsyncInstrument<f64>| {
                let Some(readings) = readings.upgrade() else { return };
                let readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
                for reading in readings.iter().filter(|reading| reading.gauge == *gauge) {
                    observer.observe(reading.value, &reading.labels);
                }
            };
            meter.f64_observable_gauge(*gauge).with_description(*what).with_callback(observed).build();
        }
        Self(readings)
    }

    /// Puts these in the place of all before.
    pub fn show(&self, readings: Vec<Reading>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }
}

impl Default for Panel {
    fn default() -> Self {
        Self::new()
    }
}
