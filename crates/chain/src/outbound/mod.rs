//! HTTP to where others say: nodes and webhooks that somebody registered. Only to addresses that the [`Policy`] allows,
//! which are looked at again at every connection, because a name can lead elsewhere by then, and without redirects or
//! proxies. What is asked, and what an answer means, is the caller's.

mod policy;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use reqwest::{RequestBuilder, Response, Url};
use tokio::time::timeout;

pub use policy::{Forbidden, Policy};

/// No host of ours has more addresses.
const ADDRESSES_MAX: usize = 32;

/// How names become addresses; tests have their own.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Sends requests within the policy. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    policy: Arc<Policy>,
    lookup: Lookup,
    wait: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The URL leads where this service may not go: nothing was sent.
    #[error("its address {0}")]
    Forbidden(Forbidden),
    /// A request that cannot be made, a host that cannot be reached, or one that is too slow.
    #[error("sending a request")]
    Http(#[source] reqwest::Error),
}

impl Unanswered {
    /// In words without the URL, which is its owner's business.
    #[must_use]
    pub fn sentence(self, wait: Duration) -> String {
        match self {
            Self::Forbidden(forbidden) => forbidden.to_string(),
            Self::Http(error) => match forbidden(&error) {
                Some(forbidden) => format!("its name {forbidden}"),
                None if error.is_timeout() => format!("no answer within {} s", wait.as_secs()),
                None if error.is_connect() => "it cannot be reached".to_owned(),
                None => report(&error.without_url()),
            },
        }
    }
}

/// The whole chain of causes in one line; `runtime` may not be used here.
fn report(error: &dyn std::error::Error) -> String {
    let rest = std::iter::successors(error.source(), |error| error.source());
    rest.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn forbidden(error: &reqwest::Error) -> Option<&Forbidden> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
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
            // What was checked is what is connected to: the address is not looked up a second time.
            let allowed = policy.allowed(&found.await?)?;
            Ok(Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
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
    /// A client that asks the system for addresses; `wait` is the limit of a whole request.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn new(policy: Policy, wait: Duration) -> Result<Self, reqwest::Error> {
        Self::with_lookup(policy, wait, system())
    }

    /// A client that asks `lookup` for addresses.
    ///
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn with_lookup(policy: Policy, wait: Duration, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let policy = Arc::new(policy);
        let http = reqwest::Client::builder()
            .timeout(wait)
            .connect_timeout(wait)
            // A redirect could lead to what the policy forbids, and a proxy would look names up by itself.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Resolver { policy: policy.clone(), lookup: lookup.clone() })
            .user_agent(concat!("seqd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, policy, lookup, wait })
    }

    /// Longest time of a whole request.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
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
        match timeout(self.wait, (self.lookup)(host.to_owned())).await {
            Ok(Ok(addresses)) => addresses.into_iter().try_for_each(|address| self.policy.check(address)),
            _ => Ok(()),
        }
    }

    /// A GET that [`Client::send`] may send.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.http.get(url)
    }

    /// A POST that [`Client::send`] may send.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.http.post(url)
    }

    /// The answer, whatever its status.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Unanswered> {
        let request = request.build().map_err(Unanswered::Http)?;
        // The resolver never sees an address that was written as one.
        if let Some(address) = request.url().host_str().and_then(literal) {
            self.policy.check(address).map_err(Unanswered::Forbidden)?;
        }
        self.http.execute(request).await.map_err(Unanswered::Http)
    }
}

/// The address of a host that is written as one; parsing the URL has made decimal and octal forms plain.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
