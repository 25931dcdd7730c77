//! One loop for each chain of each network: whoever holds its lease follows it.
//!
//! Takes no input: it looks at the checkpoint and at the chain. A head that is announced only makes it look sooner.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chain::rpc::{BlockId, Header, RpcError, call};
use chain::verify::{self, VerifyError};
use futures::StreamExt;
use runtime::report;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use store::Holder;
use store::lease::{self, Claim, FenceError, Lease};

use super::advance::{Advance, Progress, StepError};
use super::commit::{self, CommitError, Note};
use super::fetch::FetchError;
use crate::db::{Layer, SCHEMA, checkpoint, column};
use crate::metrics::Metrics;
use crate::source::Source;
use crate::wake::Wake;

/// How long a lease lasts without renewal: what a takeover after a crash takes at most.
pub const LEASE_TTL: Duration = Duration::from_secs(6);

/// Without a new head `safe` and `finalized` are still looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(4);

/// Pause after a failed step; it doubles with each further one. Endpoints rest on their own, in the pool.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What must be mended by the operator before anything can go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The contracts are not those of the configuration.
    #[error("verifying the contracts")]
    Contracts(#[source] VerifyError),
    /// The tables belong to another chain.
    #[error("opening the tables")]
    Tables(#[source] StepError),
}

/// What the loop works with.
#[derive(Debug, Clone)]
pub struct Follower {
    /// The tables.
    pub db: DatabaseConnection,
    /// The chain.
    pub source: Source,
    /// Who we are, for people who look at leases.
    pub holder: Holder,
    /// Counters.
    pub metrics: Metrics,
    /// Whom to tell.
    pub wake: Wake,
}

impl Follower {
    /// Follows the chain until the shutdown, whenever the lease is ours.
    ///
    /// # Errors
    /// [`Fatal`] where only the operator can help.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Fatal> {
        let (name, holder) = (self.source.lease(), self.holder.clone());
        let claim = Claim { schema: SCHEMA, name, holder, ttl: LEASE_TTL };
        let holding = AtomicBool::new(false);
        while !shutdown.is_draining() {
            let held = lease::while_held(&self.db, &claim, |lease| {
                holding.store(true, Ordering::Relaxed);
                self.hold(lease, &shutdown)
            });
            let done = tokio::select! {
                done = held => done,
                () = drained_unless(&holding, &shutdown) => return Ok(()),
            };
            holding.store(false, Ordering::Relaxed);
            match done {
                Ok(Some(result)) => result?,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("the lease {} cannot be had: {}", claim.name, report(&error));
                    pause(PAUSE_MAX, &shutdown).await;
                }
            }
        }
        Ok(())
    }

    /// Follows the chain under the lease, until the shutdown or a lost lease, with an eye on all its endpoints.
    async fn hold(&self, lease: Lease, shutdown: &Shutdown) -> Result<(), Fatal> {
        tokio::select! {
            done = self.follow(lease, shutdown) => done,
            never = self.survey() => match never {},
        }
    }

    /// Asks every endpoint for its head now and then, else nobody would know that the one that is asked all questions
    /// lags; and says how they are doing.
    async fn survey(&self) -> Infallible {
        let Source { network, layer, pool, .. } = &self.source;
        loop {
            if pool.len() > 1 {
                pool.ask_each(call::header(BlockId::Latest)).await;
            }
            for status in pool.status() {
                self.metrics.endpoint(network, *layer, &status);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn follow(&self, lease: Lease, shutdown: &Shutdown) -> Result<(), Fatal> {
        self.open().await;
        self.verify(lease, shutdown).await?;
        let mut heads = self.source.pool.heads();
        let mut advance = None;
        let mut announced = None;
        let mut wait = PAUSE_MIN;
        let mut gaps = 0;
        while !shutdown.is_draining() {
            match self.step(&mut advance, lease, announced.take(), gaps).await {
                Ok(Progress::Moved) => (wait, gaps) = (PAUSE_MIN, 0),
                Ok(Progress::CaughtUp) => {
                    (wait, gaps) = (PAUSE_MIN, 0);
                    tokio::select! {
                        head = heads.next() => announced = head,
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                        () = shutdown.draining() => {}
                    }
                }
                Err(error @ StepError::OtherChain { .. }) => return Err(Fatal::Tables(error)),
                Err(StepError::Commit(CommitError::Fence(FenceError::Fenced { .. }))) => return Ok(()),
                Err(error) => {
                    // Loaded again: what was folded may not be what is stored.
                    advance = None;
                    gaps = if matches!(error, StepError::Gap(_)) { gaps + 1 } else { gaps };
                    // Happens at every reorganisation and to every lagging node; the next look mends it.
                    let passes = matches!(
                        error,
                        StepError::Fetch(FetchError::Missing { .. } | FetchError::Moved { .. })
                    );
                    if !passes || wait >= PAUSE_MAX {
                        self.troubled(lease, &error).await;
                    }
                    pause(wait, shutdown).await;
                    wait = (wait * 2).min(PAUSE_MAX);
                }
            }
        }
        Ok(())
    }

    /// Takes the next step; after gaps that no endpoint could fill, the logs are sought among stored blocks.
    async fn step<'a>(
        &'a self,
        advance: &mut Option<Advance<'a>>,
        lease: Lease,
        announced: Option<Header>,
        gaps: u32,
    ) -> Result<Progress, StepError> {
        let loaded = match advance.take() {
            Some(loaded) => loaded,
            None => Advance::load(&self.db, &self.source, lease, (&self.metrics, &self.wake)).await?,
        };
        let advance = advance.insert(loaded);
        // Every second time: a repair is long, and would stand in the way where answers only lack logs now and then.
        if gaps % 2 == 1 {
            advance.repair(gaps / 2).await?;
        }
        advance.step(announced).await
    }

    /// Makes the row of the chain, so that it can be seen why nothing is there yet.
    async fn open(&self) {
        let Source { network, layer, .. } = &self.source;
        let (chain_id, start) = (column(self.source.chain_id()), column(self.source.start()));
        if let Err(error) = checkpoint::open(&self.db, network, *layer, chain_id, start).await {
            tracing::warn!(network, "the checkpoint cannot be opened: {}", report(&error));
        }
    }

    /// Asks the chain whether its contracts are those of the configuration, until it answers.
    async fn verify(&self, lease: Lease, shutdown: &Shutdown) -> Result<(), Fatal> {
        let mut wait = PAUSE_MIN;
        while !shutdown.is_draining() {
            let verified = match self.source.layer {
                Layer::L1 => verify::l1(&self.source.spec, &self.source.pool).await.map(drop),
                Layer::L2 => verify::l2(&self.source.spec, &self.source.pool).await,
            };
            match verified {
                Ok(()) => return Ok(()),
                Err(error) if is_final(&error) => return Err(Fatal::Contracts(error)),
                Err(error) => {
                    self.troubled(lease, &StepError::Contracts(error)).await;
                    pause(wait, shutdown).await;
                    wait = (wait * 2).min(PAUSE_MAX);
                }
            }
        }
        Ok(())
    }

    /// Says why nothing moves, in the log, the counters and the table.
    async fn troubled(&self, lease: Lease, error: &StepError) {
        let Source { network, layer, .. } = &self.source;
        let problem = report(error);
        match error {
            StepError::Gap(_) => self.metrics.gap(network, *layer),
            StepError::Fetch(_) | StepError::Contracts(_) => self.metrics.rpc_error(network, *layer),
            _ => {}
        }
        tracing::warn!(network, layer = layer.name(), "{network} {} does not move: {problem}", layer.name());
        // If the database is what is away, this fails as well, and the log has said it.
        let noted = commit::note(&self.db, &self.source, lease, Note::Problem(&problem)).await;
        if let Err(error) = noted {
            tracing::debug!(network, "the problem could not be noted: {}", report(&error));
        }
        self.wake.announce(network);
    }
}

/// Whether asking again cannot help.
fn is_final(error: &VerifyError) -> bool {
    match error {
        VerifyError::Mismatched { .. } => true,
        VerifyError::Read { source, .. } => {
            matches!(source, RpcError::WrongChain { .. } | RpcError::NoEndpoint { .. })
        }
    }
}

async fn pause(wait: Duration, shutdown: &Shutdown) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = shutdown.draining() => {}
    }
}

/// Completes when the shutdown begins while the lease is only waited for; a holder ends by itself, and so gives
/// the lease back.
async fn drained_unless(holding: &AtomicBool, shutdown: &Shutdown) {
    shutdown.draining().await;
    if holding.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
