//! On which terms an operation is asked for: when it may begin, until when it must have, and what is to be set first.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use api::lifecycle::v1::TermsAsked;
use api::{convert, reasons};
use domain::approval::{Requirement, amount_at_stake, required};
use domain::operation::Operation;
use domain::preflight::Facts;
use prost_types::Timestamp;
use runtime::errors::Refusal;
use time::{Duration, OffsetDateTime};

use super::plan::Plan;
use super::subject::Standing;
use crate::db::operation::State;
use crate::fleet::Fleet;

/// How far ahead something may be asked for: whoever asks for later should ask later.
const AHEAD_MAX: Duration = Duration::days(366);

/// Terms as asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    pub not_before: Option<OffsetDateTime>,
    pub deadline: Option<OffsetDateTime>,
    pub recipient_if_unset: Option<Address>,
}

impl Terms {
    /// Reads what was asked.
    pub fn of(asked: Option<&TermsAsked>, managed: bool, now: OffsetDateTime) -> Result<Self, Refusal> {
        let Some(TermsAsked { not_before, deadline, recipient_if_unset }) = asked else {
            return Ok(Self::default());
        };
        let not_before = moment("terms.not_before", not_before.as_ref(), now)?;
        let deadline = moment("terms.deadline", deadline.as_ref(), now)?;
        let invalid = |field, why| Err(convert::bad(&reasons::TERMS_INVALID, field, why));
        if not_before.is_some() && !managed {
            return invalid("terms.not_before", "a wallet sends when it likes: only managed operations wait");
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return invalid("terms.deadline", "the deadline has passed");
        }
        if deadline.zip(not_before).is_some_and(|(deadline, from)| deadline <= from) {
            return invalid("terms.deadline", "the deadline is not after not_before");
        }
        let recipient_if_unset = match recipient_if_unset.as_str() {
            "" => None,
            text => Some(convert::address_nonzero("terms.recipient_if_unset", text)?),
        };
        Ok(Self { not_before, deadline, recipient_if_unset })
    }

    /// Whether it is to begin later than `now`.
    pub fn is_later(&self, now: OffsetDateTime) -> bool {
        self.not_before.is_some_and(|from| from > now)
    }

    /// A recipient only belongs to what needs one, and can still be set then.
    pub fn check(&self, operation: &Operation) -> Result<(), Refusal> {
        let takes = matches!(operation, Operation::Claim { .. } | Operation::Unlock { .. });
        if self.recipient_if_unset.is_some() && !takes {
            let why = "only a claim and an unlock can set the recipient first";
            return Err(convert::bad(&reasons::TERMS_INVALID, "terms.recipient_if_unset", why));
        }
        Ok(())
    }
}

fn moment(
    field: &str,
    at: Option<&Timestamp>,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, Refusal> {
    let Some(Timestamp { seconds, nanos }) = at else { return Ok(None) };
    let invalid = || convert::bad(&reasons::TERMS_INVALID, field, "a time from now to a year ahead");
    let second = OffsetDateTime::from_unix_timestamp(*seconds).map_err(|_| invalid())?;
    let micros = u32::try_from(*nanos).map_err(|_| invalid())? / 1_000 * 1_000;
    let moment = second.replace_nanosecond(micros).map_err(|_| invalid())?;
    if moment > now.saturating_add(AHEAD_MAX) {
        return Err(invalid());
    }
    Ok(Some(moment))
}

/// The first failing check that refuses an operation at intake. What begins later is checked when it begins: time
/// mends most of it, as an exit delay or a throttle.
pub fn refuses(plan: &Plan, later: bool) -> bool {
    plan.first_failure().is_some() && !later
}

/// What the rules ask of others.
pub fn requirements(
    fleet: &Fleet,
    standing: &Standing,
    operation: &Operation,
    facts: &Facts,
) -> BTreeSet<Requirement> {
    let record = facts.record.as_ref();
    let (principal, reward) = record.map_or_else(Default::default, |record| (record.amount, record.reward));
    let amount = amount_at_stake(operation, principal, reward);
    required(&fleet.approval_rules, operation.name(), &standing.register.labels(), amount)
}

/// Where an operation begins.
pub fn first_state(requirements: &BTreeSet<Requirement>, later: bool) -> State {
    if !requirements.is_empty() {
        State::PendingApproval
    } else if later {
        State::Scheduled
    } else {
        State::Queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn asked(not_before: Option<i64>, deadline: Option<i64>, managed: bool) -> Result<Terms, Refusal> {
        let at = |seconds: Option<i64>| seconds.map(|seconds| Timestamp { seconds, nanos: 1 });
        let asked = TermsAsked {
            not_before: at(not_before),
            deadline: at(deadline),
            recipient_if_unset: String::new(),
        };
        Terms::of(Some(&asked), managed, NOW)
    }

    #[test]
    fn times_that_cannot_be_kept_are_refused_with_their_field() {
        let year = 366 * 86_400;
        let cases = [
            (None, Some(-1), true, "terms.deadline"),
            (Some(20), Some(20), true, "terms.deadline"),
            (Some(20), Some(10), true, "terms.deadline"),
            (Some(year + 1), None, true, "terms.not_before"),
            (None, Some(year + 1), true, "terms.deadline"),
            (Some(20), None, false, "terms.not_before"),
        ];
        for (not_before, deadline, managed, field) in cases {
            let refused = asked(not_before, deadline, managed).expect_err("refused");
            assert_eq!((refused.reason.name, refused.fields[0].0.as_str()), ("TERMS_INVALID", field));
        }
        assert!(asked(Some(10), Some(20), true).is_ok_and(|terms| terms.is_later(NOW)));
        assert!(asked(Some(-10), None, true).is_ok_and(|terms| !terms.is_later(NOW)), "past is now");
    }

    #[test]
    fn a_recipient_is_set_first_only_where_it_is_needed_and_possible() {
        let terms = Terms { recipient_if_unset: Some(Address::repeat_byte(1)), ..Terms::default() };
        assert!(terms.check(&Operation::Claim { l2_gas: 0 }).is_ok());
        assert!(terms.check(&Operation::Unlock { l2_gas: 0 }).is_ok());
        assert!(
            terms.check(&Operation::WithdrawFinal { l2_gas: 0 }).is_err(),
            "too late: it is no longer active"
        );
        assert!(Terms::default().check(&Operation::WithdrawFinal { l2_gas: 0 }).is_ok());
    }
}
