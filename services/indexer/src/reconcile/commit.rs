//! The only place where the index changes: one transaction for each step, fenced by the lease.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use store::bulk::Bulk;
use store::lease::{FenceError, Lease};
use store::{in_transaction, lease, notify};

use super::encode::Encoded;
use crate::db::{self, SCHEMA, block, checkpoint, reorg};
use crate::source::Source;

/// Channel on which every change is announced, with the network as payload.
pub const CHANNEL: &str = "indexer";

/// Between two statements of a transaction of ours nothing is waited for but what is folded meanwhile. Less than a
/// lease lasts, so that whoever takes over finds the rows free.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(5);

/// Why a step was not committed. Nothing of it is stored, unless a commit's answer was lost: the state is
/// read again from the tables after any of these.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another replica has taken over.
    #[error("proving the lease")]
    Fence(#[from] FenceError),
    /// The database failed.
    #[error("writing to the database")]
    Store(#[from] store::Error),
    /// The process is ending.
    #[error("writing was interrupted")]
    Interrupted,
}

/// Adds blocks and everything that follows from them, and moves the checkpoint to the last of them.
///
/// # Errors
/// [`CommitError`]; nothing is stored then.
pub async fn extend(
    db: &DatabaseConnection,
    source: &Source,
    lease: Lease,
    encoded: Encoded,
    seen: checkpoint::Seen,
) -> Result<(), CommitError> {
    let tx = Bulk::begin(db, IDLE_MAX).await?;
    lease::fence(&tx, SCHEMA, &source.lease(), lease.epoch).await?;
    let (tip, digested) = (encoded.tip, encoded.digested);
    write(&tx, encoded).await?;
    settle(tx, source, (tip, digested), seen).await
}

/// Adds rows without settling them.
///
/// # Errors
/// When the database refuses them.
pub async fn write(tx: &Bulk, encoded: Encoded) -> Result<(), store::Error> {
    for rows in encoded.tables {
        tx.insert(&rows).await?;
    }
    Ok(())
}

/// Moves the checkpoint, tells everyone, and commits.
///
/// # Errors
/// [`CommitError`]; nothing is stored then.
pub async fn settle(
    tx: Bulk,
    source: &Source,
    (tip, digested): (Option<checkpoint::Tip>, i64),
    seen: checkpoint::Seen,
) -> Result<(), CommitError> {
    let (network, layer) = (source.network.as_str(), source.layer);
    checkpoint::place(&tx, network, layer, tip, digested).await?;
    checkpoint::see(&tx, network, layer, seen).await?;
    notify::notify(&tx, CHANNEL, network).await?;
    Ok(tx.commit().await?)
}

/// Takes back everything above a block, or everything.
///
/// # Errors
/// [`CommitError`]; nothing is taken back then.
pub async fn unwind(
    db: &DatabaseConnection,
    source: &Source,
    lease: Lease,
    (to, digested): (Option<checkpoint::Tip>, i64),
    reorg: &reorg::New,
) -> Result<(), CommitError> {
    let (network, layer) = (source.network.as_str(), source.layer);
    let claim = source.lease();
    in_transaction(db, |tx| {
        let claim = claim.as_str();
        Box::pin(async move {
            lease::fence(&tx, SCHEMA, claim, lease.epoch).await?;
            db::unwind(&tx, network, layer, reorg).await?;
            checkpoint::place(&tx, network, layer, to, digested.min(reorg.to_number)).await?;
            checkpoint::loosen(&tx, network, layer, reorg.to_number).await?;
            notify::notify(&tx, CHANNEL, network).await?;
            Ok(())
        })
    })
    .await
}

/// What is noted of a chain without any block being added.
#[derive(Debug, Clone)]
pub enum Note<'a> {
    /// What the endpoints say of their head.
    Seen(checkpoint::Seen),
    /// Why nothing moves.
    Problem(&'a str),
    /// What stands behind the pool's proxy.
    Variant(&'a str),
    /// Blocks have become final: their digests, and up to where these stand now.
    Digests {
        /// By height.
        digests: &'a [(i64, store::column::Hash)],
        /// Where they stood before.
        above: i64,
        /// Where they stand now.
        reached: i64,
        /// The tip, which stays where it is.
        tip: checkpoint::Tip,
    },
}

/// Notes it.
///
/// # Errors
/// [`CommitError`]; nothing is noted then.
pub async fn note(
    db: &DatabaseConnection,
    source: &Source,
    lease: Lease,
    note: Note<'_>,
) -> Result<(), CommitError> {
    let (network, layer) = (source.network.as_str(), source.layer);
    let claim = source.lease();
    in_transaction(db, |tx| {
        let (claim, note) = (claim.as_str(), note.clone());
        Box::pin(async move {
            lease::fence(&tx, SCHEMA, claim, lease.epoch).await?;
            match note {
                Note::Seen(seen) => {
                    checkpoint::see(&tx, network, layer, seen).await?;
                    // Consumers are told of `safe` and `finalized` too.
                    notify::notify(&tx, CHANNEL, network).await?;
                }
                Note::Problem(problem) => checkpoint::complain(&tx, network, layer, problem).await?,
                Note::Variant(variant) => checkpoint::set_variant(&tx, network, variant).await?,
                Note::Digests { digests, above, reached, tip } => {
                    block::set_digests(&tx, network, layer, digests).await?;
                    block::prune(&tx, network, layer, (above, reached)).await?;
                    checkpoint::place(&tx, network, layer, Some(tip), reached).await?;
                }
            }
            Ok(())
        })
    })
    .await
}
