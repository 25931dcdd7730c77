//! Takes every running fleet operation its next steps. What a member is doing is read from its operation, so that a
//! crash anywhere is just another look; who pauses or cancels is wholly before or wholly after a beginning.

use alloy_primitives::U256;
use api::lifecycle::v1::{CreateOperationRequest, FleetSpec, OperationMode};
use api::reasons;
use chain::rpc::BlockId;
use chain::views;
use domain::amount::Eth;
use domain::fleet::{Exits, Member as Standing, Next, Wait, together};
use domain::network::Variant;
use futures::{StreamExt, stream};
use store::column::Wei;
use store::in_transaction;
use uuid::Uuid;

use super::spec;
use crate::db::fleet::{self as table, Member, Row};
use crate::db::operation::State;
use crate::db::transaction;
use crate::error::Error;
use crate::failpoint::Point;
use crate::operations::create;
use crate::operations::origin::{Asker, Origin};
use crate::reconcile::agenda::Agenda;
use crate::reconcile::budget;

/// What a member waits for although its turn has come; others go on meanwhile.
const WAITS_FOR: [&str; 5] =
    ["OPERATION_IN_FLIGHT", "EXIT_RESTRICTED", "ETH_TOO_LOW", "POOL_PAUSED", "SIMULATION_UNAVAILABLE"];

/// Members whose checks run at once: each asks L1 several times, and the pacing is kept all the same.
const AT_ONCE: usize = 8;

/// One look at every unfinished fleet operation of a network.
pub async fn look(agenda: &Agenda<'_>) -> Result<(), Error> {
    for row in table::unfinished(&agenda.fleet.db, &agenda.chain.name).await? {
        match one(agenda, &row).await {
            Ok(()) => {}
            Err(error) if error.is_fenced() => return Err(error),
            // What could not be read says nothing of the others: the look is made again.
            Err(error) => tracing::warn!("fleet operation {} waits: {}", row.id, runtime::report(&error)),
        }
    }
    Ok(())
}

async fn one(agenda: &Agenda<'_>, row: &Row) -> Result<(), Error> {
    if row.state == table::RUNNING {
        return run(agenda, row.id).await;
    }
    if row.approve_by.is_some_and(|by| by <= agenda.fleet.clock.now()) {
        let code = reasons::OPERATION_EXPIRED.name;
        return end(agenda, row, table::EXPIRED, "it was not approved in time", code).await;
    }
    Ok(())
}

/// What became of a member whose turn has come.
enum Turn {
    Begun,
    /// It waits for something of its own.
    Waits,
    Refused,
    /// The fleet operation was stopped meanwhile.
    Stopped,
}

/// Begins all that may begin now. Members and counts are read once: what begins, waits or is refused meanwhile is only
/// this look's own doing.
async fn run(agenda: &Agenda<'_>, id: Uuid) -> Result<(), Error> {
    let Some(row) = table::of_id(&agenda.fleet.db, id).await? else { return Ok(()) };
    let asked = spec::stored(&row.spec)?;
    let members = members(agenda, &row).await?;
    let mut standing = standing(agenda, &members).await?;
    let exits = exits(agenda, &row).await?;
    let mut passed_over = Vec::new();
    // Every round begins, refuses or passes over at least one member.
    for _ in 0..=members.len() {
        // A pause counts at once, and so does another budget.
        let Some(row) = table::of_id(&agenda.fleet.db, id).await? else { return Ok(()) };
        if row.state != table::RUNNING {
            return Ok(());
        }
        let since = row
            .begun_time
            .map(|begun| u64::try_from((agenda.fleet.clock.now() - begun).whole_seconds()).unwrap_or(0));
        let terms = spec::terms(&asked, row.fee_budget.map(|wei| wei.0));
        let (places, then) = together(&terms, &mut standing, &passed_over, exits, since, AT_ONCE);
        if places.is_empty() {
            return settle(agenda, &row, then, &members, &passed_over).await;
        }
        let each = places.into_iter().map(|place| {
            let begun = begin(agenda, &row, &asked, &members[place]);
            async move { (place, begun.await) }
        });
        let turns: Vec<_> = stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
        for (place, turn) in turns {
            match turn? {
                Turn::Begun => {}
                Turn::Waits => {
                    standing[place] = Standing::Planned(Eth(members[place].fee_max.0));
                    passed_over.push(place);
                }
                Turn::Refused => standing[place] = Standing::Refused,
                Turn::Stopped => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Does what is to be done where nobody may begin.
async fn settle(
    agenda: &Agenda<'_>,
    row: &Row,
    then: Next,
    members: &[Member],
    passed_over: &[usize],
) -> Result<(), Error> {
    match then {
        Next::Begin(_) => Ok(()),
        Next::Wait(wait) => waits(agenda, row, &words(wait, members, passed_over)).await,
        Next::CanaryFailed(place) => {
            let reason = format!("canary {} was not confirmed: the rest is not begun", members[place].name);
            end(agenda, row, table::FAILED, &reason, reasons::FLEET_CANARY_FAILED.name).await
        }
        Next::Budget { used, needed } => {
            let reason = format!(
                "the fee budget stops it: {used} ETH are spent or reserved, the next needs at most {needed}"
            );
            end(agenda, row, table::PAUSED, &reason, reasons::FLEET_BUDGET.name).await
        }
        Next::Done => end(agenda, row, table::DONE, "every member has its result", "").await,
    }
}

/// Members that are to be done, in order, with what those cost that are final.
async fn members(agenda: &Agenda<'_>, row: &Row) -> Result<Vec<Member>, Error> {
    let mut members = table::members(&agenda.fleet.db, row.id, -1, spec::MEMBERS_MAX).await?;
    members.retain(|member| member.state != table::SKIPPED);
    for member in members.iter_mut().filter(|member| member.spent.is_none()) {
        let ended = state(member).is_some_and(State::is_final);
        let (Some(operation), true) = (member.operation, ended) else { continue };
        let wei = cost(agenda, operation).await?;
        in_transaction(&agenda.fleet.db, |tx| {
            let (fleet, place) = (member.fleet, member.place);
            Box::pin(async move {
                agenda.held.prove(&*tx).await?;
                Ok::<_, Error>(table::spent(&*tx, fleet, place, wei).await?)
            })
        })
        .await?;
        member.spent = Some(wei);
    }
    Ok(members)
}

/// What receipts say an operation has cost.
async fn cost(agenda: &Agenda<'_>, operation: Uuid) -> Result<Wei, Error> {
    let calls = transaction::of_operation(&agenda.fleet.db, operation).await?;
    let paid = calls.iter().filter_map(|call| call.paid);
    Ok(Wei(paid.fold(U256::ZERO, |sum, wei| sum.saturating_add(wei.0))))
}

fn state(member: &Member) -> Option<State> {
    let name = member.operation_state.as_deref()?;
    State::ALL.into_iter().find(|state| state.name() == name)
}

async fn standing(agenda: &Agenda<'_>, members: &[Member]) -> Result<Vec<Standing>, Error> {
    let open = |member: &&Member| state(member).is_some_and(|state| !state.is_final());
    let ids: Vec<Uuid> = members.iter().filter(open).filter_map(|member| member.operation).collect();
    let calls = transaction::of_operations(&agenda.fleet.db, &ids).await?;
    let ceiling = U256::from(agenda.fleet.config.fees.max_fee_per_gas_wei);
    Ok(members
        .iter()
        .map(|member| {
            let most = Eth(member.fee_max.0);
            let spent = member.spent.map_or(most, |wei| Eth(wei.0));
            match state(member) {
                None if member.state == table::PLANNED => Standing::Planned(most),
                None => Standing::Refused,
                Some(State::Confirmed) => Standing::Confirmed(spent),
                Some(ended) if ended.is_final() => Standing::Ended(spent),
                // More calls than were planned, as after a new quote, cost more.
                Some(_) => Standing::Open(most.max(committed(&calls, member.operation, ceiling))),
            }
        })
        .collect())
}

/// The most that the calls of an operation can still cost with fees at the ceiling.
fn committed(calls: &[transaction::Row], operation: Option<Uuid>, ceiling: U256) -> Eth {
    let mine = calls.iter().filter(|call| Some(call.operation) == operation);
    Eth(mine.fold(U256::ZERO, |sum, call| sum.saturating_add(budget::cost_max(call, Wei(ceiling)))))
}

/// The counts of the BFT rule, where the contract behind the proxy now may have it.
async fn exits(agenda: &Agenda<'_>, row: &Row) -> Result<Option<Exits>, Error> {
    if row.kind != "unlock" {
        return Ok(None);
    }
    let (chain, at) = (agenda.chain, BlockId::Latest);
    let asked = (views::implementation(chain.locking_pool, at), views::status_counts(chain.locking_pool, at));
    let (implementation, counts) = chain.l1.ask(asked).await?;
    let may_have_it = chain.variant_of(implementation) != Variant::Main;
    Ok(may_have_it.then_some(Exits { active: counts.active, exiting: counts.inactive }))
}

/// Asks for the operation of a member, exactly as anybody asks.
async fn begin(agenda: &Agenda<'_>, row: &Row, asked: &FleetSpec, member: &Member) -> Result<Turn, Error> {
    let request = CreateOperationRequest {
        request_id: member.request_id.to_string(),
        sequencer: member.sequencer.to_string(),
        parameters: asked.parameters.clone(),
        mode: OperationMode::Managed.into(),
        validate_only: false,
        terms: spec::member_terms(asked),
    };
    let origin = Origin::Fleet { id: row.id, held: agenda.held.clone(), now: agenda.fleet.clock.now() };
    let asker = Asker { caller: row.caller.clone(), origin };
    agenda.fleet.failpoints.meet(Point::BeforeMember).await;
    let answer = create::ask(agenda.fleet, request, &asker).await;
    agenda.fleet.failpoints.meet(Point::AfterMember).await;
    let refusal = match answer {
        Ok(_) => return Ok(Turn::Begun),
        Err(Error::Refused(refusal)) => refusal,
        Err(error) => return Err(error),
    };
    let code = refusal.reason.name;
    if code == reasons::FLEET_STATE_WRONG.name {
        return Ok(Turn::Stopped);
    }
    let waits = WAITS_FOR.contains(&code);
    let state = if waits { table::PLANNED } else { table::REFUSED };
    in_transaction(&agenda.fleet.db, |tx| {
        let (fleet, place, reason) = (row.id, member.place, refusal.message.clone());
        Box::pin(async move {
            agenda.held.prove(&*tx).await?;
            Ok::<_, Error>(table::enter_member(&*tx, fleet, place, state, &reason, code).await?)
        })
    })
    .await?;
    Ok(if waits { Turn::Waits } else { Turn::Refused })
}

fn words(wait: Wait, members: &[Member], passed_over: &[usize]) -> String {
    let waiting = passed_over.first().map(|place| members[*place].name.as_str());
    match (wait, waiting) {
        (Wait::Canary, _) => "waits for its canaries to be confirmed".to_owned(),
        (Wait::InFlight, _) => "waits for unfinished members: as many are under way as may be".to_owned(),
        (Wait::Interval(_), _) => "waits for the time between two members".to_owned(),
        (Wait::Exits, _) => "waits until the BFT rule lets one more exit".to_owned(),
        (Wait::Results, Some(name)) => format!("waits for {name} and others whose own reasons are with them"),
        (Wait::Results, None) => "every member has begun; waits for their results".to_owned(),
    }
}

async fn waits(agenda: &Agenda<'_>, row: &Row, reason: &str) -> Result<(), Error> {
    in_transaction(&agenda.fleet.db, |tx| {
        Box::pin(async move {
            agenda.held.prove(&*tx).await?;
            let fresh = table::lock(&*tx, row.id).await?;
            if fresh.is_some_and(|fresh| fresh.state == table::RUNNING) {
                table::enter(&*tx, row.id, table::RUNNING, reason, "").await?;
            }
            Ok::<_, Error>(())
        })
    })
    .await
}

/// Stops it; unless it is only paused, what has not begun never will.
async fn end(agenda: &Agenda<'_>, row: &Row, state: &str, reason: &str, code: &str) -> Result<(), Error> {
    in_transaction(&agenda.fleet.db, |tx| {
        Box::pin(async move {
            agenda.held.prove(&*tx).await?;
            let fresh = table::lock(&*tx, row.id).await?;
            if fresh.is_none_or(|fresh| fresh.state != row.state) {
                return Ok(());
            }
            table::enter(&*tx, row.id, state, reason, code).await?;
            if state != table::PAUSED {
                table::give_up(&*tx, row.id, reason, code).await?;
            }
            Ok::<_, Error>(())
        })
    })
    .await
}
