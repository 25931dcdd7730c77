//! One loop for each network: compares the index with the contracts at the last indexed block of each chain, pinned by
//! its hash.
//!
//! A block that is gone in between, or whose state the endpoints dropped, is no finding: the next round compares at
//! another. The result replaces the one before, and drift is an error in the log as well as a number that must be 0.

use std::collections::BTreeMap;
use std::time::Duration;

use chain::rpc::{BlockId, NodeErrorKind, RpcError};
use chain::views::Epoch;
use domain::ids::{EpochId, Height};
use runtime::report;
use runtime::shutdown::Shutdown;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use store::lease::{self, Claim, FenceError, Lease};
use store::{Error, Holder, in_transaction};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::chain::LEASE_TTL;
use super::compare::{EPOCHS, Indexed, SetIndexed, differences, set_differences};
use super::contract;
use super::recheck;
use crate::db::{
    self, Layer, SCHEMA, checkpoint, epoch, height, parameters, reconciliation, record, whitelist,
};
use crate::fold::parameters::Parameters;
use crate::fold::stored::from_row;
use crate::metrics::Metrics;
use crate::operations::Served;
use crate::source::Source;

/// While history is fetched, and while nothing new comes, this much time passes between two comparisons: each reads
/// all records, and a row may be damaged at any time.
const QUIET: Duration = Duration::from_secs(60);

/// Why no comparison was made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The contracts could not be read.
    #[error("reading the contracts")]
    Chain(#[source] RpcError),
    /// The index could not be read.
    #[error("reading the index")]
    Store(#[from] Error),
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("comparing index and contracts")]
    Compare(#[from] CompareError),
    #[error("storing the comparison")]
    Store(#[from] Error),
    #[error("proving the lease")]
    Fence(#[from] FenceError),
}

/// What a comparison of one chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The block compared at.
    pub at: checkpoint::Tip,
    /// Every field that differs, with both values.
    pub differences: Vec<String>,
}

/// Compares one chain at this block, which is its last indexed one in the view. The view is closed before the chain is
/// asked, which may take a while.
///
/// # Errors
/// When one of the two sides cannot be read.
pub async fn compare(
    view: DatabaseTransaction,
    source: &Source,
    at: checkpoint::Tip,
) -> Result<Finding, CompareError> {
    let pinned = BlockId::Hash(at.hash.0);
    let differences = match (source.layer, &source.spec.l2) {
        (Layer::L2, Some(l2)) => {
            let indexed = indexed_set(&view, &source.network).await?;
            drop(view);
            let last = indexed.epochs.last_key_value().map(|(id, _)| *id);
            let chain = contract::l2(source, l2.sequencer_set, pinned, last).await;
            set_differences(&indexed, &chain.map_err(CompareError::Chain)?)
        }
        _ => {
            let indexed = indexed(&view, &source.network, at.number).await?;
            let uncounted = recheck::stored(&view, source, at).await?;
            drop(view);
            let owners: Vec<_> = indexed.whitelist.keys().copied().collect();
            let chain = contract::l1(source, pinned, &owners).await.map_err(CompareError::Chain)?;
            let mut found = differences(&indexed, &chain);
            found.extend(recheck::differences(source, uncounted).await.map_err(CompareError::Chain)?);
            found
        }
    };
    Ok(Finding { at, differences })
}

async fn indexed<C: ConnectionTrait>(view: &C, network: &str, number: i64) -> Result<Indexed, Error> {
    let records = record::as_of(view, network, number).await?.into_iter().map(from_row).collect();
    let parameters = parameters::as_of(view, network, number).await?;
    let whitelist = whitelist::as_of(view, network, number).await?;
    let whitelist = whitelist.into_iter().map(|row| (row.owner.0, row.whitelisted)).collect();
    let parameters = parameters.map(Parameters::from).unwrap_or_default();
    Ok(Indexed { records, parameters, whitelist })
}

async fn indexed_set<C: ConnectionTrait>(view: &C, network: &str) -> Result<SetIndexed, Error> {
    let epochs = epoch::newest(view, network, i64::MAX, None, EPOCHS).await?;
    let epochs: BTreeMap<EpochId, Epoch> = epochs
        .into_iter()
        .map(|row| {
            let epoch::Row { epoch_id, number: _, signer, start_block, end_block, respanned: _ } = row;
            let number = EpochId(height(epoch_id));
            let (start_block, end_block) = (Height(height(start_block)), Height(height(end_block)));
            (number, Epoch { number, signer: signer.0, start_block, end_block })
        })
        .collect();
    let parameters = epoch::parameters(view, network).await?;
    let (epoch_length, mpc) = parameters.map(|row| (height(row.epoch_length), row.mpc.0)).unwrap_or_default();
    Ok(SetIndexed { epochs, epoch_length, mpc })
}

/// What was found on both chains, as it is stored; drift is told to the log.
pub fn result(network: &str, l1: &Finding, l2: Option<&Finding>) -> reconciliation::Row {
    let found = || l1.differences.iter().chain(l2.iter().flat_map(|l2| &l2.differences));
    let fields = found().count();
    if let Some(first) = found().next() {
        tracing::error!(network, fields, "the index of {network} differs from the contracts: {first}");
    }
    reconciliation::Row {
        number: l1.at.number,
        hash: l1.at.hash,
        time: l1.at.time,
        drift: i64::try_from(fields).unwrap_or(i64::MAX),
        first_difference: found().next().cloned().unwrap_or_default(),
        compared_at: OffsetDateTime::now_utc(),
    }
}

/// Whether it is time to compare: at once where there is news, a block or a difference, but while history is fetched, and
/// where nothing is new, from time to time only.
fn is_due(new: bool, backfilling: bool, since: Duration) -> bool {
    (new && !backfilling) || since >= QUIET
}

/// Whether the block is no longer on the chain, or its state was dropped.
pub fn is_gone(error: &RpcError) -> bool {
    error.node().is_some_and(|node| {
        matches!(node.kind(), NodeErrorKind::UnknownBlock | NodeErrorKind::StateUnavailable)
    })
}

/// What the loop works with.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// The tables.
    pub db: DatabaseConnection,
    /// The chains of the network.
    pub served: Served,
    /// Who we are.
    pub holder: Holder,
    /// Counters.
    pub metrics: Metrics,
    /// Time between two comparisons.
    pub every: Duration,
}

/// The last comparison of one chain.
#[derive(Debug)]
struct Last {
    finding: Option<Finding>,
    /// When it was made or tried.
    at: Instant,
}

impl Last {
    /// As if a comparison had just been made: the first during backfill comes after a while.
    fn new() -> Self {
        Self { finding: None, at: Instant::now() }
    }
}

impl Reconciler {
    /// Compares at the start and then again and again, until the shutdown, whenever the lease is ours.
    pub async fn run(self, shutdown: Shutdown) {
        let name = format!("drift:{}", self.network());
        let claim = Claim { schema: SCHEMA, name, holder: self.holder.clone(), ttl: LEASE_TTL };
        while !shutdown.is_draining() {
            let held = lease::while_held(&self.db, &claim, |lease| self.hold(lease, &claim.name));
            tokio::select! {
                done = held => {
                    if let Err(error) = done {
                        tracing::warn!("the lease {} cannot be had: {}", claim.name, report(&error));
                        tokio::time::sleep(self.every).await;
                    }
                }
                () = self.tell() => {}
                // A comparison has no effect but its last row, so it can be dropped at any point.
                () = shutdown.draining() => return,
            }
        }
    }

    fn network(&self) -> &str {
        &self.served.l1.network
    }

    /// Says without end in the metrics what the last comparison found, whichever replica made it: a number that only
    /// its maker told would stand there for ever when another takes over.
    async fn tell(&self) {
        loop {
            match reconciliation::of(&self.db, self.network()).await {
                Ok(Some(row)) => {
                    let checked = u64::try_from(row.compared_at.unix_timestamp()).unwrap_or(0);
                    self.metrics.drift(self.network(), height(row.drift), checked);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!("the last comparison cannot be read: {}", report(&error)),
            }
            tokio::time::sleep(self.every).await;
        }
    }

    async fn hold(&self, lease: Lease, claim: &str) {
        let mut last = [Last::new(), Last::new()];
        loop {
            match self.round(lease, claim, &mut last).await {
                Ok(()) => {}
                Err(RoundError::Fence(FenceError::Fenced { .. })) => return,
                Err(error) => {
                    let network = self.network();
                    tracing::warn!(network, "{network} could not be reconciled: {}", report(&error));
                }
            }
            tokio::time::sleep(self.every).await;
        }
    }

    /// Compares the chains that are due and stores what came of it. One chain that cannot be read does not keep the
    /// other from being compared, and what was found on it before still counts.
    async fn round(&self, lease: Lease, claim: &str, last: &mut [Last; 2]) -> Result<(), RoundError> {
        let sources = [Some(&self.served.l1), self.served.l2.as_ref()];
        let (mut fresh, mut failed) = (false, Ok(()));
        for (source, last) in sources.into_iter().zip(last.iter_mut()) {
            let Some(source) = source else { continue };
            match self.look(source, last).await {
                Ok(None) => {}
                Ok(Some(finding)) => {
                    *last = Last { finding: Some(finding), at: Instant::now() };
                    fresh = true;
                }
                Err(CompareError::Chain(error)) => {
                    last.at = Instant::now();
                    if !is_gone(&error) {
                        failed = Err(CompareError::Chain(error).into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let [l1, l2] = last;
        if let (true, Some(l1)) = (fresh, &l1.finding) {
            let row = result(self.network(), l1, l2.finding.as_ref());
            self.store(lease, claim, row).await?;
        }
        failed
    }

    /// Compares a chain if it is due: where a block is new, and otherwise from time to time.
    async fn look(&self, source: &Source, last: &Last) -> Result<Option<Finding>, CompareError> {
        let view = db::snapshot(&self.db).await?;
        let Some(row) = checkpoint::of(&view, &source.network, source.layer).await? else { return Ok(None) };
        let Some(tip) = row.tip() else { return Ok(None) };
        // What differed is mended meanwhile, at the same block: nobody should wait to hear that it is.
        let settled = |finding: &Finding| finding.at == tip && finding.differences.is_empty();
        let new = !last.finding.as_ref().is_some_and(settled);
        if is_due(new, row.backfilling, last.at.elapsed()) {
            compare(view, source, tip).await.map(Some)
        } else {
            Ok(None)
        }
    }

    async fn store(&self, lease: Lease, claim: &str, row: reconciliation::Row) -> Result<(), RoundError> {
        let network = self.network();
        in_transaction(&self.db, |tx| {
            let row = row.clone();
            Box::pin(async move {
                lease::fence(&tx, SCHEMA, claim, lease.epoch).await?;
                reconciliation::put(&tx, network, &row).await?;
                Ok::<_, RoundError>(())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_block_is_compared_at_once_and_everything_else_from_time_to_time() {
        let cases = [
            (true, false, Duration::ZERO, true),
            (false, false, Duration::ZERO, false),
            (true, true, Duration::ZERO, false),
            (true, true, QUIET, true),
            (false, false, QUIET, true),
        ];
        for (new, backfilling, since, due) in cases {
            assert_eq!(
                is_due(new, backfilling, since),
                due,
                "new {new}, backfilling {backfilling}, {since:?}"
            );
        }
    }
}
