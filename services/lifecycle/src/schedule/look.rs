//! Makes every look that is due: reads the facts, lets the domain decide, asks for the operation, records the decision.
//! A crash between the last two finds the operation by its request id and records the decision then.

use api::lifecycle::v1::{CreateOperationRequest, OperationMode};
use domain::amount::Metis;
use domain::ids::Timestamp;
use domain::schedule::{Decision, Facts, Rule, after, decide, slot};
use store::in_transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::rule;
use crate::db::schedule::{self as table, ACTIVE, FINISHED, Row, Run};
use crate::db::{cursor, operation};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet_run::request_id;
use crate::operations::create;
use crate::operations::origin::{Asker, Origin};
use crate::operations::plan::{Gas, plan};
use crate::operations::subject::{asked, standing};
use crate::reconcile::agenda::Agenda;

/// Schedules looked at in one go; the others are due at the next.
const AT_ONCE: u32 = 100;

/// What a look came to.
struct Outcome {
    decision: Decision,
    operation: Option<Uuid>,
    now: Timestamp,
}

/// One look at all schedules of a network that are due by the chain's clock.
pub async fn look(agenda: &Agenda<'_>) -> Result<(), Error> {
    let Some(place) = cursor::of(&agenda.fleet.db, &agenda.chain.name).await? else { return Ok(()) };
    let (Some(now), None) = (place.block_time, place.hold()) else { return Ok(()) };
    for row in table::due(&agenda.fleet.db, &agenda.chain.name, now, AT_ONCE).await? {
        match one(agenda, &row, seconds(now)).await {
            Ok(()) => {}
            Err(error) if error.is_fenced() => return Err(error),
            // What could not be read says nothing: the look is made again.
            Err(error) => tracing::warn!("schedule {} waits: {}", row.id, runtime::report(&error)),
        }
    }
    Ok(())
}

async fn one(agenda: &Agenda<'_>, row: &Row, now: Timestamp) -> Result<(), Error> {
    let (_, rule) = rule::stored(&row.rule)?;
    let request = request_id(row.id, &row.next_look.unix_timestamp().to_be_bytes());
    let outcome = match operation::of_request(&agenda.fleet.db, request).await? {
        Some(before) => Outcome {
            decision: Decision::Do { because: format!("asked to {}", before.words) },
            operation: Some(before.id),
            now,
        },
        None => act(agenda, row, &rule, request, now).await?,
    };
    record(agenda, row, &rule, outcome).await
}

async fn act(
    agenda: &Agenda<'_>,
    row: &Row,
    rule: &Rule,
    request: Uuid,
    applied: Timestamp,
) -> Result<Outcome, Error> {
    let origin = Origin::Schedule { id: row.id, held: agenda.held.clone() };
    let asker = Asker { caller: row.caller.clone(), origin };
    let facts = facts(agenda, row, rule, applied, &asker).await?;
    let now = facts.now;
    let decision = decide(rule, &facts);
    let Decision::Do { because } = decision else { return Ok(Outcome { decision, operation: None, now }) };
    let request = CreateOperationRequest {
        request_id: request.to_string(),
        sequencer: row.sequencer.to_string(),
        parameters: Some(rule::parameters(rule)),
        mode: OperationMode::Managed.into(),
        validate_only: false,
        terms: None,
    };
    agenda.fleet.failpoints.meet(Point::BeforeRun).await;
    let answer = create::ask(agenda.fleet, request, &asker).await;
    agenda.fleet.failpoints.meet(Point::AfterRun).await;
    match answer {
        Ok(answer) => {
            let id = answer.operation.and_then(|operation| Uuid::try_parse(&operation.id).ok());
            Ok(Outcome { decision: Decision::Do { because }, operation: id, now })
        }
        Err(Error::Refused(refusal)) => {
            let hindered = Facts { hindrance: Some(refusal.message.clone()), ..facts };
            Ok(Outcome { decision: decide(rule, &hindered), operation: None, now })
        }
        Err(error) => Err(error),
    }
}

async fn facts(
    agenda: &Agenda<'_>,
    row: &Row,
    rule: &Rule,
    applied: Timestamp,
    asker: &Asker,
) -> Result<Facts, Error> {
    let standing = standing(agenda.fleet, row.sequencer).await?;
    let (operation, subject) = asked(agenda.fleet, &standing, &rule::parameters(rule), None).await?;
    let plan = plan(agenda.fleet, agenda.chain, &operation, &subject, Gas::Estimated).await?;
    // Also one that waits for people or its time, which keeps nobody else out: a second one would do the same again.
    let unfinished = operation::unfinished_of(&agenda.fleet.db, row.sequencer, &asker.name()).await?;
    let hindrance = match unfinished {
        Some(before) => Some(format!("what it asked for before is not finished: {}", waiting(&before))),
        None => plan.first_failure().map(|check| check.message.clone()),
    };
    let seen = plan.picture.facts;
    let record = seen.record.as_ref();
    Ok(Facts {
        now: seen.block_time.max(applied),
        slot: slot(rule, seconds(row.first_look), seen.block_time.max(applied)),
        status: record.map(|record| record.status),
        principal: record.map_or(Metis::ZERO, |record| record.amount),
        reward: record.map_or(Metis::ZERO, |record| record.reward),
        max_lock: seen.max_lock,
        unlock_claim_time: record.map_or(Timestamp(0), |record| record.unlock_claim_time),
        cost: seen.eth_needed,
        hindrance,
    })
}

fn waiting(before: &operation::Row) -> String {
    let operation::Row { id, state, reason, .. } = before;
    format!("operation {id} is {state}, {reason}")
}

/// Writes the decision and the next look, unless somebody changed or stopped the schedule meanwhile.
async fn record(agenda: &Agenda<'_>, row: &Row, rule: &Rule, outcome: Outcome) -> Result<(), Error> {
    let Outcome { decision, operation, now } = outcome;
    let following = after(rule, slot(rule, seconds(row.first_look), now));
    let (state, name, because, next, settled) = match decision {
        Decision::Do { because } => (ACTIVE, "DONE", because, following, true),
        Decision::NotNow { because, again, settled } => (ACTIVE, "NOT_NOW", because, again, settled),
        Decision::Over { because } => (FINISHED, "OVER", because, following, true),
    };
    in_transaction(&agenda.fleet.db, |tx| {
        let because = because.clone();
        Box::pin(async move {
            agenda.held.prove(&*tx).await?;
            let Some(mut fresh) = table::lock(&*tx, row.id).await? else { return Ok(()) };
            // An operation that exists is told of even if the schedule was stopped right after.
            let stopped = fresh.state != ACTIVE || fresh.next_look != row.next_look;
            if stopped && operation.is_none() {
                return Ok(());
            }
            if settled {
                let run = Run {
                    ordinal: 0,
                    schedule: row.id,
                    slot: row.next_look,
                    decided: moment(now)?,
                    decision: name.to_owned(),
                    reason: because.clone(),
                    operation,
                };
                table::append_run(&*tx, &run).await?;
            }
            fresh.last_decision = because;
            fresh.last_time = Some(moment(now)?);
            fresh.last_operation = operation.or(fresh.last_operation);
            if !stopped {
                fresh.state = state.to_owned();
                fresh.next_look = moment(next)?;
            }
            Ok::<_, Error>(table::decided(&*tx, &fresh).await?)
        })
    })
    .await
}

/// A stored moment as chain time.
pub fn seconds(at: OffsetDateTime) -> Timestamp {
    Timestamp(u64::try_from(at.unix_timestamp()).unwrap_or(0))
}

/// Chain time as it is stored.
pub fn moment(at: Timestamp) -> Result<OffsetDateTime, Error> {
    let seconds = i64::try_from(at.0).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    seconds.ok_or(Error::Malformed { what: "a chain time" })
}
