//! The HTTP client for nodes: within a time limit and a size, without redirects or proxies, and only to addresses that
//! the policy allows, which are looked at again at every connection, because a name can lead elsewhere by then.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use reqwest::{RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::policy::{Forbidden, Policy};

/// A healthy process answers within milliseconds; one that needs longer is not healthy.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// The largest honest answer, the peer list of a busy node, is well below.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longer sentences about an error help nobody.
const WHY_CHARS_MAX: usize = 200;
/// No node has more addresses.
const ADDRESSES_MAX: usize = 32;

/// How names become addresses; tests have their own.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Asks nodes. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    policy: Arc<Policy>,
    lookup: Lookup,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("policy", &self.policy).finish_non_exhaustive()
    }
}

struct Resolver {
    policy: Arc<Policy>,
    lookup: Lookup,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, found) = (self.policy.clone(), (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let allowed = policy.allowed(&found.await?)?;
            Ok(Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// What wraps all answers.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) result: T,
}

fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.take(ADDRESSES_MAX).map(|address| address.ip()).collect())
        })
    })
}

impl Client {
    /// A client that asks the system for addresses.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn new(policy: Policy) -> Result<Self, reqwest::Error> {
        Self::with_lookup(policy, system())
    }

    /// A client that asks `lookup` for addresses.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn with_lookup(policy: Policy, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let policy = Arc::new(policy);
        let http = reqwest::Client::builder()
            .timeout(ANSWER_WAIT)
            .connect_timeout(ANSWER_WAIT)
            // A redirect could lead to what the policy forbids, and a proxy would look names up by itself.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Resolver { policy: policy.clone(), lookup: lookup.clone() })
            .user_agent(concat!("seqd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, policy, lookup })
    }

    /// Whether all that a URL leads to now is allowed. A name that leads nowhere is: nothing can be reached by it, and
    /// every connection is checked again.
    ///
    /// # Errors
    /// [`Forbidden`] with the kind of the first address that is not.
    pub async fn admits(&self, url: &str) -> Result<(), Forbidden> {
        let Ok(url) = Url::parse(url) else { return Ok(()) };
        let Some(host) = url.host_str() else { return Ok(()) };
        if let Some(address) = literal(host) {
            return self.policy.check(address);
        }
        match timeout(ANSWER_WAIT, (self.lookup)(host.to_owned())).await {
            Ok(Ok(addresses)) => addresses.into_iter().try_for_each(|address| self.policy.check(address)),
            _ => Ok(()),
        }
    }

    /// The answer to a GET as JSON; an error is a sentence for people.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: String) -> Result<T, String> {
        read(self.ask(self.http.get(url)).await?).await
    }

    /// The answer to a GET, whatever its status.
    pub(super) async fn look(&self, url: String) -> Result<Response, String> {
        self.ask(self.http.get(url)).await
    }

    /// The result of a JSON-RPC call without parameters.
    pub(super) async fn rpc<T: DeserializeOwned>(&self, url: &str, method: &str) -> Result<T, String> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] });
        let answer: Answer<T> = read(self.ask(self.http.post(url).json(&call)).await?).await?;
        Ok(answer.result)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, String> {
        let request = request.build().map_err(sentence)?;
        // The resolver never sees an address that was written as one.
        if let Some(address) = request.url().host_str().and_then(literal) {
            self.policy.check(address).map_err(|forbidden| forbidden.to_string())?;
        }
        self.http.execute(request).await.map_err(sentence)
    }
}

/// The address of a host that is written as one; parsing the URL has made decimal and octal forms plain.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The body of a good answer as JSON.
pub(super) async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T, String> {
    if !response.status().is_success() {
        return Err(format!("it answers with HTTP status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(sentence)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("its answer is too large".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| "its answer is not what this process answers".to_owned())
}

/// What went wrong, in words without the URL, which is the operator's business.
fn sentence(error: reqwest::Error) -> String {
    let mut text = if let Some(forbidden) = forbidden(&error) {
        format!("its name {forbidden}")
    } else if error.is_timeout() {
        format!("no answer within {} s", ANSWER_WAIT.as_secs())
    } else if error.is_connect() {
        "it cannot be reached".to_owned()
    } else {
        runtime::report(&error.without_url())
    };
    text.truncate(text.char_indices().nth(WHY_CHARS_MAX).map_or(text.len(), |(end, _)| end));
    text
}

fn forbidden(error: &reqwest::Error) -> Option<&Forbidden> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
}
