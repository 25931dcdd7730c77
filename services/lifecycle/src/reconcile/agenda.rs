//! What waits for a time, a decision or for others: operations with terms, fleet operations, schedules. One holder for
//! each network under a fenced lease, which every effect proves; looks only at the tables.

use std::sync::Arc;

use api::reasons;
use runtime::shutdown::Shutdown;
use sea_orm::ConnectionTrait;
use store::in_transaction;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::lease::until_stopped;
use crate::approval::state::{approved, digest_of, missing, requirements};
use crate::db::operation::State;
use crate::db::{approval, operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet::{Chain, Fleet};
use crate::operations::origin::Held;
use crate::{fleet_run, schedule};

/// Rows read at once; a look goes on until it has seen all.
const BATCH: u32 = 200;

/// The agenda of one network, with the lease it holds.
#[derive(Debug, Clone)]
pub struct Agenda<'a> {
    pub fleet: &'a Fleet,
    pub chain: &'a Chain,
    pub held: Held,
}

/// Looks at the agenda of a network until shutdown.
pub async fn run(fleet: Arc<Fleet>, chain: Arc<Chain>, shutdown: Shutdown) {
    let claim = fleet.claim(format!("agenda/{}", chain.name));
    while !shutdown.is_stopped() {
        let work = |lease| looks(&fleet, &chain, Held { name: claim.name.clone(), lease }, &shutdown);
        if let Err(error) = until_stopped(&fleet.db, &claim, &shutdown, work).await {
            tracing::warn!("no lease for the agenda of {}: {}", chain.name, runtime::report(&error));
            tokio::select! {
                () = tokio::time::sleep(fleet.look_every()) => {}
                () = shutdown.stopped() => return,
            }
        }
    }
}

async fn looks(fleet: &Fleet, chain: &Chain, held: Held, shutdown: &Shutdown) {
    let agenda = Agenda { fleet, chain, held };
    let mut work = fleet.work.subscribe();
    loop {
        // Each part by itself: what stops one says nothing of the others.
        let parts = [
            ("operations that wait", agenda.admit().await),
            ("deadlines", agenda.expire().await),
            ("fleet operations", fleet_run::step::look(&agenda).await),
            ("schedules", schedule::look::look(&agenda).await),
        ];
        for (part, outcome) in parts {
            match outcome {
                Ok(()) => {}
                Err(error) if error.is_fenced() => return,
                Err(error) => {
                    tracing::warn!("the {part} of {} wait: {}", chain.name, runtime::report(&error));
                }
            }
        }
        tokio::select! {
            _ = work.changed() => {}
            () = tokio::time::sleep(fleet.look_every()) => {}
            () = shutdown.stopped() => return,
        }
    }
}

impl Agenda<'_> {
    /// Moves on what waited for its time, and ends what waited too long.
    async fn admit(&self) -> Result<(), Error> {
        let now = self.fleet.clock.now();
        let (mut after, mut admitted): (Option<Uuid>, bool) = (None, false);
        loop {
            let rows = operation::waiting(&self.fleet.db, &self.chain.name, now, after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in &rows {
                admitted |= self.admit_one(row.id, now).await?;
            }
        }
        if admitted {
            self.fleet.wake();
        }
        Ok(())
    }

    async fn admit_one(&self, id: Uuid, now: OffsetDateTime) -> Result<bool, Error> {
        self.fleet.failpoints.meet(Point::BeforeAdmission).await;
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.held.prove(&*tx).await?;
                let Some(row) = operation::lock(&*tx, id).await? else { return Ok(false) };
                let Some(Entry { state, reason, code }) = entry(&*tx, &row, now).await? else {
                    return Ok(false);
                };
                operation::enter(&*tx, id, state, &reason, code).await?;
                if state == State::PendingApproval {
                    operation::approve_until(&*tx, id, now.saturating_add(self.approval_wait())).await?;
                }
                Ok::<_, Error>(state == State::Queued)
            })
        })
        .await
    }

    /// How long people have to approve.
    fn approval_wait(&self) -> Duration {
        Duration::seconds(self.fleet.config.approvals.wait_secs.into())
    }

    /// Ends what was not begun by its deadline. What has a nonce may be mined at any time, so it is followed to its end.
    async fn expire(&self) -> Result<(), Error> {
        let now = self.fleet.clock.now();
        for row in operation::late(&self.fleet.db, &self.chain.name, now, BATCH).await? {
            self.expire_one(row.id, now).await?;
        }
        Ok(())
    }

    async fn expire_one(&self, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.held.prove(&*tx).await?;
                let Some(row) = operation::lock(&*tx, id).await? else { return Ok(()) };
                let calls = transaction::of_operation(&*tx, id).await?;
                let under_way = |call: &&transaction::Row| {
                    call.nonce.is_some() && (call.step_name == row.kind || call.receipt_block.is_none())
                };
                if row.may_begin(now) || row.state().is_final() || calls.iter().any(|call| under_way(&call)) {
                    return Ok(());
                }
                let done: Vec<&str> = calls
                    .iter()
                    .filter(|call| call.receipt_block.is_some())
                    .map(|call| call.step_name.as_str())
                    .collect();
                let Entry { state, reason, code } = late(&done);
                Ok::<_, Error>(operation::enter(&*tx, id, state, &reason, code).await?)
            })
        })
        .await
    }
}

/// Where an operation goes.
struct Entry {
    state: State,
    reason: String,
    code: &'static str,
}

fn late(done: &[&str]) -> Entry {
    let what = match done {
        [] => "nothing of it was sent".to_owned(),
        steps => format!("only {} was done, which stands", steps.join(", ")),
    };
    let code = reasons::OPERATION_EXPIRED.name;
    Entry { state: State::Expired, reason: format!("its deadline has passed: {what}"), code }
}

/// Where an operation that waits goes at `now`; none if it stays where it is.
async fn entry<C: ConnectionTrait>(
    tx: &C,
    row: &operation::Row,
    now: OffsetDateTime,
) -> Result<Option<Entry>, Error> {
    if !matches!(row.state(), State::PendingApproval | State::Scheduled) {
        return Ok(None);
    }
    if !row.may_begin(now) {
        return Ok(Some(late(&[])));
    }
    if row.state() == State::PendingApproval {
        let expired = row.approve_by.is_some_and(|by| by <= now);
        let reason = "it was not approved in time".to_owned();
        let code = reasons::OPERATION_EXPIRED.name;
        return Ok(expired.then_some(Entry { state: State::Expired, reason, code }));
    }
    // What was approved is this very content, or it waits again, for as long as at first: what was approved before the
    // digest of a newer version too. Once enough had approved in time, that stands.
    let decisions = approval::of_many(tx, &[row.id]).await?;
    let approved = approved(&decisions, digest_of(row), OffsetDateTime::UNIX_EPOCH);
    if let Some(missing) = missing(&requirements(&row.requirements), &approved) {
        let reason = format!("waits for approvals: {missing}; what was approved is not exactly this");
        return Ok(Some(Entry { state: State::PendingApproval, reason, code: "" }));
    }
    if row.not_before.is_some_and(|from| from > now) {
        return Ok(None);
    }
    Ok(Some(match operation::open_of(tx, row.sequencer, Some(row.id)).await? {
        None => Entry { state: State::Queued, reason: "waits for its lane".to_owned(), code: "" },
        Some(other) => Entry {
            state: State::Scheduled,
            reason: format!("its time has come, but operation {} is not finished", other.id),
            code: reasons::OPERATION_IN_FLIGHT.name,
        },
    }))
}
