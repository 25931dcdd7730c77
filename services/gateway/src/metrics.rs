//! What the gateway counts. Labels come from closed sets: a method that does not exist is `unknown`.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, global};

/// The label of every method that is not in the table.
pub const UNKNOWN: &str = "unknown";

/// Bounds of the latency histogram in seconds: from a cached read to the longest deadline.
const BOUNDS_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Bounds of the batch histogram, up to the largest batch.
const BOUNDS_ITEMS: [f64; 6] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0];

fn meter() -> Meter {
    global::meter("gateway")
}

static CALLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    meter()
        .u64_counter("jsonrpc.calls")
        .with_description("JSON-RPC calls answered, each item of a batch by itself; code 0 is a result")
        .build()
});

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    meter()
        .f64_histogram("jsonrpc.duration")
        .with_unit("s")
        .with_boundaries(BOUNDS_SECONDS.to_vec())
        .with_description("Time to answer one JSON-RPC call")
        .build()
});

static BATCH: LazyLock<Histogram<u64>> = LazyLock::new(|| {
    meter()
        .u64_histogram("jsonrpc.batch.items")
        .with_boundaries(BOUNDS_ITEMS.to_vec())
        .with_description("Requests in one batch")
        .build()
});

static SOCKETS: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    meter().i64_up_down_counter("gateway.sockets").with_description("Open WebSockets").build()
});

static SUBSCRIPTIONS: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    meter().i64_up_down_counter("gateway.subscriptions").with_description("Open subscriptions").build()
});

static ENDED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    meter()
        .u64_counter("gateway.subscriptions.ended")
        .with_description("Subscriptions that we ended, by reason")
        .build()
});

static AUTH_FAILURES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    meter()
        .u64_counter("gateway.auth.failures")
        .with_description("Calls turned down for their credential, by reason")
        .build()
});

static LIMITED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    meter()
        .u64_counter("gateway.limited")
        .with_description("Calls turned down by a quota, by what it belongs to")
        .build()
});

/// A call was answered.
pub fn call(method: &'static str, transport: &'static str, code: i32, took: Duration) {
    let labels = [KeyValue::new("method", method), KeyValue::new("transport", transport)];
    DURATION.record(took.as_secs_f64(), &labels);
    let [method, transport] = labels;
    CALLS.add(1, &[method, transport, KeyValue::new("code", i64::from(code))]);
}

/// A batch came.
pub fn batch(items: usize) {
    BATCH.record(items as u64, &[]);
}

/// A credential was missing, bad, expired or too weak.
pub fn auth_failure(reason: &str) {
    AUTH_FAILURES.add(1, &[KeyValue::new("reason", reason.to_owned())]);
}

/// A quota was used up.
pub fn limited(by: &'static str) {
    LIMITED.add(1, &[KeyValue::new("by", by)]);
}

/// We ended a subscription.
pub fn subscription_ended(reason: &str) {
    ENDED.add(1, &[KeyValue::new("reason", reason.to_owned())]);
}

/// Counts a socket as long as it lives.
#[derive(Debug)]
pub struct OpenSocket(());

impl OpenSocket {
    /// One more.
    pub fn count() -> Self {
        SOCKETS.add(1, &[]);
        Self(())
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        SOCKETS.add(-1, &[]);
    }
}

/// Counts a subscription as long as it lives.
#[derive(Debug)]
pub struct OpenSubscription(());

impl OpenSubscription {
    /// One more.
    pub fn count() -> Self {
        SUBSCRIPTIONS.add(1, &[]);
        Self(())
    }
}

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        SUBSCRIPTIONS.add(-1, &[]);
    }
}
