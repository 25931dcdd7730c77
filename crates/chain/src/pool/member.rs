//! One endpoint of a pool with its record: proves its chain before it is used, and keeps the score.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::{info, warn};

use super::health::{Admission, At, Health, Identity, PROBE};
use super::{EndpointConfig, EndpointId, EndpointStatus, Shared};
use crate::rpc::{Ask, BlockId, Endpoint, EndpointUrl, RpcError, call};

#[derive(Debug)]
pub(super) struct Member {
    pub endpoint: Endpoint,
    pub ws: Option<EndpointUrl>,
    health: Mutex<Health>,
}

impl Member {
    /// # Errors
    /// If this process cannot make HTTP clients.
    pub fn new(config: EndpointConfig) -> Result<Self, RpcError> {
        let EndpointConfig { name, http, ws, requests_per_second } = config;
        let endpoint = Endpoint::new(name.unwrap_or_else(|| http.to_string()), http)?;
        let endpoint = match requests_per_second {
            Some(limit) => endpoint.limited_to(limit),
            None => endpoint,
        };
        Ok(Self { endpoint, ws, health: Mutex::new(Health::new()) })
    }

    pub fn health(&self) -> MutexGuard<'_, Health> {
        // A panic elsewhere leaves at worst a stale score.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn admit(&self, elsewhere: bool) -> Admission {
        self.health().admit(elsewhere, Instant::now())
    }

    /// Asks, once the endpoint has proven its chain; as a probe it must prove it anew.
    pub async fn ask<A: Ask>(&self, ask: &A, pool: &Shared, probe: bool) -> Result<A::Answer, RpcError> {
        self.prove(pool, probe).await?;
        self.timed(ask).await
    }

    /// Asks the endpoint for its chain, unless that is known, and for our block where it was on a fork. A probe
    /// asks in any case, and not for long: a question must not wait for an endpoint that may still be dead.
    pub async fn prove(&self, pool: &Shared, probe: bool) -> Result<(), RpcError> {
        let (identity, fork) = {
            let health = self.health();
            (health.identity, health.fork())
        };
        if identity == Identity::Ours && !probe {
            return Ok(());
        }
        let chain = call::chain_id();
        let found = self.timed(&if probe { chain.within(PROBE) } else { chain }).await?;
        let endpoint = self.endpoint.name();
        if found != pool.chain_id {
            let expected = pool.chain_id;
            self.health().identity = Identity::Other(found);
            warn!(endpoint, "{endpoint} serves chain {found} instead of {expected} and is shut out");
            return Err(RpcError::WrongChain { endpoint: endpoint.to_owned(), expected, found });
        }
        if let Some(at) = fork {
            self.prove_block(at, pool).await?;
            info!(endpoint, "{endpoint} is back from its fork");
        }
        self.health().proven(fork);
        Ok(())
    }

    async fn prove_block(&self, at: At, pool: &Shared) -> Result<(), RpcError> {
        let header = self.timed(&call::header(BlockId::Number(at.number)).within(PROBE)).await?;
        if header.is_some_and(|header| header.hash == at.hash) {
            return Ok(());
        }
        self.health().shut_out(at, Instant::now() + pool.options.fork_pause);
        Err(RpcError::Fork { endpoint: self.endpoint.name().to_owned(), number: at.number })
    }

    async fn timed<A: Ask>(&self, ask: &A) -> Result<A::Answer, RpcError> {
        let answer = self.endpoint.ask_timed(ask).await;
        let now = Instant::now();
        let mut health = self.health();
        match answer {
            Ok(timed) => {
                let took = (ask.timeout() <= call::QUICK).then_some(timed.took);
                health.answered(took, ask.head_in(&timed.answer), now);
                Ok(timed.answer)
            }
            Err(error) => {
                health.failed(&error, now);
                Err(error)
            }
        }
    }

    pub fn status(&self, id: EndpointId, now: Instant) -> EndpointStatus {
        let health = self.health();
        EndpointStatus {
            id,
            name: self.endpoint.name().to_owned(),
            identity: health.identity,
            latency: health.latency,
            failure_rate: health.failure_rate,
            rests: health.rests(now),
            distrusted: health.is_distrusted(now),
            fork: matches!(health.identity, Identity::Fork { .. }),
            head: health.head,
            requests: self.endpoint.requests(),
            calls: self.endpoint.calls(),
            failures: health.failures,
            distrusts: health.distrusts,
            tokens: self.endpoint.tokens(),
        }
    }
}
