//! One node behind one URL: asks once, within limits, and says exactly what went wrong.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Deserializer};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::ask::{Answers, Ask, Request};
use super::budget::Budget;
use super::call::ANSWER_BYTES_MAX;
use super::error::{NodeError, NodeErrorKind, RpcError};
use super::wire;

/// Requests in one batch: geth takes 1,000, providers as few as 100.
const BATCH_MAX: usize = 100;
/// Bytes that are read within 0.5 ms: with more, other tasks notice.
const QUICK_BYTES: usize = 256 << 10;
/// Batches of one question that are on their way at once: providers count connections too.
const BATCHES_AT_ONCE: usize = 4;
/// Time to reach a node at all.
const CONNECT: Duration = Duration::from_secs(5);

/// An endpoint's URL. It may hold a key, so it is shown as scheme, host and port only.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// Why a text is no URL of an endpoint. The text is not repeated, because it may hold a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// No URL at all.
    #[error("this is no URL")]
    Unreadable,
    /// A scheme that we do not speak.
    #[error("the scheme {0} is not one of http, https, ws, wss")]
    Scheme(String),
    /// A URL without a host.
    #[error("the URL names no host")]
    NoHost,
}

impl EndpointUrl {
    /// Whether this is the URL of a WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        matches!(self.0.scheme(), "ws" | "wss")
    }

    /// The URL as reqwest takes it: a WebSocket starts as an HTTP request.
    pub(super) fn as_http(&self) -> Url {
        if !self.is_websocket() {
            return self.0.clone();
        }
        let text = self.0.as_str().replacen("ws", "http", 1);
        Url::parse(&text).expect("only the scheme of a valid URL was replaced")
    }
}

impl FromStr for EndpointUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(text).map_err(|_| InvalidUrl::Unreadable)?;
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
            return Err(InvalidUrl::Scheme(url.scheme().to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(InvalidUrl::NoHost);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({self})")
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A node that can be asked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    name: String,
    url: EndpointUrl,
    http: Client,
    budget: Option<Arc<Budget>>,
    sent: Arc<Sent>,
}

/// What was sent to an endpoint since it was made.
#[derive(Debug, Default)]
struct Sent {
    requests: AtomicU64,
    calls: AtomicU64,
}

/// An answer and the mean time that a request for it took, without waiting for the budget.
#[derive(Debug)]
pub(crate) struct Timed<T> {
    pub answer: T,
    pub took: Duration,
}

struct Received {
    body: String,
    results: wire::Results,
    took: Duration,
}

impl Endpoint {
    /// An endpoint known as `name` in errors, logs and metrics. Nothing is sent yet.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients, for instance without TLS roots.
    pub fn new(name: impl Into<String>, url: EndpointUrl) -> Result<Self, RpcError> {
        let name = name.into();
        let http = client().map_err(|source| RpcError::Transport { endpoint: name.clone(), source })?;
        Ok(Self { name, url, http, budget: None, sent: Arc::default() })
    }

    /// The endpoint with a budget: no more than this many JSON-RPC calls a second, after a first burst of as many.
    #[must_use]
    pub fn limited_to(self, per_second: NonZeroU32) -> Self {
        Self { budget: Some(Arc::new(Budget::new(per_second, Instant::now()))), ..self }
    }

    /// The name given at creation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// HTTP requests sent so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.sent.requests.load(Ordering::Relaxed)
    }

    /// JSON-RPC calls sent so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.sent.calls.load(Ordering::Relaxed)
    }

    /// Calls that may go right now; none where there is no budget.
    #[must_use]
    pub fn tokens(&self) -> Option<u32> {
        self.budget.as_ref().map(|budget| budget.left(Instant::now()))
    }

    /// Time until the budget allows another call.
    pub(crate) fn wait(&self) -> Duration {
        self.budget.as_ref().map(|budget| budget.wait(Instant::now())).unwrap_or_default()
    }

    /// Asks once. What is asked together travels in one batch, up to a limit. An answer of megabytes is read on
    /// this thread while the runtime goes on without it: who wants several of them read at once asks in tasks.
    ///
    /// # Errors
    /// If there is no answer, a malformed one, or a refusal by the node.
    pub async fn ask<A: Ask>(&self, ask: &A) -> Result<A::Answer, RpcError> {
        Ok(self.ask_timed(ask).await?.answer)
    }

    pub(crate) async fn ask_timed<A: Ask>(&self, ask: &A) -> Result<Timed<A::Answer>, RpcError> {
        let mut requests = Vec::new();
        ask.put(&mut requests);
        let batches: Vec<&[Request]> = requests.chunks(self.batch_max()).collect();
        let sends: Vec<_> = batches.iter().map(|batch| self.send(batch, ask.timeout())).collect();
        let mut received = stream::iter(sends).buffered(BATCHES_AT_ONCE);
        let mut answers = Answers::new(&self.name);
        let mut took = Duration::ZERO;
        for batch in &batches {
            let Some(one) = received.next().await else { break };
            let one = one?;
            took += one.took / u32::try_from(batches.len()).unwrap_or(u32::MAX);
            answers.add(batch, one.body, one.results);
        }
        let answer = aside(answers.size(), || ask.take(&mut answers))?;
        Ok(Timed { answer, took })
    }

    /// A batch larger than the burst would have to wait although nothing else is asked.
    fn batch_max(&self) -> usize {
        self.budget.as_ref().map_or(BATCH_MAX, |budget| budget.burst().min(BATCH_MAX))
    }

    async fn send(&self, batch: &[Request], timeout: Duration) -> Result<Received, RpcError> {
        if let Some(budget) = &self.budget {
            let spent = |wait| RpcError::Budget { endpoint: self.name.clone(), wait };
            sleep(budget.take(batch.len(), timeout, Instant::now()).map_err(spent)?).await;
        }
        self.sent.requests.fetch_add(1, Ordering::Relaxed);
        self.sent.calls.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let start = Instant::now();
        let method = batch.first().map_or("nothing", |request| request.method);
        let failed = |source: reqwest::Error| self.failure(source, timeout);
        let request = self.http.post(self.url.as_http()).json(&wire::body(batch)).timeout(timeout);
        let response = request.send().await.map_err(failed)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let endpoint = self.name.clone();
        let bytes_max = batch.iter().map(|request| request.bytes_max).min().unwrap_or(ANSWER_BYTES_MAX);
        let Some(body) = limited_body(response, bytes_max).await.map_err(failed)? else {
            return Err(RpcError::TooLarge { endpoint, method, bytes_max });
        };
        let took = start.elapsed();
        if !status.is_success() {
            let refused = str::from_utf8(&body).ok().and_then(wire::refusal);
            return Err(match refused.filter(|refused| tells_more(refused, status)) {
                Some(source) => RpcError::Node { endpoint, method, source },
                None => RpcError::Status { endpoint, status: status.as_u16(), retry_after },
            });
        }
        let body = String::from_utf8(body).map_err(|error| self.malformed(method, error.to_string()))?;
        let results = aside(body.len(), || wire::results(&body, batch.len()));
        Ok(Received { results: results.map_err(|why| self.malformed(method, why))?, body, took })
    }

    fn failure(&self, source: reqwest::Error, timeout: Duration) -> RpcError {
        let endpoint = self.name.clone();
        if source.is_timeout() {
            return RpcError::Timeout { endpoint, after: timeout };
        }
        RpcError::Transport { endpoint, source: source.without_url() }
    }

    fn malformed(&self, method: &'static str, why: String) -> RpcError {
        RpcError::Malformed { endpoint: self.name.clone(), method, why }
    }
}

/// HTTP/1.1 only: a WebSocket upgrade needs it, and an own connection for each request in flight
/// keeps one slow answer from holding up the others.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .http1_only()
        .connect_timeout(CONNECT)
        // A redirect would take the signed bytes and the key in the URL to a host no one named.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("seqd/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Whether the words in the body say more than the status: of these two, only words about the size of the answer do.
fn tells_more(refused: &NodeError, status: StatusCode) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => false,
        StatusCode::PAYLOAD_TOO_LARGE => refused.kind() == NodeErrorKind::TooMuch,
        _ => true,
    }
}

/// Does work on so many bytes, and if they are many, without holding up the other tasks of this thread. The
/// runtime of a test has a single thread, which cannot be left.
fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current().map(|handle| handle.runtime_flavor());
    if bytes > QUICK_BYTES && matches!(runtime, Ok(RuntimeFlavor::MultiThread)) {
        return block_in_place(work);
    }
    work()
}

fn retry_after(response: &Response) -> Option<Duration> {
    let secs = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// The body, or none if it is larger than this.
async fn limited_body(mut response: Response, bytes_max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = response.content_length().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    if announced > bytes_max {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_url_is_never_shown() {
        let url: EndpointUrl = "https://user:secret@node.example:8545/v3/secret?k=secret".parse().unwrap();
        assert_eq!(url.to_string(), "https://node.example:8545");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn only_urls_that_name_a_node_are_taken() {
        let refused = |text: &str| text.parse::<EndpointUrl>().unwrap_err();
        assert_eq!(refused("ftp://node"), InvalidUrl::Scheme("ftp".to_owned()));
        assert_eq!(refused("node:"), InvalidUrl::Scheme("node".to_owned()));
        assert_eq!(refused("8545"), InvalidUrl::Unreadable);
    }

    #[test]
    fn a_websocket_url_is_asked_for_over_http() {
        let url: EndpointUrl = "wss://node.example/ws".parse().unwrap();
        assert_eq!(url.as_http().as_str(), "https://node.example/ws");
    }
}
