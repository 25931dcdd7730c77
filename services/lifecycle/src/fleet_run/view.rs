//! Fleet operations as the wire shows them.

use std::collections::BTreeMap;

use api::lifecycle::v1::{
    FleetMember, FleetOperation, FleetState, GetFleetRequest, GetFleetResponse, ListFleetMembersRequest,
    ListFleetMembersResponse, ListFleetsRequest, ListFleetsResponse,
};
use runtime::page;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::change::missing;
use super::spec;
use crate::approval::state;
use crate::db::fleet::{Member, Row, Tally};
use crate::db::{approval, fleet as table};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::view::time;
use crate::request;

/// One by its id.
pub async fn get(fleet: &Fleet, request: GetFleetRequest) -> Result<GetFleetResponse, Error> {
    let id = request::id("id", &request.id)?;
    let row = table::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    Ok(GetFleetResponse { fleet: Some(fleet_of(&fleet.db, row).await?) })
}

/// A page, newest first.
pub async fn list(fleet: &Fleet, request: ListFleetsRequest) -> Result<ListFleetsResponse, Error> {
    let ListFleetsRequest { network, page_size, page_token } = request;
    let network = match network.as_str() {
        "" => None,
        name => Some(fleet.network("network", name)?.name.as_str()),
    };
    let limit = page::page_size(page_size)?;
    let before: Option<Uuid> = page::decode(&page_token, &network)?;
    let rows = table::page(&fleet.db, network, before, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.id);
    let next_page_token = last.map(|id| page::encode(&id, &network)).unwrap_or_default();
    Ok(ListFleetsResponse { fleets: fleets_of(&fleet.db, rows).await?, next_page_token })
}

/// A page of members, in the order in which they begin.
pub async fn members(
    fleet: &Fleet,
    request: ListFleetMembersRequest,
) -> Result<ListFleetMembersResponse, Error> {
    let id = request::id("fleet", &request.fleet)?;
    let row = table::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    let canaries = spec::stored(&row.spec)?.canary;
    let limit = page::page_size(request.page_size)?;
    let after: Option<i32> = page::decode(&request.page_token, &id)?;
    let rows = table::members(&fleet.db, id, after.unwrap_or(-1), limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.place);
    let next_page_token = last.map(|place| page::encode(&place, &id)).unwrap_or_default();
    let members = rows.into_iter().map(|row| member(row, canaries)).collect();
    Ok(ListFleetMembersResponse { members, next_page_token })
}

/// One as the wire shows it.
pub async fn fleet_of<C: ConnectionTrait>(db: &C, row: Row) -> Result<FleetOperation, Error> {
    let shown = fleets_of(db, vec![row]).await?;
    shown.into_iter().next().ok_or(Error::Malformed { what: "a fleet operation" })
}

async fn fleets_of<C: ConnectionTrait>(db: &C, rows: Vec<Row>) -> Result<Vec<FleetOperation>, Error> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut tallies: BTreeMap<Uuid, Tally> =
        table::tallies(db, &ids).await?.into_iter().map(|tally| (tally.fleet, tally)).collect();
    let mut decisions = BTreeMap::<Uuid, Vec<_>>::new();
    for decision in approval::of_many(db, &ids).await? {
        decisions.entry(decision.subject).or_default().push(decision);
    }
    rows.into_iter()
        .map(|row| {
            let said = decisions.remove(&row.id).unwrap_or_default();
            fleet(tallies.remove(&row.id), &said, row)
        })
        .collect()
}

fn fleet(tally: Option<Tally>, said: &[approval::Row], row: Row) -> Result<FleetOperation, Error> {
    let (requirements, approvals) =
        state::shown(&state::requirements(&row.requirements), said, row.digest.0, OffsetDateTime::now_utc());
    let shown = FleetState::from_str_name(&format!("FLEET_STATE_{}", row.state));
    let count = |count: Option<i64>| count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let tally = tally.as_ref();
    let mut spec = spec::stored(&row.spec)?;
    spec.fee_budget_wei = row.fee_budget.map(|wei| wei.0.to_string()).unwrap_or_default();
    Ok(FleetOperation {
        id: row.id.to_string(),
        spec: Some(spec),
        digest: row.digest.0.to_string(),
        state: shown.unwrap_or(FleetState::Unspecified).into(),
        reason: row.reason,
        reason_code: row.reason_code,
        caller: row.caller,
        included: count(tally.map(|tally| tally.included)),
        skipped: count(tally.map(|tally| tally.skipped)),
        open: count(tally.map(|tally| tally.open)),
        confirmed: count(tally.map(|tally| tally.confirmed)),
        failed: count(tally.map(|tally| tally.failed)),
        spent_wei: tally.map_or_else(|| "0".to_owned(), |tally| tally.spent.0.to_string()),
        requirements,
        approvals,
        create_time: Some(time(row.create_time)),
        update_time: Some(time(row.update_time)),
    })
}

fn member(row: Member, canaries: u32) -> FleetMember {
    let Member { place, sequencer, name, state, reason, reason_code, spent, operation, .. } = row;
    FleetMember {
        sequencer: sequencer.to_string(),
        name,
        canary: state != table::SKIPPED && u32::try_from(place).is_ok_and(|place| place < canaries),
        result: row.operation_state.unwrap_or(state),
        reason: row.operation_reason.unwrap_or(reason),
        reason_code: row.operation_code.unwrap_or(reason_code),
        operation: operation.map(|id| id.to_string()).unwrap_or_default(),
        spent_wei: spent.map(|wei| wei.0.to_string()).unwrap_or_default(),
    }
}
