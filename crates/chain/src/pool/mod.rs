//! Several endpoints of one chain, asked as one.
//!
//! Each question goes to the endpoint that is doing best and, when that one fails, to the next: the caller keeps its
//! place, because every question says which block it is about ([`ask`]). A broadcast goes to all of them. Who does
//! best is decided in [`health`]; whether an endpoint told the truth is for the caller to find out and to say, with
//! [`Pool::distrust`] and [`Pool::shut_out`].

mod ask;
mod heads;
mod health;
mod member;

use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use futures::future::join_all;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tracing::warn;

use crate::broadcast::{Remedy, SendVerdict};
use crate::rpc::{EndpointUrl, Header, InvalidUrl, RpcError, call};
pub use health::{At, Identity};
use member::Member;

/// Where one node of a chain is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// Name in logs and metrics; scheme, host and port if none is given.
    pub name: Option<String>,
    /// URL for questions.
    pub http: EndpointUrl,
    /// URL for new heads; without one they are polled.
    pub ws: Option<EndpointUrl>,
    /// JSON-RPC calls that it may be asked in a second; none is no limit.
    pub requests_per_second: Option<NonZeroU32>,
}

impl From<EndpointUrl> for EndpointConfig {
    fn from(http: EndpointUrl) -> Self {
        Self { name: None, http, ws: None, requests_per_second: None }
    }
}

impl FromStr for EndpointConfig {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        url.parse::<EndpointUrl>().map(Self::from)
    }
}

/// How a pool behaves.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Time between two looks for a new head where there is no WebSocket.
    pub poll_every: Duration,
    /// Silence of a WebSocket after which a poll finds out whether the chain went on without it.
    pub quiet_max: Duration,
    /// Time for which an endpoint on a fork of its own is not asked whether it has come back.
    pub fork_pause: Duration,
    /// Endpoints that must agree before logs of final blocks are believed; for the caller to observe.
    pub quorum: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        // Connections die without a word; on a chain with blocks every 12 s a look in between costs little.
        let quiet_max = Duration::from_secs(5);
        let fork_pause = Duration::from_secs(600);
        Self { poll_every: Duration::from_millis(250), quiet_max, fork_pause, quorum: 1 }
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

/// One endpoint of a pool, for as long as the pool lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(usize);

/// How one endpoint is doing, for people and metrics.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// The endpoint.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// Whether it serves our chain.
    pub identity: Identity,
    /// Moving average of the time to the answer to a small read.
    pub latency: Option<Duration>,
    /// Moving share of questions that failed, 0 to 1.
    pub failure_rate: f64,
    /// Whether it is left alone for the moment.
    pub rests: bool,
    /// Whether it goes after all others, because it gave an incomplete or contradictory answer.
    pub distrusted: bool,
    /// Whether it is shut out because it is on a fork of its own.
    pub fork: bool,
    /// The newest block it told of.
    pub head: Option<u64>,
    /// HTTP requests sent to it.
    pub requests: u64,
    /// JSON-RPC calls sent to it.
    pub calls: u64,
    /// Questions that failed by its fault.
    pub failures: u64,
    /// Incomplete or contradictory answers.
    pub distrusts: u64,
    /// Calls that its budget allows right now; none where it has no budget.
    pub tokens: Option<u32>,
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
        let member = |one| Member::new(one).map_err(|source| PoolError::Client { chain_id, source });
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
        join_all(pool.0.members.iter().map(|member| member.prove(&pool.0, false))).await;
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

    /// Number of endpoints.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a pool without endpoints is not made")]
    pub fn len(&self) -> usize {
        self.0.members.len()
    }

    /// Endpoints that must agree before logs of final blocks are believed.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.0.options.quorum
    }

    /// Name of an endpoint of this pool.
    #[must_use]
    pub fn name(&self, id: EndpointId) -> &str {
        self.0.members[id.0].endpoint.name()
    }

    /// Notes an incomplete or contradictory answer: the endpoint goes after all others for five minutes.
    pub fn distrust(&self, id: EndpointId, why: &str) {
        let endpoint = self.name(id);
        warn!(endpoint, "{endpoint} is distrusted: {why}");
        self.0.members[id.0].health().distrust(Instant::now());
    }

    /// Shuts out an endpoint that has another block at this height than our chain. It is left alone for
    /// a while, and then has to prove that it has this block before it is asked anything else.
    pub fn shut_out(&self, id: EndpointId, at: At) {
        let (endpoint, number) = (self.name(id), at.number);
        warn!(endpoint, number, "{endpoint} is on a fork of its own at block {number} and is shut out");
        self.0.members[id.0].health().shut_out(at, Instant::now() + self.0.options.fork_pause);
    }

    /// Hands a signed transaction to every endpoint that is not shut out. Gives the answers until one has taken it, or
    /// all of them where none has: a transaction in one pool does not wait for the slowest endpoint. The others are
    /// asked on behind our back, and `heard` is told of every answer, whenever it comes.
    pub async fn broadcast(
        &self,
        raw: &Bytes,
        heard: impl Fn(&SendAnswer) + Clone + Send + 'static,
    ) -> Vec<SendAnswer> {
        let order = self.order();
        let (tell, mut told) = mpsc::channel(order.len().max(1));
        for place in order {
            let (shared, raw, tell, heard) = (self.0.clone(), raw.clone(), tell.clone(), heard.clone());
            tokio::spawn(async move {
                let member = &shared.members[place];
                let answer = member.ask(&call::send_raw_transaction(&raw), &shared, false).await;
                let verdict = SendVerdict::of(&answer);
                let answer = SendAnswer { endpoint: member.endpoint.name().to_owned(), answer, verdict };
                heard(&answer);
                // Fails when another endpoint has taken it, and nobody waits any more.
                let _ = tell.send(answer).await;
            });
        }
        drop(tell);
        let mut answers = Vec::new();
        while let Some(answer) = told.recv().await {
            let taken = answer.verdict.remedy() == Remedy::Watch;
            answers.push(answer);
            if taken {
                break;
            }
        }
        answers
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
        self.0
            .members
            .iter()
            .enumerate()
            .map(|(place, member)| member.status(EndpointId(place), now))
            .collect()
    }

    fn order(&self) -> Vec<usize> {
        let look = |member: &Member| (member.health().clone(), member.endpoint.wait());
        let all: Vec<_> = self.0.members.iter().map(look).collect();
        health::order(&all, Instant::now())
    }
}

impl EndpointStatus {
    /// Whether it is asked at all: not shut out, and not resting after failures.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.identity.is_foreign() && !self.rests
    }

    fn other_chain(self) -> Option<(String, u64)> {
        match self.identity {
            Identity::Other(found) => Some((self.name, found)),
            Identity::Unproven | Identity::Ours | Identity::Fork { .. } => None,
        }
    }
}
