//! Following one chain: backfill, head and reorganisations, one step at a time.
//!
//! Looks at the checkpoint and at an endpoint, and takes the one step that brings the tables closer to the
//! chain. Each step is one transaction that moves the checkpoint with it, so that a step done twice, or killed in
//! the middle, changes nothing.

use std::time::{Duration, Instant};

use alloy_primitives::B256;
use chain::pool::EndpointId;
use chain::rpc::Header;
use chain::verify::{self, VerifyError};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::lease::Lease;

use super::care::HEAD_MOST;
use super::commit::{self, CommitError, Note};
use super::encode::{Encoded, encode};
use super::fetch::{self, FetchError, Fetched, HEAD_BLOCKS, Observed};
use super::follow::{At, Follow, Step};
use super::plan::{self, Fold};
use super::range::Range;
use crate::db::{Layer, batch, block, checkpoint, column, epoch, height, parameters, record};
use crate::fold::ledger::Ledger;
use crate::fold::{Gap, epochs};
use crate::metrics::Metrics;
use crate::source::Source;
use crate::wake::Wake;

/// How often it is noted that an endpoint answers although nothing is new: often enough to tell a quiet chain from
/// a lost one.
const CONTACT_NOTED_EVERY: Duration = Duration::from_secs(10);

/// Answers with missing logs after which these are sought among blocks that are stored already.
pub const GAP_TRIES: usize = 4;
/// By this the blocks of a request near the head shrink with each of them: the last has one.
pub(super) const GAP_SHRINKS: u64 = 4;

/// Why a step failed. The state is to be loaded again before the next.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Blocks could not be fetched.
    #[error("fetching blocks")]
    Fetch(#[from] FetchError),
    /// Logs are missing.
    #[error("applying blocks")]
    Gap(#[from] Gap),
    /// The step could not be stored.
    #[error("storing blocks")]
    Commit(#[from] CommitError),
    /// The tables could not be read.
    #[error("reading the index")]
    Read(#[from] store::Error),
    /// The stored epochs contradict each other.
    #[error("loading the epochs")]
    Stored(#[from] domain::epoch::Misfit),
    /// The contracts could not be read.
    #[error("reading the contracts")]
    Contracts(#[from] VerifyError),
    /// The tables belong to another chain.
    #[error("the tables of this network were made from chain {stored}, the configuration says {configured}")]
    OtherChain {
        /// Chain id in the tables.
        stored: u64,
        /// Chain id of the configuration.
        configured: u64,
    },
}

/// Whether there is more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Blocks were added or taken back; look again.
    Moved,
    /// The index is where the endpoint is.
    CaughtUp,
}

/// Where the tables stand.
#[derive(Debug)]
pub(super) struct Standing {
    /// The last block applied.
    pub tip: Option<checkpoint::Tip>,
    /// What the events up to it add up to.
    pub fold: Fold,
    /// Digests stand up to here.
    pub digested: i64,
    /// The last of them; zeros before the first.
    pub digest: B256,
}

/// A chain being followed under a lease.
#[derive(Debug)]
pub struct Advance<'a> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) source: &'a Source,
    pub(super) lease: Lease,
    pub(super) metrics: &'a Metrics,
    wake: &'a Wake,
    pub(super) standing: Standing,
    pub(super) seen: checkpoint::Seen,
    follow: Follow,
    pub(super) range: Range,
    variant_due: bool,
    noted: Instant,
    /// From where the index was last fetched again because it differed from the contracts.
    pub(super) mended: Option<u64>,
}

impl Standing {
    /// What the tables say up to a tip.
    pub async fn load<C: ConnectionTrait>(
        db: &C,
        source: &Source,
        tip: Option<checkpoint::Tip>,
        digested: i64,
    ) -> Result<Self, StepError> {
        let (network, layer) = (source.network.as_str(), source.layer);
        let fold = match layer {
            Layer::L1 => {
                let records = record::as_of(db, network, i64::MAX).await?;
                let mut ledger = Ledger::load(records, parameters::as_of(db, network, i64::MAX).await?);
                if batch::any_unattributed(db, network).await? {
                    ledger.some_unattributed();
                }
                Fold::L1(Box::new(ledger))
            }
            Layer::L2 => Fold::l2(
                epoch::newest(db, network, i64::MAX, None, epochs::LOADED).await?,
                epoch::parameters(db, network).await?,
            )?,
        };
        let digest = block::digest_at(db, network, layer, digested).await?;
        Ok(Self { tip, fold, digested, digest: digest.map_or(B256::ZERO, |found| found.digest.0) })
    }

    pub fn number(&self) -> i64 {
        self.tip.map_or(0, |tip| tip.number)
    }

    pub fn at(&self) -> Option<At> {
        self.tip.map(|tip| At { number: height(tip.number), hash: tip.hash.0 })
    }

    /// Folds blocks into rows; nothing has changed if logs are missing. Final blocks get digests.
    pub async fn fold(
        &mut self,
        source: &Source,
        fetched: Fetched,
        are_final: bool,
    ) -> Result<Encoded, StepError> {
        let (source, mut fold, digested) = (source.clone(), self.fold.clone(), self.digested);
        let digest = are_final.then_some(self.digest);
        // Thousands of logs take milliseconds, in which this thread could answer others.
        let folded = tokio::task::spawn_blocking(move || {
            let plan = plan::plan(&source, &mut fold, digest, &fetched)?;
            let encoded = encode(&source.network, source.layer, &plan, digested);
            Ok::<_, Gap>((plan.digest, encoded, fold))
        });
        let (digest, encoded, fold) = folded.await.map_err(|_| FetchError::Interrupted)??;
        self.fold = fold;
        self.digest = digest.unwrap_or(self.digest);
        self.digested = encoded.digested;
        self.tip = encoded.tip.or(self.tip);
        Ok(encoded)
    }
}

impl<'a> Advance<'a> {
    /// Loads where the tables stand.
    ///
    /// # Errors
    /// When they cannot be read or belong to another chain.
    pub async fn load(
        db: &'a DatabaseConnection,
        source: &'a Source,
        lease: Lease,
        (metrics, wake): (&'a Metrics, &'a Wake),
    ) -> Result<Self, StepError> {
        let (network, layer) = (&source.network, source.layer);
        let row =
            checkpoint::open(db, network, layer, column(source.chain_id()), column(source.start())).await?;
        if height(row.chain_id) != source.chain_id() {
            let (stored, configured) = (height(row.chain_id), source.chain_id());
            return Err(StepError::OtherChain { stored, configured });
        }
        let seen = checkpoint::Seen {
            latest: row.latest,
            safe: row.safe,
            finalized: row.finalized,
            backfilling: row.backfilling,
            blocks_per_second: 0,
        };
        Ok(Self {
            db,
            source,
            lease,
            metrics,
            wake,
            standing: Standing::load(db, source, row.tip(), row.digested).await?,
            seen,
            follow: Follow::default(),
            range: Range::default(),
            variant_due: layer == Layer::L1,
            noted: Instant::now(),
            mended: None,
        })
    }

    /// Loads again, keeping what was learned of the endpoints.
    pub(super) async fn reload(&mut self) -> Result<(), StepError> {
        let loaded = Self::load(self.db, self.source, self.lease, (self.metrics, self.wake)).await?;
        let (range, mended) = (self.range, self.mended);
        *self = Self { range, mended, ..loaded };
        Ok(())
    }

    /// Takes the next step. A block that was just announced saves the questions about the head if it stands on ours.
    ///
    /// # Errors
    /// [`StepError`]; load again before the next step.
    pub async fn step(&mut self, announced: Option<Header>) -> Result<Progress, StepError> {
        let tip = self.standing.at();
        if let Some(header) = announced.filter(|header| stands_on(header, tip))
            && self.child(&header).await?
        {
            return Ok(Progress::Moved);
        }
        let observed = fetch::observe(self.source, tip).await?;
        match self.follow.next(tip, self.source.start(), &observed.sight) {
            Step::Wait => {
                self.look(&observed).await?;
                self.read_variant_if_due().await?;
                self.catch_up_digests(self.seen.finalized).await?;
                Ok(if self.mend().await? { Progress::Moved } else { Progress::CaughtUp })
            }
            Step::Extend { from } if from <= observed.finalized.min(observed.sight.latest.number) => {
                self.backfill(from, &observed).await?;
                Ok(Progress::Moved)
            }
            Step::Extend { from } => {
                let to = observed.sight.latest.number.min(from + HEAD_BLOCKS - 1);
                self.extend((from, to), &observed).await?;
                Ok(Progress::Moved)
            }
            Step::Retreat => self.retreat(&observed).await,
        }
    }

    /// Adds the block that was announced; `false` if its logs cannot be had at once, or not be trusted, which the long
    /// way sees to.
    async fn child(&mut self, header: &Header) -> Result<bool, StepError> {
        if self.source.care.again_any(HEAD_MOST) > 0 {
            return Ok(false);
        }
        let Ok((fetched, observed)) = fetch::child(self.source, header).await else { return Ok(false) };
        if observed.finalized >= header.number {
            return Ok(false);
        }
        match self.apply(fetched, &observed).await {
            Ok(()) => Ok(true),
            // The long way asks others.
            Err(StepError::Gap(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds blocks near the head. Where logs are missing others are asked for them, and for fewer blocks: each of many
    /// answers may lack some.
    async fn extend(&mut self, (from, to): (u64, u64), observed: &Observed) -> Result<(), StepError> {
        let parent = self.standing.tip.map(|tip| tip.hash.0);
        let mut avoid: Vec<EndpointId> = Vec::new();
        let mut to = to;
        loop {
            let may_try = avoid.len() < GAP_TRIES;
            let endpoint = match fetch::head(self.source, parent, (from, to), &avoid).await {
                Ok((fetched, endpoint)) => match self.apply(fetched, observed).await {
                    Err(StepError::Gap(gap)) if may_try => {
                        self.gap(endpoint, &gap);
                        endpoint
                    }
                    done => return done,
                },
                Err(FetchError::Disagreed { between: Some(endpoint), .. }) if may_try => endpoint,
                Err(error) => return Err(error.into()),
            };
            avoid.push(endpoint);
            to = from + (to - from) / GAP_SHRINKS;
        }
    }

    async fn apply(&mut self, fetched: Fetched, observed: &Observed) -> Result<(), StepError> {
        let encoded = self.standing.fold(self.source, fetched, false).await?;
        let seen = self.seen_at(observed, self.standing.number(), 0);
        let added = Added::of(&encoded);
        commit::extend(self.db, self.source, self.lease, encoded, seen).await?;
        self.extended(added, seen);
        Ok(())
    }

    /// Logs were missing in an answer.
    pub(super) fn gap(&self, endpoint: EndpointId, gap: &Gap) {
        self.source.care.lost(Some(endpoint));
        let (network, layer) = (&self.source.network, self.source.layer);
        self.metrics.gap(network, layer);
        self.source.pool.distrust(endpoint, "logs were missing in its answer");
        let name = self.source.pool.name(endpoint);
        tracing::warn!(
            network,
            layer = layer.name(),
            "an answer of {name} lacks logs and is fetched again: {gap}"
        );
    }

    /// Notes what the endpoint says, if that is new.
    async fn look(&mut self, observed: &Observed) -> Result<(), StepError> {
        let seen = self.seen_at(observed, self.standing.number(), 0);
        if seen != self.seen || self.noted.elapsed() > CONTACT_NOTED_EVERY {
            commit::note(self.db, self.source, self.lease, Note::Seen(seen)).await?;
            self.saw(seen);
        }
        Ok(())
    }

    /// Blocks were added to the tables.
    pub(super) fn extended(&mut self, added: Added, seen: checkpoint::Seen) {
        let Added { logs, untyped, upgraded } = added;
        self.variant_due |= upgraded;
        self.saw(seen);
        let (network, layer) = (&self.source.network, self.source.layer);
        self.metrics.applied(network, layer, logs, untyped);
        if untyped > 0 {
            let layer = layer.name();
            tracing::warn!(network, layer, "{untyped} logs have no type and are kept raw");
        }
    }

    /// Reads what stands behind the pool's proxy, after the start and after each upgrade.
    async fn read_variant_if_due(&mut self) -> Result<(), StepError> {
        if !self.variant_due {
            return Ok(());
        }
        let found = verify::l1(&self.source.spec, &self.source.pool).await?;
        let variant = found.variant.or(self.source.declared).name();
        commit::note(self.db, self.source, self.lease, Note::Variant(variant)).await?;
        self.variant_due = false;
        Ok(())
    }

    pub(super) fn seen_at(
        &self,
        observed: &Observed,
        reached: i64,
        blocks_per_second: i64,
    ) -> checkpoint::Seen {
        // Near the head a few blocks come at once; below `finalized` it is history.
        let backfilling = reached < column(observed.finalized);
        checkpoint::Seen {
            latest: column(observed.sight.latest.number),
            // What was once called final stays so for us, whatever a lagging endpoint says, until it is taken back:
            // only so is that noticed.
            safe: column(observed.safe).max(self.seen.safe),
            finalized: column(observed.finalized).max(self.seen.finalized),
            backfilling,
            blocks_per_second: if backfilling { blocks_per_second } else { 0 },
        }
    }

    pub(super) fn saw(&mut self, seen: checkpoint::Seen) {
        self.seen = seen;
        self.noted = Instant::now();
        self.wake.announce(&self.source.network);
    }
}

/// What a step added, for the counters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Added {
    pub logs: u64,
    pub untyped: u64,
    pub upgraded: bool,
}

impl Added {
    pub fn of(encoded: &Encoded) -> Self {
        Self { logs: encoded.logs, untyped: encoded.untyped, upgraded: encoded.upgraded }
    }

    pub fn add(&mut self, encoded: &Encoded) {
        self.logs += encoded.logs;
        self.untyped += encoded.untyped;
        self.upgraded |= encoded.upgraded;
    }
}

fn stands_on(header: &Header, tip: Option<At>) -> bool {
    tip.is_some_and(|tip| header.parent_hash == tip.hash && header.number == tip.number + 1)
}
