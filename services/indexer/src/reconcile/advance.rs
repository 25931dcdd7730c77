//! Following one chain: backfill, head and reorganisations, one step at a time.
//!
//! Looks at the checkpoint and at an endpoint, and takes the one step that brings the tables closer to the
//! chain. Each step is one transaction that moves the checkpoint with it, so that a step done twice, or killed in
//! the middle, changes nothing.

use std::time::{Duration, Instant};

use chain::verify::{self, VerifyError};
use domain::network::Variant;
use sea_orm::DatabaseConnection;
use store::lease::Lease;

use super::commit::{self, CommitError, Note};
use super::fetch::{self, FetchError, Fetched, HEAD_BLOCKS, Observed};
use super::follow::{At, Follow, Step, common};
use super::plan::{self, Fold, Plan};
use super::range::Range;
use crate::db::{Layer, block, checkpoint, column, epoch, height, parameters, record, reorg};
use crate::fold::{Gap, epochs};
use crate::metrics::Metrics;
use crate::source::Source;
use crate::wake::Wake;

/// Headers compared at once on the way back to the common block. Small, since almost all reorganisations
/// are; deep ones take as many rounds as they need.
const WALK_BACK_ROWS: u64 = 64;

/// How often it is noted that an endpoint answers although nothing is new: often enough to tell a quiet chain from
/// a lost one.
const CONTACT_NOTED_EVERY: Duration = Duration::from_secs(10);

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

/// A chain being followed under a lease.
#[derive(Debug)]
pub struct Advance<'a> {
    db: &'a DatabaseConnection,
    source: &'a Source,
    lease: Lease,
    metrics: &'a Metrics,
    wake: &'a Wake,
    tip: Option<checkpoint::Tip>,
    seen: checkpoint::Seen,
    fold: Fold,
    follow: Follow,
    range: Range,
    variant_due: bool,
    noted: Instant,
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
        let fold = match layer {
            Layer::L1 => Fold::l1(
                record::as_of(db, network, i64::MAX).await?,
                parameters::as_of(db, network, i64::MAX).await?,
            ),
            Layer::L2 => Fold::l2(
                epoch::newest(db, network, i64::MAX, None, epochs::LOADED).await?,
                epoch::parameters(db, network).await?,
            )?,
        };
        let seen = checkpoint::Seen {
            latest: row.latest,
            safe: row.safe,
            finalized: row.finalized,
            backfilling: row.backfilling,
        };
        Ok(Self {
            db,
            source,
            lease,
            metrics,
            wake,
            tip: row.tip(),
            seen,
            fold,
            follow: Follow::default(),
            range: Range::default(),
            variant_due: layer == Layer::L1,
            noted: Instant::now(),
        })
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// [`StepError`]; load again before the next step.
    pub async fn step(&mut self) -> Result<Progress, StepError> {
        let tip = self.tip.map(|tip| At { number: height(tip.number), hash: tip.hash.0 });
        let observed = fetch::observe(self.source, tip).await?;
        match self.follow.next(tip, self.source.start(), &observed.sight) {
            Step::Wait => {
                self.look(&observed).await?;
                self.read_variant_if_due().await?;
                Ok(Progress::CaughtUp)
            }
            Step::Extend { from } => {
                self.extend(tip, from, &observed).await?;
                Ok(Progress::Moved)
            }
            Step::Retreat => match self.tip {
                Some(tip) => self.retreat(tip, &observed).await,
                None => Ok(Progress::CaughtUp),
            },
        }
    }

    /// Notes what the endpoint says, if that is new.
    async fn look(&mut self, observed: &Observed) -> Result<(), StepError> {
        let seen = self.seen_at(observed, self.tip.map_or(0, |tip| tip.number));
        if seen != self.seen || self.noted.elapsed() > CONTACT_NOTED_EVERY {
            commit::note(self.db, self.source, self.lease, Note::Seen(seen)).await?;
            self.saw(seen);
        }
        Ok(())
    }

    /// Adds blocks: a range of final ones by height, or some near the head one by one.
    async fn extend(&mut self, tip: Option<At>, from: u64, observed: &Observed) -> Result<(), StepError> {
        let latest = observed.sight.latest.number;
        let fetched = if from <= observed.finalized {
            let to = self.range.to(from, observed.finalized.min(latest));
            let Some(fetched) = self.fetch_range(from, to).await? else { return Ok(()) };
            fetched
        } else {
            let to = latest.min(from + HEAD_BLOCKS - 1);
            fetch::head(self.source, tip.map(|tip| tip.hash), from, to).await?
        };
        let plan = plan::plan(self.source, &mut self.fold, &fetched)?;
        let reached = plan.tip.map_or(0, |tip| tip.number);
        let seen = self.seen_at(observed, reached);
        commit::extend(self.db, self.source, self.lease, &plan, seen).await?;
        self.extended(&plan, seen);
        Ok(())
    }

    /// The range, or none if it was too large for the endpoint and is now smaller.
    async fn fetch_range(&mut self, from: u64, to: u64) -> Result<Option<Fetched>, StepError> {
        match fetch::range(self.source, from, to).await {
            Ok(fetched) => {
                self.range.answered(fetched.logs.len());
                Ok(Some(fetched))
            }
            Err(FetchError::Ask { source, .. }) if self.range.refused(&source) => {
                let (network, blocks) = (&self.source.network, self.range.to(from, u64::MAX) - from + 1);
                tracing::info!(
                    network,
                    "a range was too large for the endpoint, asking for {blocks} blocks now"
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn extended(&mut self, plan: &Plan, seen: checkpoint::Seen) {
        self.tip = plan.tip;
        self.variant_due |= plan.changes.upgraded;
        self.saw(seen);
        let (network, layer) = (&self.source.network, self.source.layer);
        self.metrics.applied(network, layer, plan.logs.len() as u64, plan.untyped);
        if plan.untyped > 0 {
            tracing::warn!(
                network,
                layer = layer.name(),
                "{} logs have no type and are kept raw",
                plan.untyped
            );
        }
    }

    /// Finds the newest block that the endpoint has too, and takes back everything above it.
    async fn retreat(&mut self, tip: checkpoint::Tip, observed: &Observed) -> Result<Progress, StepError> {
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        let to = self.common_block(observed.sight.latest.number).await?;
        let to_number = to.map_or(column(self.source.start()) - 1, |to| to.number);
        if to.is_some_and(|to| to.hash == tip.hash) {
            // The endpoint that answered this time has our block: it was no reorganisation.
            return Ok(Progress::CaughtUp);
        }
        let below_finalized = to_number < self.seen.finalized.min(tip.number);
        let new = reorg::New { from_number: tip.number, from_hash: tip.hash, to_number, below_finalized };
        commit::unwind(self.db, self.source, self.lease, to, &new).await?;
        let depth = height(tip.number - to_number);
        self.metrics.reorg(network, layer, depth, below_finalized);
        let layer = layer.name();
        if below_finalized {
            tracing::error!(
                network,
                layer,
                depth,
                "a reorganisation of {network} {layer} took back final blocks, down to {to_number}"
            );
        } else {
            tracing::info!(
                network,
                layer,
                depth,
                "a reorganisation of {network} {layer} took back {depth} blocks"
            );
        }
        self.wake.announce(network);
        let loaded = Self::load(self.db, self.source, self.lease, (self.metrics, self.wake)).await?;
        let range = self.range;
        *self = Self { range, ..loaded };
        Ok(Progress::Moved)
    }

    /// Reads what stands behind the pool's proxy, after the start and after each upgrade.
    async fn read_variant_if_due(&mut self) -> Result<(), StepError> {
        if !self.variant_due {
            return Ok(());
        }
        let found = verify::l1(&self.source.spec, &self.source.pool).await?;
        let variant = variant_name(found.variant.or(self.source.declared));
        commit::note(self.db, self.source, self.lease, Note::Variant(variant)).await?;
        self.variant_due = false;
        Ok(())
    }

    /// The newest stored block that is on the endpoint's chain; none if no stored block is.
    async fn common_block(&self, their_latest: u64) -> Result<Option<checkpoint::Tip>, StepError> {
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        let mut from = column(their_latest);
        loop {
            let rows = block::canonical_down_from(self.db, network, layer, from, WALK_BACK_ROWS).await?;
            let Some(lowest) = rows.last() else { return Ok(None) };
            let ours: Vec<At> =
                rows.iter().map(|row| At { number: height(row.number), hash: row.hash.0 }).collect();
            let heights: Vec<u64> = ours.iter().map(|at| at.number).collect();
            let theirs = fetch::headers_at(self.source, &heights).await?;
            if let Some(found) = common(&ours, &theirs) {
                let row = rows.iter().find(|row| row.hash.0 == found.hash);
                return Ok(row.map(|row| checkpoint::Tip {
                    number: row.number,
                    hash: row.hash,
                    time: row.time,
                }));
            }
            from = lowest.number - 1;
        }
    }

    fn seen_at(&self, observed: &Observed, reached: i64) -> checkpoint::Seen {
        checkpoint::Seen {
            latest: column(observed.sight.latest.number),
            safe: column(observed.safe),
            finalized: column(observed.finalized),
            // Near the head a few blocks come at once; below `finalized` it is history.
            backfilling: reached < column(observed.finalized),
        }
    }

    fn saw(&mut self, seen: checkpoint::Seen) {
        self.seen = seen;
        self.noted = Instant::now();
        let (network, layer) = (&self.source.network, self.source.layer);
        self.metrics.at(network, layer, self.tip.map_or(0, |tip| height(tip.number)), height(seen.latest));
        self.wake.announce(network);
    }
}

/// The variant as P 1.11 and the wire name it.
fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Main => "main",
        Variant::Mainnet => "mainnet",
        Variant::V1 => "v1",
        Variant::Unknown => "unknown",
    }
}
