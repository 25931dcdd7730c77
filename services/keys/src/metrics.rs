//! What the service counts.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram};

/// The instruments; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    decisions: Counter<u64>,
    signing: Histogram<f64>,
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
