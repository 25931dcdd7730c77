//! What a fleet operation is asked to do, read strictly.

use alloy_primitives::U256;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{FleetSpec, OperationParameters, TermsAsked};
use api::{convert, reasons};
use domain::amount::Eth;
use domain::fleet::Terms;
use prost::Message;
use runtime::errors::Refusal;

use crate::error::Error;

/// Members of one fleet operation: a plan reads each of them from the chain.
pub const MEMBERS_MAX: u32 = 1_000;
/// Unfinished members at once, where nothing is asked.
const IN_FLIGHT_DEFAULT: u32 = 5;
/// Unfinished members at most: each has transactions in the pools.
const IN_FLIGHT_MAX: u32 = 100;
/// Longest time between two members: a day.
const INTERVAL_MAX_SECS: u32 = 86_400;

fn invalid(field: &str, why: &str) -> Refusal {
    convert::bad(&reasons::FLEET_SPEC_INVALID, field, why)
}

/// Checks a specification and fills its defaults in, so that the same one always has the same bytes.
pub fn complete(spec: Option<FleetSpec>) -> Result<FleetSpec, Refusal> {
    let mut spec = convert::present("spec", spec)?;
    if spec.labels.is_empty() {
        return Err(invalid("spec.labels", "name at least one label: a fleet is never everything"));
    }
    kind(convert::present("spec.parameters", spec.parameters.as_ref())?)?;
    spec.in_flight_max = match spec.in_flight_max {
        0 => IN_FLIGHT_DEFAULT,
        many if many > IN_FLIGHT_MAX => return Err(invalid("spec.in_flight_max", "at most 100")),
        some => some,
    };
    if spec.canary > MEMBERS_MAX {
        return Err(invalid("spec.canary", "at most 1000"));
    }
    if spec.interval_secs > INTERVAL_MAX_SECS {
        return Err(invalid("spec.interval_secs", "at most a day"));
    }
    if !spec.fee_budget_wei.is_empty() {
        spec.fee_budget_wei = convert::eth("spec.fee_budget_wei", &spec.fee_budget_wei)?.wei_string();
    }
    Ok(spec)
}

/// What of the nine makes sense for many at once: a new owner or signer is of one sequencer, and so is an amount to
/// take out.
fn kind(parameters: &OperationParameters) -> Result<(), Refusal> {
    match &parameters.parameters {
        Some(
            Parameters::Lock(_)
            | Parameters::Increase(_)
            | Parameters::Claim(_)
            | Parameters::SetRecipient(_)
            | Parameters::Unlock(_)
            | Parameters::WithdrawFinal(_),
        ) => Ok(()),
        Some(Parameters::Withdraw(_) | Parameters::SetOwner(_) | Parameters::RotateSigner(_)) => {
            Err(invalid("spec.parameters", "this is asked for one sequencer at a time"))
        }
        None => Err(invalid("spec.parameters", "choose an operation")),
    }
}

/// A stored specification.
pub fn stored(bytes: &[u8]) -> Result<FleetSpec, Error> {
    FleetSpec::decode(bytes).map_err(|_| Error::Malformed { what: "the specification of a fleet operation" })
}

/// How it goes about it, with the budget as it is now.
pub fn terms(spec: &FleetSpec, budget: Option<U256>) -> Terms {
    Terms {
        canary: spec.canary as usize,
        in_flight_max: spec.in_flight_max as usize,
        interval_secs: spec.interval_secs.into(),
        budget: budget.map(Eth),
    }
}

/// The budget that was asked.
pub fn budget(spec: &FleetSpec) -> Result<Option<Eth>, Refusal> {
    match spec.fee_budget_wei.as_str() {
        "" => Ok(None),
        text => convert::eth("spec.fee_budget_wei", text).map(Some),
    }
}

/// The terms of each member's operation.
pub fn member_terms(spec: &FleetSpec) -> Option<TermsAsked> {
    (!spec.recipient_if_unset.is_empty())
        .then(|| TermsAsked { recipient_if_unset: spec.recipient_if_unset.clone(), ..TermsAsked::default() })
}
