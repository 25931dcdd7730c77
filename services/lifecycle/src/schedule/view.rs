//! Schedules and their runs as the wire shows them.

use api::lifecycle::v1::{
    GetScheduleRequest, GetScheduleResponse, ListScheduleRunsRequest, ListScheduleRunsResponse,
    ListSchedulesRequest, ListSchedulesResponse, Schedule, ScheduleRun, ScheduleState,
};
use runtime::page;
use uuid::Uuid;

use super::change::missing;
use super::rule;
use crate::db::schedule::{self as table, Row, Run};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::view::time;
use crate::request;

/// One by its id.
pub async fn get(fleet: &Fleet, request: GetScheduleRequest) -> Result<GetScheduleResponse, Error> {
    let id = request::id("id", &request.id)?;
    let row = table::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    Ok(GetScheduleResponse { schedule: Some(schedule_of(row)?) })
}

/// A page, newest first.
pub async fn list(fleet: &Fleet, request: ListSchedulesRequest) -> Result<ListSchedulesResponse, Error> {
    let ListSchedulesRequest { network, sequencer, page_size, page_token } = request;
    let network = match network.as_str() {
        "" => None,
        name => Some(fleet.network("network", name)?.name.as_str()),
    };
    let sequencer = match sequencer.as_str() {
        "" => None,
        text => Some(request::id("sequencer", text)?),
    };
    let limit = page::page_size(page_size)?;
    let about = (network, sequencer);
    let before: Option<Uuid> = page::decode(&page_token, &about)?;
    let rows = table::page(&fleet.db, network, sequencer, before, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.id);
    let next_page_token = last.map(|id| page::encode(&id, &about)).unwrap_or_default();
    let schedules = rows.into_iter().map(schedule_of).collect::<Result<_, _>>()?;
    Ok(ListSchedulesResponse { schedules, next_page_token })
}

/// A page of decisions, newest first; those of a removed schedule stay.
pub async fn runs(
    fleet: &Fleet,
    request: ListScheduleRunsRequest,
) -> Result<ListScheduleRunsResponse, Error> {
    let id = request::id("schedule", &request.schedule)?;
    let limit = page::page_size(request.page_size)?;
    let before: Option<i64> = page::decode(&request.page_token, &id)?;
    let rows = table::runs(&fleet.db, id, before, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.ordinal);
    let next_page_token = last.map(|ordinal| page::encode(&ordinal, &id)).unwrap_or_default();
    Ok(ListScheduleRunsResponse { runs: rows.into_iter().map(run).collect(), next_page_token })
}

/// One as the wire shows it.
pub fn schedule_of(row: Row) -> Result<Schedule, Error> {
    let (wire, rule) = rule::stored(&row.rule)?;
    let state = ScheduleState::from_str_name(&format!("SCHEDULE_STATE_{}", row.state));
    Ok(Schedule {
        id: row.id.to_string(),
        network: row.network,
        sequencer: row.sequencer.to_string(),
        rule: Some(wire),
        words: rule.words(),
        state: state.unwrap_or_default().into(),
        next_look: Some(time(row.next_look)),
        last_decision: row.last_decision,
        last_decision_time: row.last_time.map(time),
        last_operation: row.last_operation.map(|id| id.to_string()).unwrap_or_default(),
        caller: row.caller,
        create_time: Some(time(row.create_time)),
        etag: row.version.to_string(),
    })
}

fn run(row: Run) -> ScheduleRun {
    let Run { ordinal, schedule: _, slot, decided, decision, reason, operation } = row;
    ScheduleRun {
        id: u64::try_from(ordinal).unwrap_or(0),
        due_time: Some(time(slot)),
        decision_time: Some(time(decided)),
        decision,
        reason,
        operation: operation.map(|id| id.to_string()).unwrap_or_default(),
    }
}
