//! One node behind one URL: asks once, within limits, and says exactly what went wrong.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Deserializer};

use super::ask::{Answers, Ask, Request};
use super::error::RpcError;
use super::wire;

/// Requests in one batch: geth takes 1,000, providers as few as 100.
const BATCH_MAX: usize = 100;
/// Bytes of one answer: 100,000 logs are about 63 MB, and ranges are kept far below that.
const ANSWER_BYTES_MAX: usize = 128 << 20;
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
}

impl Endpoint {
    /// An endpoint known as `name` in errors, logs and metrics. Nothing is sent yet.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients, for instance without TLS roots.
    pub fn new(name: impl Into<String>, url: EndpointUrl) -> Result<Self, RpcError> {
        let name = name.into();
        let http = client().map_err(|source| RpcError::Transport { endpoint: name.clone(), source })?;
        Ok(Self { name, url, http })
    }

    /// The name given at creation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks once. What is asked together travels in one batch, up to a limit.
    ///
    /// # Errors
    /// If there is no answer, a malformed one, or a refusal by the node.
    pub async fn ask<A: Ask>(&self, ask: &A) -> Result<A::Answer, RpcError> {
        let mut requests = Vec::new();
        ask.put(&mut requests);
        let mut answers = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH_MAX) {
            let results = self.send(batch, ask.timeout()).await?;
            answers.extend(batch.iter().map(|request| request.method).zip(results));
        }
        ask.take(&mut Answers::new(&self.name, answers))
    }

    async fn send(&self, batch: &[Request], timeout: Duration) -> Result<wire::Results, RpcError> {
        let method = batch.first().map_or("nothing", |request| request.method);
        let failed = |source: reqwest::Error| self.failure(source, timeout);
        let request = self.http.post(self.url.as_http()).json(&wire::body(batch)).timeout(timeout);
        let response = request.send().await.map_err(failed)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = match limited_body(response).await.map_err(failed)? {
            Some(body) => body,
            None => return Err(self.malformed(method, format!("more than {ANSWER_BYTES_MAX} bytes"))),
        };
        if !status.is_success() {
            let refused = wire::refusal(&body).filter(|_| status != StatusCode::TOO_MANY_REQUESTS);
            let endpoint = self.name.clone();
            return Err(match refused {
                Some(source) => RpcError::Node { endpoint, method, source },
                None => RpcError::Status { endpoint, status: status.as_u16(), retry_after },
            });
        }
        wire::results(&body, batch.len()).map_err(|why| self.malformed(method, why))
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

fn retry_after(response: &Response) -> Option<Duration> {
    let secs = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// The body, or none if it is larger than we take.
async fn limited_body(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
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
