//! The HTTP client for nodes: within a time limit and a size; where it may go is `chain::outbound`'s.

use std::time::Duration;

use chain::outbound::{self, Forbidden, Lookup, Policy, Unanswered};
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The setting that opens networks to nodes.
pub const SETTING: &str = "indexer.nodes.allow";
/// A healthy process answers within milliseconds; one that needs longer is not healthy.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// The largest honest answer, the peer list of a busy node, is well below.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longer sentences about an error help nobody.
const WHY_CHARS_MAX: usize = 200;

/// Asks nodes. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client(outbound::Client);

/// What wraps all answers.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) result: T,
}

impl Client {
    /// A client that asks the system for addresses.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn new(policy: Policy) -> Result<Self, reqwest::Error> {
        outbound::Client::new(policy, ANSWER_WAIT).map(Self)
    }

    /// A client that asks `lookup` for addresses.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn with_lookup(policy: Policy, lookup: Lookup) -> Result<Self, reqwest::Error> {
        outbound::Client::with_lookup(policy, ANSWER_WAIT, lookup).map(Self)
    }

    /// Whether all that a URL leads to now is allowed, as [`outbound::Client::admits`].
    ///
    /// # Errors
    /// [`Forbidden`] with the kind of the first address that is not.
    pub async fn admits(&self, url: &str) -> Result<(), Forbidden> {
        self.0.admits(url).await
    }

    /// The answer to a GET as JSON; an error is a sentence for people.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: String) -> Result<T, String> {
        read(self.look(url).await?).await
    }

    /// The answer to a GET, whatever its status.
    pub(super) async fn look(&self, url: String) -> Result<Response, String> {
        self.ask(self.0.get(&url)).await
    }

    /// The result of a JSON-RPC call without parameters.
    pub(super) async fn rpc<T: DeserializeOwned>(&self, url: &str, method: &str) -> Result<T, String> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] });
        let answer: Answer<T> = read(self.ask(self.0.post(url).json(&call)).await?).await?;
        Ok(answer.result)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, String> {
        self.0.send(request).await.map_err(sentence)
    }
}

/// The body of a good answer as JSON.
pub(super) async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T, String> {
    if !response.status().is_success() {
        return Err(format!("it answers with HTTP status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| sentence(Unanswered::Http(error)))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("its answer is too large".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| "its answer is not what this process answers".to_owned())
}

/// What went wrong, in words without the URL, which is the operator's business.
fn sentence(unanswered: Unanswered) -> String {
    let mut text = unanswered.sentence(ANSWER_WAIT);
    text.truncate(text.char_indices().nth(WHY_CHARS_MAX).map_or(text.len(), |(end, _)| end));
    text
}
