//! What people do to a fleet operation that exists: decide about it, pause it, resume it, stop it.

use alloy_primitives::B256;
use api::lifecycle::v1::FleetOperation;
use api::reasons;
use domain::amount::Eth;
use runtime::errors::Refusal;
use store::column::Wei;
use store::in_transaction;
use uuid::Uuid;

use super::view;
use crate::approval::decide::{About, Said, Settled, cut, not_awaited, record, said_before};
use crate::approval::state::requirements;
use crate::db::fleet::{self as table, CANCELLED, PAUSED, PENDING_APPROVAL, RUNNING, Row};
use crate::db::{approval, operation};
use crate::error::Error;
use crate::fleet::Fleet;

/// What somebody wants.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Begin no further member.
    Pause { reason: String },
    /// Go on, perhaps with a new budget.
    Resume { budget: Option<Eth> },
    /// Begin no further member, ever.
    Cancel { reason: String },
    /// Yes to the plan with this digest.
    Approve { digest: B256, reason: String },
    /// No.
    Reject { reason: String },
}

/// The refusal for an unknown id.
pub fn missing(id: Uuid) -> Refusal {
    Refusal::new(&reasons::FLEET_NOT_FOUND, format!("there is no fleet operation {id}")).meta("fleet", id)
}

/// Does it under the lock that every beginning of a member takes too; wishing the same again changes nothing.
pub async fn run(fleet: &Fleet, id: Uuid, identity: &str, wish: Wish) -> Result<FleetOperation, Error> {
    let shown = in_transaction(&fleet.db, |tx| {
        let wish = wish.clone();
        Box::pin(async move {
            let row = table::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let moved = match wish {
                Wish::Pause { reason } => pause(&row, identity, &reason)?,
                Wish::Cancel { reason } => cancel(&row, identity, &reason)?,
                Wish::Resume { budget } => {
                    let moved = resume(&row, budget)?;
                    if let Some(budget) = budget {
                        table::set_budget(&*tx, id, Wei(budget.0)).await?;
                    }
                    moved
                }
                Wish::Approve { digest, reason } => {
                    let said = Said::Yes { digest, reason: cut(&reason) };
                    decided(fleet, &*tx, &row, identity, &said).await?
                }
                Wish::Reject { reason } => {
                    let said = Said::No { reason: cut(&reason) };
                    decided(fleet, &*tx, &row, identity, &said).await?
                }
            };
            if let Some((state, reason)) = moved {
                table::enter(&*tx, id, state, &reason, "").await?;
                if state == CANCELLED {
                    table::give_up(&*tx, id, &reason, "").await?;
                }
                store::notify::notify(&*tx, operation::CHANNEL, &id.to_string()).await?;
            }
            let row = table::of_id(&*tx, id).await?.ok_or_else(|| missing(id))?;
            view::fleet_of(&*tx, row).await
        })
    })
    .await?;
    fleet.wake();
    Ok(shown)
}

type Moved = Option<(&'static str, String)>;

fn wrong(row: &Row, verb: &str) -> Refusal {
    let words = format!("it is {}: it cannot be {verb}", row.state);
    Refusal::new(&reasons::FLEET_STATE_WRONG, words).meta("state", &row.state)
}

fn by(identity: &str, what: &str, reason: &str) -> String {
    match cut(reason).as_str() {
        "" => format!("{what} by {identity}"),
        reason => format!("{what} by {identity}: {reason}"),
    }
}

fn pause(row: &Row, identity: &str, reason: &str) -> Result<Moved, Refusal> {
    match row.state.as_str() {
        PAUSED => Ok(None),
        RUNNING => Ok(Some((PAUSED, by(identity, "paused", reason)))),
        _ => Err(wrong(row, "paused")),
    }
}

fn resume(row: &Row, budget: Option<Eth>) -> Result<Moved, Refusal> {
    if budget.is_some() && !requirements(&row.requirements).is_empty() {
        let words = "others approved the budget too: ask for another fleet operation";
        return Err(Refusal::new(&reasons::FLEET_STATE_WRONG, words).meta("state", &row.state));
    }
    match row.state.as_str() {
        RUNNING => Ok(None),
        PAUSED => Ok(Some((RUNNING, "resumed".to_owned()))),
        _ => Err(wrong(row, "resumed")),
    }
}

fn cancel(row: &Row, identity: &str, reason: &str) -> Result<Moved, Refusal> {
    match row.state.as_str() {
        CANCELLED => Ok(None),
        RUNNING | PAUSED | PENDING_APPROVAL => Ok(Some((CANCELLED, by(identity, "cancelled", reason)))),
        _ => Err(wrong(row, "cancelled")),
    }
}

async fn decided<C: sea_orm::ConnectionTrait>(
    fleet: &Fleet,
    tx: &C,
    row: &Row,
    identity: &str,
    said: &Said,
) -> Result<Moved, Error> {
    if row.state != PENDING_APPROVAL {
        let before = approval::of_many(tx, &[row.id]).await?;
        return if said_before(&before, identity, said) {
            Ok(None)
        } else {
            Err(not_awaited(&row.state).into())
        };
    }
    let requirements = requirements(&row.requirements);
    let about =
        About { subject: row.id, requester: &row.caller, requirements: &requirements, digest: row.digest.0 };
    Ok(Some(match record(fleet, tx, &about, identity, said, fleet.clock.now()).await? {
        Settled::Approved => (RUNNING, "approved".to_owned()),
        Settled::Waits(why) => (PENDING_APPROVAL, format!("waits for approvals: {why}")),
        Settled::Rejected(why) => (CANCELLED, why),
    }))
}
