//! Several endpoints of one chain, asked as one.
//!
//! Each question goes to the endpoint that is doing best and, when that one fails, to the next: the
//! caller keeps its place, because every question says which block it is about. A broadcast goes to
//! all of them. Hedging, quorum and budgets are not here yet; they belong between
//! [`Pool::ask`] and the order in [`health`].

mod heads;
mod health;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use futures::future::join_all;
use futures::stream::BoxStream;
use serde::Deserialize;
use tracing::{debug, warn};

use crate::broadcast::SendVerdict;
use crate::rpc::{Ask, Endpoint, EndpointUrl, Header, RpcError, call};
use health::Health;
pub use health::Identity;

/// Endpoints tried for one question: with more, the caller waits longer than its question is worth.
const TRIES_MAX: usize = 3;

/// Where one node of a chain is found.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Name in logs and metrics; scheme, host and port if none is given.
    #[serde(default)]
    pub name: Option<String>,
    /// URL for questions.
    pub http: EndpointUrl,
    /// URL for new heads; without one they are polled.
    #[serde(default)]
    pub ws: Option<EndpointUrl>,
}

impl From<EndpointUrl> for EndpointConfig {
    fn from(http: EndpointUrl) -> Self {
        Self { name: None, http, ws: None }
    }
}

/// How a pool behaves.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Time between two looks for a new head where there is no WebSocket.
    pub poll_every: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { poll_every: Duration::from_millis(250) }
    }
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// No endpoint was configured.
    #[error("no endpoint is configured for chain {chain_id}")]
    NoEndpoints {
        /// The chain.
        chain_id: u64,
    },
    /// Every endpoint that answered serves another chain.
    #[error("no endpoint serves chain {expected}: {endpoint} serves chain {found}")]
    WrongChain {
        /// The chain we want.
        expected: u64,
        /// One of the endpoints.
        endpoint: String,
        /// The chain it serves.
        found: u64,
    },
    /// No HTTP client can be made in this process.
    #[error("making the client of an endpoint of chain {chain_id}")]
    Client {
        /// The chain.
        chain_id: u64,
        /// The cause.
        #[source]
        source: RpcError,
    },
}

/// How one endpoint is doing, for people and metrics.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// Name of the endpoint.
    pub name: String,
    /// Whether it serves our chain.
    pub identity: Identity,
    /// Moving average of the time to an answer.
    pub latency: Option<Duration>,
    /// Moving share of questions that failed, 0 to 1.
    pub failure_rate: f64,
    /// Whether it is left alone for the moment.
    pub rests: bool,
    /// The newest block it told of.
    pub head: Option<u64>,
}

/// What one endpoint said to a broadcast.
#[derive(Debug)]
pub struct SendAnswer {
    /// Name of the endpoint.
    pub endpoint: String,
    /// Its answer as it came.
    pub answer: Result<B256, RpcError>,
    /// What the answer means.
    pub verdict: SendVerdict,
}

#[derive(Debug)]
struct Member {
    endpoint: Endpoint,
    ws: Option<EndpointUrl>,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Shared {
    chain_id: u64,
    options: PoolOptions,
    members: Vec<Member>,
}

/// The endpoints of one chain. Clones share everything.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

impl Pool {
    /// A pool of these endpoints, without asking any: each has its chain checked before its first
    /// use.
    ///
    /// # Errors
    /// If there are no endpoints, or no HTTP client can be made.
    pub fn new(
        chain_id: u64,
        endpoints: Vec<EndpointConfig>,
        options: PoolOptions,
    ) -> Result<Self, PoolError> {
        if endpoints.is_empty() {
            return Err(PoolError::NoEndpoints { chain_id });
        }
        let member = |EndpointConfig { name, http, ws }| {
            let name = name.unwrap_or_else(|| http.to_string());
            let endpoint =
                Endpoint::new(name, http).map_err(|source| PoolError::Client { chain_id, source })?;
            Ok(Member { endpoint, ws, health: Mutex::new(Health::new()) })
        };
        let members = endpoints.into_iter().map(member).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Shared { chain_id, options, members })))
    }

    /// A pool whose endpoints were asked for their chain. One that cannot be reached is asked again
    /// before its first use; one of another chain is shut out.
    ///
    /// # Errors
    /// As [`Pool::new`], and if endpoints answered but none of them serves this chain.
    pub async fn connect(
        chain_id: u64,
        endpoints: Vec<EndpointConfig>,
        options: PoolOptions,
    ) -> Result<Self, PoolError> {
        let pool = Self::new(chain_id, endpoints, options)?;
        join_all(pool.0.members.iter().map(|member| member.prove(chain_id))).await;
        let status = pool.status();
        let hopeful = status.iter().any(|one| !matches!(one.identity, Identity::Other(_)));
        match status.into_iter().find_map(|one| one.other_chain()) {
            Some((endpoint, found)) if !hopeful => {
                Err(PoolError::WrongChain { expected: chain_id, endpoint, found })
            }
            _ => Ok(pool),
        }
    }

    /// The chain of this pool.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.0.chain_id
    }

    /// Asks the endpoint that is doing best, and on its failure the next ones.
    ///
    /// # Errors
    /// The node's refusal, or the most telling failure if no endpoint gave an answer.
    pub async fn ask<A: Ask>(&self, ask: A) -> Result<A::Answer, RpcError> {
        let mut failure = RpcError::NoEndpoint { chain_id: self.0.chain_id };
        for place in self.order().into_iter().take(TRIES_MAX) {
            let error = match self.0.members[place].ask(&ask, self.0.chain_id).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_endpoints_fault() {
                return Err(error);
            }
            debug!(error = &error as &dyn std::error::Error, "an endpoint failed, asking the next");
            // "I do not have that block" tells the caller more than "I cannot be reached".
            if failure.node().is_none() {
                failure = error;
            }
        }
        Err(failure)
    }

    /// Hands a signed transaction to every endpoint that is not shut out, and keeps every answer.
    pub async fn broadcast(&self, raw: &Bytes) -> Vec<SendAnswer> {
        let send = |place: usize| async move {
            let member = &self.0.members[place];
            let answer = member.ask(&call::send_raw_transaction(raw), self.0.chain_id).await;
            let verdict = SendVerdict::of(&answer);
            SendAnswer { endpoint: member.endpoint.name().to_owned(), answer, verdict }
        };
        join_all(self.order().into_iter().map(send)).await
    }

    /// The heads of the chain as they come, for ever. Heads may be skipped, and a head may be lower
    /// than one before it, after a reorg or from an endpoint that lags: look at the parent hashes.
    #[must_use]
    pub fn heads(&self) -> BoxStream<'static, Header> {
        heads::stream(self.clone())
    }

    /// How each endpoint is doing, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<EndpointStatus> {
        let now = Instant::now();
        self.0.members.iter().map(|member| member.status(now)).collect()
    }

    fn order(&self) -> Vec<usize> {
        let all: Vec<Health> = self.0.members.iter().map(|member| member.health().clone()).collect();
        health::order(&all, Instant::now())
    }
}

impl EndpointStatus {
    fn other_chain(self) -> Option<(String, u64)> {
        match self.identity {
            Identity::Other(found) => Some((self.name, found)),
            Identity::Unproven | Identity::Ours => None,
        }
    }
}

impl Member {
    fn health(&self) -> MutexGuard<'_, Health> {
        // A panic elsewhere leaves at worst a stale score.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the endpoint for its chain, unless that is known.
    async fn prove(&self, chain_id: u64) -> Result<(), RpcError> {
        if self.health().identity == Identity::Ours {
            return Ok(());
        }
        let found = self.timed(&call::chain_id()).await?;
        if found == chain_id {
            self.health().identity = Identity::Ours;
            return Ok(());
        }
        self.health().identity = Identity::Other(found);
        let endpoint = self.endpoint.name().to_owned();
        warn!(endpoint, "{endpoint} serves chain {found} instead of {chain_id} and is shut out");
        Err(RpcError::WrongChain { endpoint, expected: chain_id, found })
    }

    async fn ask<A: Ask>(&self, ask: &A, chain_id: u64) -> Result<A::Answer, RpcError> {
        self.prove(chain_id).await?;
        self.timed(ask).await
    }

    async fn timed<A: Ask>(&self, ask: &A) -> Result<A::Answer, RpcError> {
        let start = Instant::now();
        let answer = self.endpoint.ask(ask).await;
        match &answer {
            Ok(answer) => self.health().answered(start.elapsed(), ask.head_in(answer)),
            Err(error) => self.health().failed(error, Instant::now()),
        }
        answer
    }

    fn status(&self, now: Instant) -> EndpointStatus {
        let Health { identity, latency, failure_rate, failures_in_a_row: _, rests_until, head } =
            self.health().clone();
        let rests = rests_until.is_some_and(|until| until > now);
        EndpointStatus { name: self.endpoint.name().to_owned(), identity, latency, failure_rate, rests, head }
    }
}
