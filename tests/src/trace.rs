//! One trace follows a call from the frontend's own span through the gateway and gRPC down to SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::trace::v1::Span;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::json;
use testkit::wait_for;

use crate::sink::{Sink, attribute};
use crate::stage::Stage;

/// Spans are sent in batches every few seconds.
const EXPORTED_MAX: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// What the trace must have.
struct Found {
    services: BTreeSet<String>,
    sql: Vec<Span>,
}

impl Found {
    fn of(spans: &[Span]) -> Self {
        let services =
            spans.iter().filter_map(|span| attribute(span, "service")).map(str::to_owned).collect();
        let is_sql = |span: &&Span| attribute(span, "db.system").is_some();
        Self { services, sql: spans.iter().filter(is_sql).cloned().collect() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_json_rpc_to_sql() -> Result<()> {
    let stage = Stage::set().await?;
    let sink = Sink::open().await?;
    let seqd = stage.seqd(&[("telemetry.otlp_endpoint", sink.url())]).await?;
    let (frontend, _) = stage.frontend().await?;
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(&format!("00-{TRACE}-{CALLER}-01"))?);
    let answer = frontend.ask_with("sequencer_list", json!({ "network": "devnet" }), headers).await?;
    answer.context("the list")?;

    let id = hex::decode(TRACE)?;
    let spans = wait_for("the trace has come from gateway, lifecycle and SQL", EXPORTED_MAX, || async {
        let spans = sink.trace(&id);
        let found = Found::of(&spans);
        let services = ["gateway", "lifecycle"].iter().all(|name| found.services.contains(*name));
        (services && !found.sql.is_empty()).then_some(spans)
    })
    .await;
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let caller = hex::decode(CALLER)?;
    for query in Found::of(&spans).sql {
        let path = path(&by_id, &query);
        let services: Vec<&str> = path.iter().filter_map(|span| attribute(span, "service")).collect();
        let root = path.last().context("a path has an end")?;
        assert_eq!(root.parent_span_id, caller, "the path of {} begins at the caller: {path:?}", query.name);
        assert_eq!(services.last(), Some(&"gateway"), "{} comes from the gateway: {path:?}", query.name);
    }
    let answered_by_sql_of_lifecycle = Found::of(&spans)
        .sql
        .iter()
        .any(|query| path(&by_id, query).iter().any(|span| attribute(span, "service") == Some("lifecycle")));
    assert!(answered_by_sql_of_lifecycle, "{spans:?}");
    drop(seqd);
    stage.strike().await
}

/// From a span up to the first that has no parent among these.
fn path<'a>(by_id: &BTreeMap<&[u8], &'a Span>, from: &'a Span) -> Vec<&'a Span> {
    let mut path = vec![from];
    let mut span = from;
    while let Some(parent) = by_id.get(span.parent_span_id.as_slice()) {
        path.push(parent);
        span = parent;
    }
    path
}
