//! On whose behalf an operation is asked for: a caller, or a loop of ours that must still be entitled to it when the
//! operation is stored.

use api::reasons;
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use store::lease::{Lease, fence};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::{SCHEMA, fleet, schedule};
use crate::error::Error;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The identity, of whoever made the fleet operation or the schedule too.
    pub caller: String,
    /// What makes it ask now.
    pub origin: Origin,
}

/// What asks.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The caller itself.
    Caller,
    /// A member of this fleet operation begins. The fleet as a whole was approved.
    Fleet { id: Uuid, held: Held, now: OffsetDateTime },
    /// A look of this schedule.
    Schedule { id: Uuid, held: Held },
}

/// The lease under which a loop acts.
#[derive(Debug, Clone)]
pub struct Held {
    pub name: String,
    pub lease: Lease,
}

impl Asker {
    /// A caller that asks itself.
    pub fn caller(caller: &str) -> Self {
        Self { caller: caller.to_owned(), origin: Origin::Caller }
    }

    /// As the tables and the wire have it.
    pub fn name(&self) -> String {
        match &self.origin {
            Origin::Caller => String::new(),
            Origin::Fleet { id, .. } => format!("fleet/{id}"),
            Origin::Schedule { id, .. } => format!("schedule/{id}"),
        }
    }

    /// Whether the rules ask others about this operation; members of a fleet were approved with it.
    pub const fn needs_approvals(&self) -> bool {
        !matches!(self.origin, Origin::Fleet { .. })
    }

    /// Inside the transaction that stores the operation: whether what asks may still do so. Who pauses or cancels it
    /// meanwhile is wholly before or wholly after.
    pub async fn prove<C: ConnectionTrait>(&self, tx: &C) -> Result<(), Error> {
        match &self.origin {
            Origin::Caller => Ok(()),
            Origin::Fleet { id, held, now } => {
                held.prove(tx).await?;
                let row = fleet::lock(tx, *id).await?;
                let running = row.is_some_and(|row| row.state == fleet::RUNNING);
                stopped(running, &reasons::FLEET_STATE_WRONG, "the fleet operation was stopped")?;
                // With the operation: whatever happens next, the time between two members is kept.
                Ok(fleet::begun(tx, *id, *now).await?)
            }
            Origin::Schedule { id, held } => {
                held.prove(tx).await?;
                let row = schedule::lock(tx, *id).await?;
                let active = row.is_some_and(|row| row.state == schedule::ACTIVE);
                stopped(active, &reasons::SCHEDULE_STATE_WRONG, "the schedule was stopped")
            }
        }
    }
}

impl Held {
    /// Proves that the loop still holds its lease.
    pub async fn prove<C: ConnectionTrait>(&self, tx: &C) -> Result<(), Error> {
        Ok(fence(tx, SCHEMA, &self.name, self.lease.epoch).await?)
    }
}

fn stopped(goes_on: bool, reason: &'static runtime::errors::Reason, words: &str) -> Result<(), Error> {
    if goes_on { Ok(()) } else { Err(Refusal::new(reason, words).into()) }
}
