//! The only place where the index changes: one transaction for each step, fenced by the lease.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::lease::{FenceError, Lease};
use store::{in_transaction, lease, notify};

use super::plan::Plan;
use crate::db::{self, SCHEMA, batch, block, checkpoint, epoch, log, parameters, record, reorg, whitelist};
use crate::source::Source;

/// Channel on which every change is announced, with the network as payload.
pub const CHANNEL: &str = "indexer";

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
}

/// Adds blocks and everything that follows from them, and moves the checkpoint to the last of them.
///
/// # Errors
/// [`CommitError`]; nothing is stored then.
pub async fn extend(
    db: &DatabaseConnection,
    source: &Source,
    lease: Lease,
    plan: &Plan,
    seen: checkpoint::Seen,
) -> Result<(), CommitError> {
    let (network, layer) = (source.network.as_str(), source.layer);
    let claim = source.lease();
    in_transaction(db, |tx| {
        let claim = claim.as_str();
        Box::pin(async move {
            lease::fence(&tx, SCHEMA, claim, lease.epoch).await?;
            block::insert(&tx, network, layer, &plan.blocks).await?;
            log::insert(&tx, network, layer, &plan.logs).await?;
            store_changes(&tx, network, plan).await?;
            checkpoint::place(&tx, network, layer, plan.tip).await?;
            checkpoint::see(&tx, network, layer, seen).await?;
            notify::notify(&tx, CHANNEL, network).await?;
            Ok(())
        })
    })
    .await
}

async fn store_changes<C: ConnectionTrait>(tx: &C, network: &str, plan: &Plan) -> Result<(), store::Error> {
    let changes = &plan.changes;
    let records: Vec<record::Row> = changes.records.values().cloned().collect();
    let parameters: Vec<parameters::Row> = changes.parameters.values().copied().collect();
    let epochs: Vec<epoch::Row> = changes.epochs.values().copied().collect();
    let set_parameters: Vec<epoch::Parameters> = changes.set_parameters.values().copied().collect();
    record::insert(tx, network, &records).await?;
    record::insert_signers(tx, network, &changes.signers).await?;
    whitelist::insert(tx, network, &changes.whitelist).await?;
    parameters::insert(tx, network, &parameters).await?;
    batch::insert(tx, network, &changes.batches).await?;
    batch::insert_credits(tx, network, &changes.credits).await?;
    epoch::insert(tx, network, &epochs).await?;
    epoch::insert_parameters(tx, network, &set_parameters).await
}

/// Takes back everything above a block, or everything.
///
/// # Errors
/// [`CommitError`]; nothing is taken back then.
pub async fn unwind(
    db: &DatabaseConnection,
    source: &Source,
    lease: Lease,
    to: Option<checkpoint::Tip>,
    reorg: &reorg::New,
) -> Result<(), CommitError> {
    let (network, layer) = (source.network.as_str(), source.layer);
    let claim = source.lease();
    in_transaction(db, |tx| {
        let claim = claim.as_str();
        Box::pin(async move {
            lease::fence(&tx, SCHEMA, claim, lease.epoch).await?;
            db::unwind(&tx, network, layer, reorg).await?;
            checkpoint::place(&tx, network, layer, to).await?;
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
            }
            Ok(())
        })
    })
    .await
}
