//! Logs, traces and metrics of a process: `tracing` in, JSON lines, OTLP and Prometheus out.
//!
//! Export never holds up the work: spans are handed to a thread of their own and dropped when it
//! falls behind.

mod json;
mod metrics;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use metrics::metrics_text;

/// The filter of logs when none is configured: ours at `info`, the noise of libraries at `warn`.
pub const LOG_FILTER_DEFAULT: &str =
    "info,h2=warn,hyper=warn,tonic=warn,tower=warn,sqlx=warn,opentelemetry=warn,rustls=warn";

/// How long the last spans may take to leave when the process ends.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// How long one export may take before its spans are given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What to log, and where traces go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// The OTLP collector (`http://host:4317`); without one, traces only give log lines their ids.
    pub otlp_endpoint: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines appear, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Pretty` on a terminal, `Json` elsewhere.
    #[default]
    Auto,
    /// One JSON object per line, with the trace id.
    Json,
    /// For people.
    Pretty,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, log_format: LogFormat::Auto, log_filter: LOG_FILTER_DEFAULT.to_owned() }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("the log filter `{filter}` cannot be used")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter of traces.
    #[error("setting up the export of traces to {endpoint}")]
    Exporter {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// OTLP over gRPC needs a runtime to live on.
    #[error("the export of traces must be started inside of a Tokio runtime")]
    NoRuntime,
    /// The metrics could not be written as text.
    #[error("writing the metrics as text")]
    Metrics(#[source] prometheus::Error),
}

/// Keeps telemetry running; the last spans are sent when it is dropped or shut down.
#[derive(Debug)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

/// The traces of the process; one set however often `init` is called.
static STARTED: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts telemetry for this process. A second call changes nothing and is harmless, so that tests
/// may each call it.
///
/// `service` is the name of the process; where several services share one, their spans carry a
/// `service` field of their own.
///
/// # Errors
/// When the filter or the endpoint is not usable.
pub fn init(service: &'static str, config: &TelemetryConfig) -> Result<Guard, Error> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|source| Error::Filter { filter: config.log_filter.clone(), source })?;
    if STARTED.get().is_some() {
        return Ok(Guard { provider: None });
    }
    let provider = traces(service, config)?;
    if STARTED.set(provider.clone()).is_err() {
        return Ok(Guard { provider: None });
    }
    metrics::start(service);
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    opentelemetry::global::set_tracer_provider(provider.clone());
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("runtime"))
        .with_filter(EnvFilter::new(LOG_FILTER_DEFAULT));
    let lines = lines(config.log_format).with_filter(filter);
    let subscriber = Registry::default().with(spans).with(lines);
    // Someone else's subscriber (of a test) may be first; then its owner sees our lines.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        log_panics();
    }
    Ok(Guard { provider: Some(provider) })
}

impl Guard {
    /// Sends what is left; waits a few seconds at most.
    pub fn shutdown(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_WAIT)
        {
            tracing::debug!("the last spans were not sent: {error}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends all finished spans now, for tests and drills.
pub fn flush() {
    if let Some(provider) = STARTED.get()
        && let Err(error) = provider.force_flush()
    {
        tracing::debug!("the spans were not sent: {error}");
    }
}

fn traces(service: &'static str, config: &TelemetryConfig) -> Result<SdkTracerProvider, Error> {
    let builder = SdkTracerProvider::builder().with_resource(resource(service));
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(builder.build()) };
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::NoRuntime);
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.clone())
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.clone(), source })?;
    Ok(builder.with_batch_exporter(exporter).build())
}

fn resource(service: &'static str) -> Resource {
    Resource::builder().with_service_name(service).build()
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    let pretty = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    // Standard output is for the results of commands.
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if pretty {
        Box::new(layer.with_target(false))
    } else {
        Box::new(layer.fmt_fields(json::fields()).event_format(json::Lines))
    }
}

/// A panic is a log line like any other failure, with its place but without its backtrace noise.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panic at {place}: {}", panic.payload_as_str().unwrap_or("no message"));
        before(panic);
    }));
}
