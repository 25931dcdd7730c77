//! The node behind the proxy: bytes to it and from it, and what a fault has to know about its chain.

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderValue, Request, Response, Uri, header, uri::Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use super::rewrite::quantity;
use crate::Error;

/// An answer with the logs of a million events has 0.7 GB.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Why the node gave nothing that could be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error("reaching the node")]
    Reach(#[source] ClientError),
    #[error("reading what the node says")]
    Read(#[source] axum::Error),
    #[error("what the node says is not JSON")]
    Json(#[source] serde_json::Error),
}

#[derive(Debug)]
pub(super) struct Upstream {
    uri: Uri,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let refused = || Error::NotAUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        if uri.scheme() != Some(&Scheme::HTTP) || uri.host().is_none() {
            return Err(refused());
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self { uri, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Its WebSocket, which nodes in front of which we stand have at the same place.
    pub(super) fn ws_url(&self) -> String {
        self.uri.to_string().replacen("http", "ws", 1)
    }

    /// Asks, and gives the answer as it comes.
    pub(super) async fn forward(&self, body: Bytes) -> Result<Response<Incoming>, UpstreamError> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = axum::http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.client.request(request).await.map_err(UpstreamError::Reach)
    }

    /// Asks, and gives the answer when all of it is here.
    pub(super) async fn ask(&self, body: Bytes) -> Result<Response<Bytes>, UpstreamError> {
        let (head, answer) = self.forward(body).await?.into_parts();
        let answer = to_bytes(Body::new(answer), ANSWER_BYTES_MAX).await.map_err(UpstreamError::Read)?;
        Ok(Response::from_parts(head, answer))
    }

    async fn block(&self, method: &str, block: &str) -> Option<u64> {
        let question = json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": [block, false] });
        let answer = self.ask(question.to_string().into()).await.ok()?.into_body();
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        quantity(&answer["result"]["number"])
    }

    /// Height of a tag as in `latest`; none if the node does not say.
    pub(super) async fn height(&self, tag: &str) -> Option<u64> {
        self.block("eth_getBlockByNumber", tag).await
    }

    /// Height of a block; none if the node does not have it.
    pub(super) async fn height_of(&self, hash: &str) -> Option<u64> {
        self.block("eth_getBlockByHash", hash).await
    }
}
