//! What a fleet operation would do: for whom, with which checks, at what cost, and who is left out and why. Stores nothing.

use std::collections::BTreeSet;

use alloy_primitives::{B256, U256};
use api::lifecycle::v1::{FleetSpec, PlanFleetRequest, PlanFleetResponse, PlannedMember};
use api::types::v1::Check;
use api::{convert, reasons};
use domain::amount::Eth;
use domain::approval::{Requirement, digest_of};
use domain::network::Variant;
use domain::operation::Operation;
use domain::{approval, exit, preflight};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use runtime::errors::Refusal;

use super::spec;
use crate::approval::state;
use crate::db::sequencer;
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::{Gas, Plan, plan};
use crate::operations::subject::{asked, key_of, standing};
use crate::operations::terms::{self, Terms};

/// Members whose checks run at once.
const AT_ONCE: usize = 8;
/// Separates plan digests from every other use of the hash.
const TAG: &[u8] = b"sequencer.lifecycle.fleet.v1";

/// A plan with everything that creating it needs.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    pub spec: FleetSpec,
    pub kind: String,
    pub members: Vec<Planned>,
    pub requirements: BTreeSet<Requirement>,
    pub digest: B256,
}

/// One sequencer of the selection.
#[derive(Debug, Clone)]
pub struct Planned {
    pub row: sequencer::Row,
    /// Why it is left out: reason and words.
    pub left_out: Option<(String, String)>,
    pub words: String,
    pub checks: Vec<Check>,
    pub fee: Eth,
    pub fee_max: Eth,
    kind: String,
    requirements: BTreeSet<Requirement>,
    /// Active and exiting, where the BFT rule counts.
    exits: Option<(u64, u64)>,
}

/// Answers a call.
pub async fn run(fleet: &Fleet, request: PlanFleetRequest) -> Result<PlanFleetResponse, Error> {
    let plan = make(fleet, request.spec).await?;
    let included = || plan.members.iter().filter(|member| member.left_out.is_none());
    let sum = |fees: Vec<Eth>| Eth::checked_sum(fees).unwrap_or(Eth::MAX);
    let fee_max = sum(included().map(|member| member.fee_max).collect());
    let budget = spec::budget(&plan.spec)?;
    let (requirements, _) = state::shown(&plan.requirements, &[], plan.digest, fleet.clock.now());
    Ok(PlanFleetResponse {
        digest: plan.digest.to_string(),
        included: u32::try_from(included().count()).unwrap_or(u32::MAX),
        fee_wei: sum(included().map(|member| member.fee).collect()).wei_string(),
        fee_max_wei: fee_max.wei_string(),
        within_budget: budget.is_none_or(|budget| fee_max <= budget),
        requirements,
        members: plan.members.into_iter().map(shown).collect(),
    })
}

fn shown(member: Planned) -> PlannedMember {
    let Planned { row, left_out, words, checks, fee, fee_max, .. } = member;
    let (reason_code, words) = match left_out {
        None => (String::new(), words),
        Some((code, why)) => (code, why),
    };
    PlannedMember {
        sequencer: row.id.to_string(),
        name: row.name,
        included: reason_code.is_empty(),
        reason_code,
        words,
        checks,
        fee_wei: fee.wei_string(),
        fee_max_wei: fee_max.wei_string(),
    }
}

/// Plans for every managed sequencer with the labels, by name.
pub async fn make(fleet: &Fleet, asked: Option<FleetSpec>) -> Result<FleetPlan, Error> {
    let spec = spec::complete(asked)?;
    spec::budget(&spec)?;
    let chain = fleet.network("spec.network", &spec.network)?;
    let filter = sequencer::Filter {
        network: chain.name.clone(),
        managed_only: true,
        labels: spec.labels.clone(),
        limit: spec::MEMBERS_MAX + 1,
        ..sequencer::Filter::default()
    };
    let rows = sequencer::page(&fleet.db, &filter).await?;
    if rows.len() > spec::MEMBERS_MAX as usize {
        let why = format!("more than {} sequencers have these labels: select fewer", spec::MEMBERS_MAX);
        return Err(convert::bad(&reasons::FLEET_SPEC_INVALID, "spec.labels", why).into());
    }
    let each = rows.into_iter().map(|row| member(fleet, chain, &spec, row));
    let mut members: Vec<Planned> = stream::iter(each).buffered(AT_ONCE).try_collect().await?;
    leave_out_exits(&mut members);
    let kind = members.first().map(|member| member.kind.clone()).unwrap_or_default();
    let included = || members.iter().filter(|member| member.left_out.is_none());
    let requirements = included().flat_map(|member| member.requirements.clone()).collect();
    let bytes = spec.encode_to_vec();
    let ids = included().map(|member| member.row.id.as_bytes().as_slice());
    let digest = digest_of([TAG, bytes.as_slice()].into_iter().chain(ids));
    Ok(FleetPlan { kind, requirements, digest, spec, members })
}

/// One member. A refusal leaves it out; a failure says nothing, so there is no plan.
async fn member(
    fleet: &Fleet,
    chain: &Chain,
    spec: &FleetSpec,
    row: sequencer::Row,
) -> Result<Planned, Error> {
    let parameters = convert::present("spec.parameters", spec.parameters.as_ref())?;
    let managed = Terms::of(spec::member_terms(spec).as_ref(), true, fleet.clock.now())?;
    let standing = standing(fleet, row.id).await?;
    let (operation, mut subject) = asked(fleet, &standing, parameters, None).await?;
    managed.check(&operation)?;
    subject.recipient_if_unset = managed.recipient_if_unset;
    let nothing = Planned {
        words: format!("{}: {}", row.name, operation.words()),
        row,
        left_out: None,
        checks: Vec::new(),
        fee: Eth::ZERO,
        fee_max: Eth::ZERO,
        kind: operation.name().to_owned(),
        requirements: BTreeSet::new(),
        exits: None,
    };
    match key_of(fleet, standing.position.owner.0).await {
        Ok(_) => {}
        Err(Error::Refused(refusal)) => return Ok(left_out(nothing, &refusal)),
        Err(error) => return Err(error),
    }
    let plan = plan(fleet, chain, &operation, &subject, Gas::Simulated).await?;
    let facts = &plan.picture.facts;
    let counts = matches!(operation, Operation::Unlock { .. }) && facts.variant != Variant::Main;
    let failure = plan.first_failure().map(|check| (check.reason.to_owned(), check.message.clone()));
    Ok(Planned {
        left_out: failure
            .map(|(code, why)| (if code.is_empty() { "CALL_REVERTED".to_owned() } else { code }, why)),
        fee: facts.eth_needed,
        fee_max: fee_max(fleet, &plan),
        requirements: terms::requirements(fleet, &standing, &operation, facts),
        exits: counts.then_some((facts.active, facts.exiting)),
        // An answer is bounded, and a plan has up to a thousand members.
        checks: plan.checks.into_iter().filter(is_broken).map(convert::wire_check).collect(),
        ..nothing
    })
}

fn is_broken(check: &preflight::Check) -> bool {
    check.verdict != preflight::Verdict::Pass
}

fn left_out(member: Planned, refusal: &Refusal) -> Planned {
    Planned { left_out: Some((refusal.reason.name.to_owned(), refusal.message.clone())), ..member }
}

/// The most that a plan can cost: every replacement stays below the ceiling.
fn fee_max(fleet: &Fleet, plan: &Plan) -> Eth {
    let ceiling = U256::from(fleet.config.fees.max_fee_per_gas_wei);
    let cost = |gas: u64, value: U256| U256::from(gas).saturating_mul(ceiling).saturating_add(value);
    let costs = plan.calls.iter().map(|call| cost(call.gas_limit, call.value));
    Eth(costs.fold(U256::ZERO, U256::saturating_add))
}

/// More exits than the BFT rule allows one after the other are left out, the last ones by name.
fn leave_out_exits(members: &mut [Planned]) {
    let mut room: Option<u64> = None;
    for member in members.iter_mut().filter(|member| member.left_out.is_none()) {
        let Some((active, exiting)) = member.exits else { continue };
        let left = room.get_or_insert_with(|| exit::capacity(active, exiting));
        if *left == 0 {
            let why = format!(
                "the BFT rule lets {} of {active} active exit, and they are taken",
                exit::capacity(active, exiting)
            );
            member.left_out = Some((reasons::EXIT_RESTRICTED.name.to_owned(), why));
        } else {
            *left -= 1;
        }
    }
}

/// Whether others must approve it.
pub fn needs_approvals(plan: &FleetPlan) -> bool {
    approval::unmet(&plan.requirements, &BTreeSet::new()).is_some()
}
