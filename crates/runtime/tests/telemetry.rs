//! Telemetry is one per process, so all of its tests share one collector.

use std::sync::{Arc, Mutex, OnceLock};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use runtime::client::channel;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::telemetry::{TelemetryConfig, flush, init};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::admin;
use crate::echo::{SAY, call, pair, serve, wait_until};
use crate::pki::Authority;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans);
        self.0.lock().expect("no panic").extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Starts telemetry on a runtime of its own, because the exporter outlives any single test.
fn collector() -> Collector {
    static STARTED: OnceLock<Collector> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            let collector = Collector::default();
            let service = collector.clone();
            let (ready, started) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                runtime.block_on(async move {
                    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
                    let config = TelemetryConfig { otlp_endpoint: Some(endpoint), ..Default::default() };
                    let guard = init("test", &config).expect("telemetry");
                    ready.send(()).expect("someone waits");
                    let incoming = TcpListenerStream::new(listener);
                    let server = tonic::transport::Server::builder()
                        .add_service(TraceServiceServer::new(service))
                        .serve_with_incoming(incoming);
                    server.await.expect("it serves");
                    drop(guard);
                });
            });
            started.recv().expect("it starts");
            collector
        })
        .clone()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    found.map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_follows_a_request_over_two_hops() {
    let collector = collector();
    let authority = Authority::new();
    let last = serve("keys", authority.tls("keys"), None).await;
    let next = channel(last.address, "keys", authority.tls("lifecycle"));
    let first = serve("lifecycle", authority.tls("lifecycle"), Some(next)).await;
    let peer = channel(first.address, "lifecycle", authority.tls("gateway"));

    let root = tracing::info_span!("journey of two hops");
    call(peer, SAY, "relay x").instrument(root.clone()).await.expect("an answer");
    drop(root);

    let mut trace = Vec::new();
    wait_until("the five spans arrived", async || {
        tokio::task::spawn_blocking(flush).await.expect("no panic");
        let spans = collector.0.lock().expect("no panic").clone();
        let Some(root) = spans.iter().find(|span| span.name == "journey of two hops") else { return false };
        trace = spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect();
        trace.len() == 5
    })
    .await;
    // From the innermost span outwards: server, client, server, client, root.
    let is_inner = |span: &&Span| span.kind == 2 && attribute(span, "service").contains("keys");
    let mut at = trace.iter().find(is_inner).expect("the last hop");
    let mut kinds = vec![at.kind];
    while let Some(parent) = trace.iter().find(|span| span.span_id == at.parent_span_id) {
        at = parent;
        kinds.push(at.kind);
    }
    assert_eq!(kinds, [2, 3, 2, 3, 1], "SERVER, CLIENT, SERVER, CLIENT, INTERNAL");
    assert_eq!(at.name, "journey of two hops");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_no_scope_labels_and_unknown_methods_are_one_series() {
    collector();
    let (_server, peer) = pair("lifecycle").await;
    call(peer.clone(), SAY, "x").await.expect("an answer");
    for path in ["/random.A/B", "/random.C/D"] {
        call(peer.clone(), path, "x").await.expect_err("no such method");
    }
    let address = admin::serve(&Health::new(), &Shutdown::new()).await;
    let (status, text) = admin::get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(!text.contains("otel_scope") && !text.contains("random"), "{text}");
    assert!(text.contains("service_name=\"test\""), "{text}");
    let lines = |needle: &str| text.lines().filter(|line| line.contains(needle)).count();
    assert_eq!(
        lines("rpc_server_calls_total{code=\"UNIMPLEMENTED\",method=\"unknown\",service=\"keys\"}"),
        1
    );
    assert!(lines("rpc_server_duration_seconds_bucket") > 0, "{text}");
    assert!(lines("rpc_server_in_flight{method=\"/test.Echo/Say\"") > 0, "{text}");
}

#[test]
fn starting_twice_is_harmless() {
    collector();
    init("another", &TelemetryConfig::default()).expect("nothing happens").shutdown();
    flush();
}

#[test]
fn a_filter_that_does_not_parse_is_an_error() {
    let config = TelemetryConfig { log_filter: "a=b=c".to_owned(), ..Default::default() };
    assert!(init("test", &config).is_err());
}
