//! What a policy says, as refusals.

use alloy_primitives::B256;
use api::convert::bad;
use api::reasons::{APPROVALS_MISSING, CALLDATA_UNKNOWN, POLICY_DENIED};
use runtime::errors::Refusal;

use crate::policy::Denial;
use crate::policy::call::Unknown;
use crate::policy::judgement::{NoCall, Transaction};

/// A rule says no, or none says yes.
pub fn denied(version: i64, denial: Denial) -> Refusal {
    let Denial { rule, field, bound, value } = denial;
    let rule = rule.unwrap_or_else(|| "none".to_owned());
    Refusal::new(&POLICY_DENIED, format!("{field} is {value}, rule {rule} asks for {bound}"))
        .meta("rule", rule)
        .meta("field", field)
        .meta("bound", bound)
        .meta("value", value)
        .meta("policy_version", version)
}

/// Nothing that rules could be asked about.
pub fn no_call(version: i64, transaction: &Transaction, why: NoCall) -> Refusal {
    match why {
        NoCall::Denied(denial) => denied(version, denial),
        NoCall::Unknown(unknown) => no_known_call(transaction, &unknown),
    }
}

fn no_known_call(transaction: &Transaction, unknown: &Unknown) -> Refusal {
    let selector = hex::encode(transaction.data.get(..4).unwrap_or_default());
    let refusal = bad(&CALLDATA_UNKNOWN, unknown.field(), unknown)
        .meta("to", transaction.to)
        .meta("selector", selector);
    match unknown.argument() {
        Some(argument) => refusal.meta("argument", argument),
        None => refusal,
    }
}

/// Too few have approved exactly this.
pub fn approvals_missing(digest: B256, needed: u32, given: u32) -> Refusal {
    Refusal::new(&APPROVALS_MISSING, format!("{given} of {needed} approvals of {digest} by others are there"))
        .violation(
            "APPROVALS",
            digest.to_string(),
            format!("{needed} identities other than the caller approve it"),
        )
        .meta("intent_digest", digest)
        .meta("approvals", needed)
        .meta("given", given)
}
