//! The rule of a schedule as it comes and as it is stored.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::schedule_rule::Rule as Wire;
use api::lifecycle::v1::{
    ClaimEvery, ClaimParameters, CompoundEvery, IncreaseParameters, OperationParameters, ScheduleRule,
    WithdrawFinalParameters, WithdrawWhenAllowed, WorthIt as WireWorthIt,
};
use api::{convert, reasons};
use domain::amount::Eth;
use domain::schedule::{Rule, WorthIt};
use prost::Message;
use runtime::errors::Refusal;

use crate::error::Error;

/// Reads a rule strictly.
pub fn asked(rule: Option<&ScheduleRule>) -> Result<Rule, Refusal> {
    let rule = convert::present("rule", rule)?;
    let rule = match convert::present("rule", rule.rule.as_ref())? {
        Wire::ClaimEvery(ClaimEvery { worth_it }) => {
            Rule::Claim(worth("rule.claim_every.worth_it", worth_it.as_ref())?)
        }
        Wire::CompoundEvery(CompoundEvery { worth_it }) => {
            Rule::Compound(worth("rule.compound_every.worth_it", worth_it.as_ref())?)
        }
        Wire::WithdrawWhenAllowed(WithdrawWhenAllowed {}) => Rule::WithdrawFinal,
    };
    rule.check().map_err(|no| convert::bad(&reasons::SCHEDULE_RULE_INVALID, "rule", no))?;
    Ok(rule)
}

fn worth(field: &str, asked: Option<&WireWorthIt>) -> Result<WorthIt, Refusal> {
    let WireWorthIt { every_days, times_cost, metis_price_wei } = convert::present(field, asked)?;
    let metis_price = match metis_price_wei.as_str() {
        "" => Eth::ZERO,
        text => convert::eth(&format!("{field}.metis_price_wei"), text)?,
    };
    Ok(WorthIt { every_days: *every_days, times_cost: *times_cost, metis_price })
}

/// A stored rule, for the wire and for deciding.
pub fn stored(bytes: &[u8]) -> Result<(ScheduleRule, Rule), Error> {
    let malformed = || Error::Malformed { what: "the rule of a schedule" };
    let wire = ScheduleRule::decode(bytes).map_err(|_| malformed())?;
    let rule = asked(Some(&wire)).map_err(|_| malformed())?;
    Ok((wire, rule))
}

/// What a rule asks for, as a caller would.
pub fn parameters(rule: &Rule) -> OperationParameters {
    let parameters = match rule {
        Rule::Claim(_) => Parameters::Claim(ClaimParameters::default()),
        Rule::Compound(_) => {
            Parameters::Increase(IncreaseParameters { amount_wei: String::new(), with_rewards: true })
        }
        Rule::WithdrawFinal => Parameters::WithdrawFinal(WithdrawFinalParameters::default()),
    };
    OperationParameters { parameters: Some(parameters) }
}
