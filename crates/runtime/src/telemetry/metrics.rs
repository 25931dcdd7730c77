//! The metrics of a process: OpenTelemetry instruments, read by Prometheus.

use std::sync::OnceLock;

use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

use super::{Error, resource};

/// One registry for the process, because instruments are made from one global meter.
static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Begins to collect; instruments that were made before count nothing.
pub(super) fn start(service: &'static str) {
    REGISTRY.get_or_init(|| {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // One more label on every series, always with the same value, helps nobody.
            .scope_info_enabled(false)
            .build()
            .expect("a fresh registry takes its first collector");
        let provider =
            SdkMeterProvider::builder().with_reader(exporter).with_resource(resource(service)).build();
        opentelemetry::global::set_meter_provider(provider);
        registry
    });
}

/// All metrics in the text format of Prometheus; empty before `init`.
///
/// # Errors
/// When a metric cannot be written.
pub fn metrics_text() -> Result<String, Error> {
    let Some(registry) = REGISTRY.get() else { return Ok(String::new()) };
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).map_err(Error::Metrics)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
