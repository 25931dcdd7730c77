//! Holding back: while a reorganisation below `finalized` is unacknowledged, nothing is signed or sent on its network.
//!
//! Every decision to send looks at the stored hold in a transaction of its own lease, under a lock that excludes the
//! message that begins a hold. A crash, a restart or another replica therefore finds the same answer. What waits goes
//! on by itself, because the lanes look again when the indexer says that somebody has acknowledged.

use sea_orm::ConnectionTrait;
use store::in_transaction;
use store::lease::fence;
use uuid::Uuid;

use super::outcome::{Confirm, lease_name};
use super::send::Lane;
use crate::db::cursor::Hold;
use crate::db::operation::State;
use crate::db::{SCHEMA, cursor, operation};
use crate::error::Error;

/// Inside the transaction that decides a send: whether it must wait. The operation then says so.
pub async fn must_wait<C: ConnectionTrait>(tx: &C, network: &str, id: Uuid) -> Result<bool, Error> {
    let Some(hold) = cursor::hold(tx, network).await? else { return Ok(false) };
    let row = operation::lock(tx, id).await?;
    if let Some(row) = row.filter(|row| !row.state().is_final()) {
        // Mined is the approval: nothing of it is under way any more.
        let state = if row.state() == State::Mined { State::Queued } else { row.state() };
        operation::enter(tx, id, state, &hold.words(), api::reasons::NETWORK_HELD.name).await?;
    }
    Ok(true)
}

impl Lane<'_> {
    /// Whether this lane is still ours and its network is not held.
    pub async fn may_send(&self, operation: Uuid) -> Result<bool, Error> {
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.fence(&*tx).await?;
                Ok::<_, Error>(!must_wait(&*tx, &self.chain.name, operation).await?)
            })
        })
        .await
    }
}

impl Confirm<'_> {
    /// Why nothing may be sent, if so.
    pub async fn hold(&self) -> Result<Option<Hold>, Error> {
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                fence(&*tx, SCHEMA, &lease_name(&self.chain.name), self.lease.epoch).await?;
                Ok::<_, Error>(cursor::hold(&*tx, &self.chain.name).await?)
            })
        })
        .await
    }
}
