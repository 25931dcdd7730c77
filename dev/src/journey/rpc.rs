//! JSON-RPC as a frontend speaks it: over HTTP, with an API key.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A frontend's connection to the gateway.
#[derive(Debug)]
pub(super) struct JsonRpc {
    url: String,
    key: String,
    http: reqwest::Client,
    calls: AtomicU64,
}

impl JsonRpc {
    pub(super) fn new(url: &str, key: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        let http = http.context("making an HTTP client")?;
        Ok(Self { url: url.to_owned(), key: key.to_owned(), http, calls: AtomicU64::new(1) })
    }

    /// Calls a method with named params.
    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = self.http.post(&self.url).bearer_auth(&self.key).json(&call).send().await;
        let answer = answer.with_context(|| format!("calling {method}"))?;
        let mut answer: Value =
            answer.json().await.with_context(|| format!("reading the answer of {method}"))?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {} ({})", error["message"], error["data"]);
        }
        Ok(answer["result"].take())
    }
}
