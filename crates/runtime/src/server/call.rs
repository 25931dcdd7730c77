//! What is measured about each call.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use tonic::Code;

/// Bounds of the latency histogram in seconds: a database round trip to the longest deadline.
const BOUNDS_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The instruments of one server.
#[derive(Debug)]
pub(super) struct Instruments {
    service: String,
    calls: Counter<u64>,
    duration: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
    denied: Counter<u64>,
}

impl Instruments {
    pub fn new(service: String) -> Self {
        let meter = opentelemetry::global::meter("runtime");
        Self {
            service,
            calls: meter
                .u64_counter("rpc.server.calls")
                .with_description("gRPC calls that ended, by method and code")
                .build(),
            duration: meter
                .f64_histogram("rpc.server.duration")
                .with_unit("s")
                .with_description("Time from the head of a gRPC request to the end of its answer")
                .with_boundaries(BOUNDS_SECONDS.to_vec())
                .build(),
            in_flight: meter
                .i64_up_down_counter("rpc.server.in_flight")
                .with_description("gRPC calls that have begun and not ended")
                .build(),
            denied: meter
                .u64_counter("rpc.server.denied")
                .with_description("gRPC calls that the method table does not allow the caller")
                .build(),
        }
    }

    /// Counts a denial; identities are not labels, because their number has no bound.
    pub fn deny(&self, method: &'static str) {
        self.denied.add(1, &self.labels(method));
    }

    fn labels(&self, method: &'static str) -> [KeyValue; 2] {
        [KeyValue::new("service", self.service.clone()), KeyValue::new("method", method)]
    }
}

/// One call from its head to the end of its answer; a dropped one was cancelled by the caller.
#[derive(Debug)]
pub(super) struct Call {
    instruments: Arc<Instruments>,
    method: &'static str,
    began: Instant,
    code: Code,
}

impl Call {
    pub fn begin(instruments: &Arc<Instruments>, method: &'static str) -> Self {
        instruments.in_flight.add(1, &instruments.labels(method));
        Self { instruments: Arc::clone(instruments), method, began: Instant::now(), code: Code::Cancelled }
    }

    pub fn finish(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let [service, method] = self.instruments.labels(self.method);
        let code = KeyValue::new("code", name(self.code));
        self.instruments.in_flight.add(-1, &[service.clone(), method.clone()]);
        self.instruments
            .duration
            .record(self.began.elapsed().as_secs_f64(), &[service.clone(), method.clone()]);
        self.instruments.calls.add(1, &[service, method, code]);
    }
}

/// The name of a code as gRPC spells it.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
