//! Every precondition of an operation, ending in a simulation from the real sender. Stores nothing.

use api::convert;
use api::lifecycle::v1::{PreflightOperationRequest, PreflightOperationResponse};
use api::reasons;
use api::types::v1::{AsOf, BlockRef, Finality};
use domain::ids::Timestamp;
use domain::preflight::Verdict;
use runtime::errors::Refusal;

use super::plan::{Gas, Plan, plan};
use super::subject::{asked, standing};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::request;

/// Checks without asking for anything.
pub async fn run(
    fleet: &Fleet,
    request: PreflightOperationRequest,
) -> Result<PreflightOperationResponse, Error> {
    let PreflightOperationRequest { sequencer, parameters } = request;
    let parameters = convert::present("parameters", parameters)?;
    let standing = standing(fleet, request::id("sequencer", &sequencer)?).await?;
    let chain = fleet.network("network", &standing.register.network)?;
    let (operation, subject) = asked(fleet, &standing, &parameters, None).await?;
    let plan = plan(fleet, chain, &operation, &subject, Gas::Estimated).await?;
    Ok(PreflightOperationResponse {
        ok: plan.passes(),
        words: format!("{}: {}", standing.register.name, operation.words()),
        transactions: plan.calls.iter().map(|call| plan.unsigned(chain, call)).collect(),
        bridge_fee_wei: plan.picture.facts.bridge_fee.wei_string(),
        as_of: Some(as_of(chain, &plan)),
        checks: plan.checks.into_iter().map(convert::wire_check).collect(),
    })
}

fn as_of(chain: &Chain, plan: &Plan) -> AsOf {
    let block = &plan.picture.block;
    AsOf {
        network: chain.name.clone(),
        block: Some(BlockRef {
            number: block.number,
            hash: block.hash.to_string(),
            time: Some(convert::wire_time(Timestamp(block.timestamp))),
        }),
        finality: Finality::Latest.into(),
    }
}

/// The refusal that failing checks amount to: the first one is the revert to expect, all are told.
pub fn refusal(plan: &Plan) -> Option<Refusal> {
    let first = plan.first_failure()?;
    let reason = reasons::by_name(first.reason).unwrap_or(&reasons::CALL_REVERTED);
    let mut refusal = Refusal::new(reason, first.message.clone()).meta("check", first.name);
    for (key, value) in &first.facts {
        refusal = refusal.meta(*key, value);
    }
    for check in plan.checks.iter().filter(|check| check.verdict == Verdict::Fail) {
        refusal = refusal.violation(check.reason, check.name, check.message.clone());
    }
    Some(refusal)
}
