//! A frontend: JSON-RPC over HTTP, as any page or script would send it.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// Longer than any deadline of the gateway.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Calls one gateway.
#[derive(Debug, Clone)]
pub struct JsonRpc {
    url: String,
    key: Option<String>,
    http: reqwest::Client,
}

/// The error object of an answer.
#[derive(Debug, Clone)]
pub struct Fault(pub Value);

impl JsonRpc {
    /// Calls the gateway at `url`, with an API key if there is one.
    pub fn to(url: &str, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        let http = http.expect("a client without TLS settings can be built");
        Self { url: url.to_owned(), key: key.map(str::to_owned), http }
    }

    /// The result, or the error object of the answer.
    ///
    /// # Errors
    /// When the answer is no JSON-RPC.
    pub async fn ask(&self, method: &str, params: Value) -> Result<Result<Value, Fault>> {
        self.ask_with(method, params, HeaderMap::new()).await
    }

    /// The same with more headers.
    ///
    /// # Errors
    /// When the answer is no JSON-RPC.
    pub async fn ask_with(
        &self,
        method: &str,
        params: Value,
        headers: HeaderMap,
    ) -> Result<Result<Value, Fault>> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut request = self.http.post(&self.url).headers(headers).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.with_context(|| format!("calling {method}"))?;
        let mut answer: Value =
            answer.json().await.with_context(|| format!("reading the answer of {method}"))?;
        ensure!(answer["jsonrpc"] == "2.0" && answer["id"] == 1, "no answer to {method}: {answer}");
        Ok(match answer.get_mut("error") {
            Some(error) => Err(Fault(error.take())),
            None => Ok(answer["result"].take()),
        })
    }

    /// The result of a call that is expected to succeed.
    ///
    /// # Errors
    /// When it does not.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.ask(method, params).await?.with_context(|| format!("{method} was refused"))
    }
}

impl Fault {
    /// Name of the reason.
    pub fn reason(&self) -> &str {
        self.0["data"]["reason"].as_str().unwrap_or_default()
    }

    /// The bad field named first.
    pub fn field(&self) -> &str {
        self.0["data"]["fields"][0]["field"].as_str().unwrap_or_default()
    }

    /// Code of the error.
    pub fn code(&self) -> i64 {
        self.0["code"].as_i64().unwrap_or_default()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}
