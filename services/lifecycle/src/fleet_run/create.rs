//! Begins what was planned: plans again, compares, and stores members once.

use std::collections::BTreeSet;

use api::lifecycle::v1::{CreateFleetRequest, CreateFleetResponse};
use api::{convert, reasons};
use prost::Message;
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use store::column::{Hash, Wei};
use store::{idempotency, in_transaction};
use time::Duration;
use uuid::Uuid;

use super::plan::{FleetPlan, make, needs_approvals};
use super::{request_id, spec, view};
use crate::approval::state;
use crate::db::fleet::{Member, PENDING_APPROVAL, PLANNED, RUNNING, Row, SKIPPED};
use crate::db::{SCHEMA, fleet as table, operation, request as earlier};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::once::Once;

const METHOD: &str = "CreateFleet";

/// Stores it with its members; asking again with the same request id gives the same answer.
pub async fn run(
    fleet: &Fleet,
    request: CreateFleetRequest,
    caller: &str,
) -> Result<CreateFleetResponse, Error> {
    let asked = convert::request_id("request_id", &request.request_id)?;
    let once = Once::of(asked, caller, &request, |bare| bare.request_id.clear());
    let before = earlier::seen(&fleet.db, &once.request_id, METHOD, &once.fingerprint).await?;
    if let Some(before) = once.answer(before)? {
        return Ok(before);
    }
    let read = convert::hash("plan_digest", &request.plan_digest)?;
    let plan = make(fleet, request.spec).await?;
    if plan.members.iter().all(|member| member.left_out.is_some()) {
        let words = match plan.members.len() {
            0 => "no managed sequencer has these labels".to_owned(),
            many => format!("all {many} are left out"),
        };
        return Err(Refusal::new(&reasons::FLEET_EMPTY, words).into());
    }
    if plan.digest != read {
        let words = "the plan is another one by now: other members are to be done, or the terms differ";
        return Err(Refusal::new(&reasons::FLEET_PLAN_CHANGED, words).meta("digest", plan.digest).into());
    }
    let (row, members) = rows(fleet, &plan, caller)?;
    let answer = in_transaction(&fleet.db, |tx| {
        let (once, row, members) = (once.clone(), row.clone(), members.clone());
        Box::pin(async move {
            let begun = idempotency::begin(&*tx, SCHEMA, &once.request_id, METHOD, &once.fingerprint).await?;
            if let Some(before) = once.answer(begun)? {
                return Ok(before);
            }
            let answer = store_all(&*tx, row, &members).await?;
            idempotency::finish(&*tx, SCHEMA, &once.request_id, METHOD, &answer.encode_to_vec()).await?;
            Ok::<_, Error>(answer)
        })
    })
    .await?;
    fleet.wake();
    Ok(answer)
}

async fn store_all<C: ConnectionTrait>(
    tx: &C,
    row: Row,
    members: &[Member],
) -> Result<CreateFleetResponse, Error> {
    table::insert(tx, &row).await?;
    table::insert_members(tx, members).await?;
    // Wakes the loops of every replica.
    store::notify::notify(tx, operation::CHANNEL, &row.id.to_string()).await?;
    Ok(CreateFleetResponse { fleet: Some(view::fleet_of(tx, row).await?) })
}

fn rows(fleet: &Fleet, plan: &FleetPlan, caller: &str) -> Result<(Row, Vec<Member>), Error> {
    let (id, now) = (Uuid::now_v7(), fleet.clock.now());
    let waits = needs_approvals(plan);
    let missing = state::missing(&plan.requirements, &BTreeSet::new()).unwrap_or_default();
    let wait = Duration::seconds(fleet.config.approvals.wait_secs.into());
    let row = Row {
        id,
        network: plan.spec.network.clone(),
        spec: plan.spec.encode_to_vec(),
        kind: plan.kind.clone(),
        digest: Hash(plan.digest),
        state: if waits { PENDING_APPROVAL } else { RUNNING }.to_owned(),
        reason: if waits { format!("waits for approvals: {missing}") } else { "begins".to_owned() },
        reason_code: String::new(),
        caller: caller.to_owned(),
        requirements: state::stored(&plan.requirements),
        approve_by: waits.then(|| now.saturating_add(wait)),
        fee_budget: spec::budget(&plan.spec)?.map(|eth| Wei(eth.0)),
        begun_time: None,
        create_time: now,
        update_time: now,
    };
    // Those who are done first, so that places are the order in which they begin.
    let (skipped, done): (Vec<_>, Vec<_>) = plan.members.iter().partition(|member| member.left_out.is_some());
    let members = (0..).zip(done.into_iter().chain(skipped)).map(|(place, member)| {
        let (reason_code, reason) =
            member.left_out.clone().unwrap_or_else(|| (String::new(), "waits for its turn".to_owned()));
        Member {
            fleet: id,
            place,
            sequencer: member.row.id,
            name: member.row.name.clone(),
            state: if member.left_out.is_some() { SKIPPED } else { PLANNED }.to_owned(),
            reason,
            reason_code,
            request_id: request_id(id, member.row.id.as_bytes()),
            fee_max: Wei(member.fee_max.0),
            spent: None,
            operation: None,
            operation_state: None,
            operation_reason: None,
            operation_code: None,
        }
    });
    Ok((row, members.collect()))
}
