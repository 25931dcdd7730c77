//! What the confirm loop writes: a transaction's new state and its operation's, together, fenced by the loop's lease.

use store::in_transaction;
use store::lease::{Lease, fence};
use uuid::Uuid;

use crate::db::operation::State;
use crate::db::transaction::Mined;
use crate::db::{SCHEMA, operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan;

/// The loop of one network, with the lease it holds.
#[derive(Debug, Clone, Copy)]
pub struct Confirm<'a> {
    pub fleet: &'a Fleet,
    pub chain: &'a Chain,
    pub lease: Lease,
}

/// What happened to a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Nothing new.
    None,
    /// It is in a block.
    Mined(Mined),
    /// It is settled in this state, for good if its block is final.
    Settled { state: &'static str, finalized: bool },
    /// It was handed to the endpoints at this head.
    Sent { answer: String, head: i64 },
    /// It is to be sent again as soon as the network is not held.
    Unsent,
}

impl Change {
    /// Where a test may stop before and after it is stored.
    fn failpoints(&self) -> Option<(Point, Point)> {
        match self {
            Self::Mined(_) => Some((Point::BeforeReceipt, Point::AfterReceipt)),
            Self::Settled { .. } => Some((Point::BeforeConfirm, Point::AfterConfirm)),
            Self::None | Self::Sent { .. } | Self::Unsent => None,
        }
    }
}

/// Where its operation stands with that.
#[derive(Debug, Clone, PartialEq)]
pub struct Entered {
    pub state: State,
    pub reason: String,
    pub code: &'static str,
}

/// Name of the lease of the confirm loop.
pub fn lease_name(network: &str) -> String {
    format!("confirm/{network}")
}

impl Confirm<'_> {
    /// Writes both in one transaction.
    pub async fn store(
        &self,
        row: &transaction::Row,
        change: Change,
        entered: Option<Entered>,
    ) -> Result<(), Error> {
        self.store_seen(row, change, entered, None).await
    }

    /// The same, unless the operation has left the state in which it was `seen`, as by a cancel: then nothing is written,
    /// and the next look decides.
    pub async fn store_seen(
        &self,
        row: &transaction::Row,
        change: Change,
        entered: Option<Entered>,
        seen: Option<State>,
    ) -> Result<(), Error> {
        let (id, operation) = (row.id, row.operation);
        let fills = row.fills;
        let is_preparation = plan::is_preparation(&row.step_name);
        let points = change.failpoints();
        if let Some((before, _)) = points {
            self.fleet.failpoints.meet(before).await;
        }
        in_transaction(&self.fleet.db, |tx| {
            let (change, entered) = (change.clone(), entered.clone());
            Box::pin(async move {
                fence(&*tx, SCHEMA, &lease_name(&self.chain.name), self.lease.epoch).await?;
                if let Some(seen) = seen {
                    let now = operation::lock(&*tx, operation).await?;
                    if now.is_none_or(|now| now.state() != seen) {
                        return Ok(());
                    }
                }
                match change {
                    Change::None => {}
                    Change::Mined(mined) => transaction::mined(&*tx, id, &mined).await?,
                    Change::Settled { state, finalized } => {
                        transaction::set_state(&*tx, id, state, finalized).await?;
                    }
                    Change::Sent { answer, head } => transaction::sent(&*tx, id, &answer, head).await?,
                    Change::Unsent => transaction::unsent(&*tx, id).await?,
                }
                let Some(Entered { state, reason, code }) = entered else { return Ok(()) };
                // What becomes of a preparation must not bring an operation back that has ended.
                let row = operation::lock(&*tx, operation).await?;
                if fills {
                    return Ok(());
                }
                if is_preparation && row.is_some_and(|row| row.state().is_final()) {
                    return Ok(());
                }
                Ok::<_, Error>(operation::enter(&*tx, operation, state, &reason, code).await?)
            })
        })
        .await?;
        if let Some((_, after)) = points {
            self.fleet.failpoints.meet(after).await;
        }
        Ok(())
    }

    /// Ends prepared operations whose wallet is late; calls of theirs that were signed are still followed.
    pub async fn expire(&self) -> Result<(), Error> {
        for row in operation::overdue(&self.fleet.db, &self.chain.name).await? {
            self.expire_one(row.id).await?;
        }
        Ok(())
    }

    async fn expire_one(&self, id: Uuid) -> Result<(), Error> {
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                fence(&*tx, SCHEMA, &lease_name(&self.chain.name), self.lease.epoch).await?;
                let row = operation::lock(&*tx, id).await?;
                // The wallet may have been in time after all.
                if row.is_none_or(|row| row.state() != State::Queued) {
                    return Ok(());
                }
                for one in transaction::of_operation(&*tx, id).await? {
                    transaction::drop_unsigned(&*tx, one.id).await?;
                }
                let code = api::reasons::OPERATION_EXPIRED.name;
                let reason = "the wallet did not send it in time";
                Ok::<_, Error>(operation::enter(&*tx, id, State::Expired, reason, code).await?)
            })
        })
        .await
    }

    /// Says why an operation waits.
    pub async fn waits(&self, row: &transaction::Row, reason: String) -> Result<(), Error> {
        let entered = Entered { state: State::Mined, reason, code: "" };
        self.store(row, Change::None, Some(entered)).await
    }
}
