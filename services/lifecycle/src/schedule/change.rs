//! What people do to schedules: add, change, pause, remove.

use api::lifecycle::v1::{
    CreateScheduleRequest, CreateScheduleResponse, DeleteScheduleRequest, DeleteScheduleResponse,
    ScheduleState, UpdateScheduleRequest, UpdateScheduleResponse,
};
use api::{convert, reasons};
use prost::Message;
use runtime::errors::Refusal;
use store::{idempotency, in_transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::look::moment;
use super::{rule, view};
use crate::db::schedule::{self as table, ACTIVE, DELETED, FINISHED, PAUSED, Row};
use crate::db::{SCHEMA, cursor, operation};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::once::Once;
use crate::operations::subject::standing;
use crate::request;

const METHOD: &str = "CreateSchedule";

/// The refusal for an unknown id.
pub fn missing(id: Uuid) -> Refusal {
    Refusal::new(&reasons::SCHEDULE_NOT_FOUND, format!("there is no schedule {id}")).meta("schedule", id)
}

/// Adds a schedule; asking again with the same request id gives the same answer.
pub async fn create(
    fleet: &Fleet,
    request: CreateScheduleRequest,
    caller: &str,
) -> Result<CreateScheduleResponse, Error> {
    let asked = convert::request_id("request_id", &request.request_id)?;
    let once = Once::of(asked, caller, &request, |bare| bare.request_id.clear());
    rule::asked(request.rule.as_ref())?;
    let standing = standing(fleet, request::id("sequencer", &request.sequencer)?).await?;
    if !standing.register.managed {
        let words = format!("{} is only observed", standing.register.name);
        return Err(Refusal::new(&reasons::SEQUENCER_NOT_MANAGED, words).into());
    }
    let first_look = match &request.first_look {
        Some(at) => moment(convert::chain_time("first_look", at)?)?,
        None => chain_time(fleet, &standing.register.network).await?,
    };
    let row = Row {
        id: Uuid::now_v7(),
        network: standing.register.network,
        sequencer: standing.register.id,
        rule: request.rule.unwrap_or_default().encode_to_vec(),
        state: ACTIVE.to_owned(),
        first_look,
        next_look: first_look,
        last_decision: String::new(),
        last_time: None,
        last_operation: None,
        caller: caller.to_owned(),
        version: 1,
        create_time: fleet.clock.now(),
    };
    let answer = in_transaction(&fleet.db, |tx| {
        let (once, row) = (once.clone(), row.clone());
        Box::pin(async move {
            let begun = idempotency::begin(&*tx, SCHEMA, &once.request_id, METHOD, &once.fingerprint).await?;
            if let Some(before) = once.answer(begun)? {
                return Ok(before);
            }
            table::insert(&*tx, &row).await?;
            let answer = CreateScheduleResponse { schedule: Some(view::schedule_of(row)?) };
            idempotency::finish(&*tx, SCHEMA, &once.request_id, METHOD, &answer.encode_to_vec()).await?;
            // Wakes the loops of every replica.
            store::notify::notify(&*tx, operation::CHANNEL, "").await?;
            Ok::<_, Error>(answer)
        })
    })
    .await?;
    fleet.wake();
    Ok(answer)
}

/// The time of the last applied block; our own clock before the first.
async fn chain_time(fleet: &Fleet, network: &str) -> Result<OffsetDateTime, Error> {
    let place = cursor::of(&fleet.db, network).await?;
    Ok(place.and_then(|place| place.block_time).unwrap_or_else(|| fleet.clock.now()))
}

/// Changes rule or state if nobody did since `etag` was read. Who changes the rule or makes it look again is from then on
/// the one who asks for its operations: nobody approves what came of an own change.
pub async fn update(
    fleet: &Fleet,
    request: UpdateScheduleRequest,
    caller: &str,
) -> Result<UpdateScheduleResponse, Error> {
    let wanted = request.state();
    let UpdateScheduleRequest { id, etag, rule: new_rule, state: _ } = request;
    let id = request::id("id", &id)?;
    convert::required("etag", &etag)?;
    if let Some(new) = &new_rule {
        rule::asked(Some(new))?;
    }
    let schedule = in_transaction(&fleet.db, |tx| {
        let (etag, new_rule) = (etag.clone(), new_rule.clone());
        Box::pin(async move {
            let row = table::lock(&*tx, id).await?.filter(|row| row.state != DELETED);
            let mut row = row.ok_or_else(|| missing(id))?;
            if etag != row.version.to_string() {
                let words = "the schedule was changed since it was read";
                let refusal = Refusal::new(&reasons::ETAG_MISMATCH, words);
                return Err(refusal.field("etag", "read the schedule again").into());
            }
            if row.state == FINISHED {
                let words = "the schedule is finished: add another one";
                return Err(Refusal::new(&reasons::SCHEDULE_STATE_WRONG, words).into());
            }
            match wanted {
                ScheduleState::Unspecified => {}
                ScheduleState::Active => {
                    if row.state != ACTIVE {
                        row.caller = caller.to_owned();
                    }
                    row.state = ACTIVE.to_owned();
                }
                ScheduleState::Paused => row.state = PAUSED.to_owned(),
                ScheduleState::Finished => {
                    let why = "set ACTIVE or PAUSED; delete it to end it";
                    return Err(convert::bad(&reasons::SCHEDULE_RULE_INVALID, "state", why).into());
                }
            }
            if let Some(new) = new_rule {
                row.rule = new.encode_to_vec();
                row.caller = caller.to_owned();
                // The new rhythm begins with the next look.
                row.first_look = row.next_look;
            }
            table::update(&*tx, &row).await?;
            let row = table::of_id(&*tx, id).await?.ok_or_else(|| missing(id))?;
            view::schedule_of(row)
        })
    })
    .await?;
    fleet.wake();
    Ok(UpdateScheduleResponse { schedule: Some(schedule) })
}

/// Removes a schedule; doing so again changes nothing.
pub async fn delete(fleet: &Fleet, request: DeleteScheduleRequest) -> Result<DeleteScheduleResponse, Error> {
    let id = request::id("id", &request.id)?;
    in_transaction(&fleet.db, |tx| {
        Box::pin(async move {
            let row = table::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            if row.state != DELETED {
                table::update(&*tx, &Row { state: DELETED.to_owned(), ..row }).await?;
            }
            Ok::<_, Error>(DeleteScheduleResponse {})
        })
    })
    .await
}
