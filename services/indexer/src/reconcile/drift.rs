//! One loop for each network: compares the index with the contracts at the last indexed block, pinned by its hash.
//!
//! A block that is gone in between is no finding: the next round compares at another. The result replaces the one
//! before, and drift is an error in the log as well as a number that must be 0.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy_primitives::Address;
use chain::rpc::{BlockId, NodeErrorKind, RpcError};
use chain::views;
use domain::ids::SequencerId;
use runtime::report;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use store::lease::{self, Claim, FenceError, Lease};
use store::{Error, in_transaction};
use time::OffsetDateTime;

use super::chain::LEASE_TTL;
use super::compare::{Indexed, OnChain, differences};
use crate::db::{self, Layer, SCHEMA, checkpoint, parameters, reconciliation, record, whitelist};
use crate::fold::parameters::Parameters;
use crate::fold::stored::from_row;
use crate::metrics::Metrics;
use crate::source::Source;

/// Views asked for in one question: a fat HTTP request, but one that nodes still take.
const VIEWS_TOGETHER: usize = 400;

/// Why no comparison was made.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error("reading the contracts")]
    Chain(#[source] RpcError),
    #[error("using the database")]
    Store(#[from] Error),
    #[error("proving the lease")]
    Fence(#[from] FenceError),
}

/// What the loop works with.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// The tables.
    pub db: DatabaseConnection,
    /// The L1 of the network.
    pub source: Source,
    /// Who we are.
    pub holder: String,
    /// Counters.
    pub metrics: Metrics,
    /// Time between two comparisons.
    pub every: Duration,
}

impl Reconciler {
    /// Compares at the start and then again and again, until the shutdown, whenever the lease is ours.
    pub async fn run(self, shutdown: Shutdown) {
        let name = format!("drift:{}", self.source.network);
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
                // A comparison has no effect but its last row, so it can be dropped at any point.
                () = shutdown.draining() => return,
            }
        }
    }

    async fn hold(&self, lease: Lease, claim: &str) {
        let mut last = None;
        loop {
            match self.compare(lease, claim, last).await {
                Ok(compared) => last = compared,
                Err(CompareError::Fence(FenceError::Fenced { .. })) => return,
                Err(CompareError::Chain(error)) if is_gone(&error) => {}
                Err(error) => {
                    let network = &self.source.network;
                    tracing::warn!(network, "{network} could not be reconciled: {}", report(&error));
                }
            }
            tokio::time::sleep(self.every).await;
        }
    }

    /// Compares at the last indexed block, unless that is the one compared last; gives the block compared.
    async fn compare(
        &self,
        lease: Lease,
        claim: &str,
        last: Option<checkpoint::Tip>,
    ) -> Result<Option<checkpoint::Tip>, CompareError> {
        let Some((tip, indexed)) = self.indexed(last).await? else { return Ok(last) };
        let chain = self.on_chain(BlockId::Hash(tip.hash.0), &indexed).await.map_err(CompareError::Chain)?;
        let found = differences(&indexed, &chain);
        let row = reconciliation::Row {
            number: tip.number,
            hash: tip.hash,
            time: tip.time,
            drift: i64::try_from(found.len()).unwrap_or(i64::MAX),
            first_difference: found.first().cloned().unwrap_or_default(),
            compared_at: OffsetDateTime::now_utc(),
        };
        let network = self.source.network.as_str();
        self.metrics.drift(network, found.len() as u64);
        if let Some(first) = found.first() {
            let fields = found.len();
            tracing::error!(network, fields, "the index of {network} differs from the contracts: {first}");
        }
        in_transaction(&self.db, |tx| {
            let row = row.clone();
            Box::pin(async move {
                lease::fence(&tx, SCHEMA, claim, lease.epoch).await?;
                reconciliation::put(&tx, network, &row).await?;
                Ok::<_, CompareError>(())
            })
        })
        .await?;
        Ok(Some(tip))
    }

    /// The index at its last block, in one view; none while history is fetched or if nothing is new.
    async fn indexed(
        &self,
        last: Option<checkpoint::Tip>,
    ) -> Result<Option<(checkpoint::Tip, Indexed)>, Error> {
        let network = self.source.network.as_str();
        let view = db::snapshot(&self.db).await?;
        let row = checkpoint::of(&view, network, Layer::L1).await?.filter(|row| !row.backfilling);
        let Some(tip) = row.and_then(|row| row.tip()).filter(|tip| Some(*tip) != last) else {
            return Ok(None);
        };
        let records = record::as_of(&view, network, tip.number).await?.into_iter().map(from_row).collect();
        let parameters = parameters::as_of(&view, network, tip.number).await?;
        let whitelist = whitelist::as_of(&view, network, tip.number).await?;
        let whitelist = whitelist.into_iter().map(|row| (row.owner.0, row.whitelisted)).collect();
        let parameters = parameters.map(Parameters::from).unwrap_or_default();
        Ok(Some((tip, Indexed { records, parameters, whitelist })))
    }

    async fn on_chain(&self, at: BlockId, indexed: &Indexed) -> Result<OnChain, RpcError> {
        let (pool, l1) = (&self.source.pool, &self.source.spec.l1);
        let together = (
            views::pool_parameters(l1.locking_pool, at),
            views::escrow_parameters(l1.locking_info, at),
            views::status_counts(l1.locking_pool, at),
            views::token_balance(l1.metis, l1.locking_info, at),
        );
        let (parameters, escrow, counts, escrow_balance) = pool.ask(together).await?;
        let ids: Vec<SequencerId> = (1..=parameters.total_sequencers.0).map(SequencerId).collect();
        let mut records = BTreeMap::new();
        for ids in ids.chunks(VIEWS_TOGETHER) {
            let question: Vec<_> = ids.iter().map(|id| views::sequencer(l1.locking_pool, *id, at)).collect();
            let found = ids.iter().copied().zip(pool.ask(question).await?);
            records.extend(found.filter_map(|(id, record)| Some((id, record?))));
        }
        let owners: Vec<Address> = indexed.whitelist.keys().copied().collect();
        let mut whitelist = BTreeMap::new();
        for owners in owners.chunks(VIEWS_TOGETHER) {
            let question: Vec<_> =
                owners.iter().map(|owner| views::whitelisted(l1.locking_pool, *owner, at)).collect();
            whitelist.extend(owners.iter().copied().zip(pool.ask(question).await?));
        }
        Ok(OnChain { records, pool: parameters, escrow, counts, whitelist, escrow_balance })
    }
}

/// Whether the block is no longer on the chain, or its state was dropped.
fn is_gone(error: &RpcError) -> bool {
    error.node().is_some_and(|node| {
        matches!(node.kind(), NodeErrorKind::UnknownBlock | NodeErrorKind::StateUnavailable)
    })
}
