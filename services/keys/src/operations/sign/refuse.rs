//! Decisions of the database as refusals that name the bound and the value.

use alloy_primitives::U256;
use api::reasons::{APPROVALS_MISSING, KEY_NOT_ENABLED, NONCE_CONFLICT, POLICY_CONFLICT, POLICY_DENIED};
use runtime::errors::Refusal;

use super::judge::{Allowance, Judged, most_eth};
use super::parse::Asked;
use crate::db::decision::{Decision, Held};
use crate::policy::Call;
use crate::policy::call::digest;

/// The number of the record, or the refusal that the record tells of.
pub fn unless_allowed(decision: Decision, judged: &Judged, asked: &Asked) -> Result<u64, Refusal> {
    match (decision, &judged.verdict) {
        (Decision::Sign { audit_sequence }, Ok(_)) => Ok(audit_sequence),
        (_, Err(refusal)) => Err(refusal.clone()),
        (Decision::NotEnabled, Ok(_)) => Err(Refusal::new(&KEY_NOT_ENABLED, "the key is disabled or frozen")),
        (Decision::MetisWindow { used }, Ok(allowed)) => {
            let metis = judged.call.as_ref().map(Call::metis_out).unwrap_or_default();
            let window = Window { field: "metis_24h_wei", what: "METIS", bound: allowed.metis_24h_max };
            Err(window.full(allowed, used, metis))
        }
        (Decision::EthWindow { used }, Ok(allowed)) => {
            let window = Window { field: "eth_24h_wei", what: "ETH", bound: allowed.eth_24h_max };
            Err(window.full(allowed, used, most_eth(&asked.transaction)))
        }
        (Decision::Approvals { given }, Ok(allowed)) => Err(approvals(allowed, given)),
        (Decision::Conflict { held }, Ok(_)) => Err(conflict(held, asked)),
        // The database refuses only what was judged so, and a stale policy was judged again.
        (Decision::Refused | Decision::Stale, Ok(_)) => {
            Err(Refusal::new(&POLICY_CONFLICT, "the policy was changed in between"))
        }
    }
}

/// What may go out of an account in any 24 hours.
struct Window {
    field: &'static str,
    what: &'static str,
    bound: Option<U256>,
}

impl Window {
    fn full(self, allowed: &Allowance, used: U256, asked: U256) -> Refusal {
        let Self { field, what, bound } = self;
        let bound = bound.unwrap_or_default();
        let sentence = format!("{used} wei of {what} went out in 24 hours, {asked} more would pass {bound}");
        Refusal::new(&POLICY_DENIED, sentence)
            .meta("rule", &allowed.rule)
            .meta("field", field)
            .meta("bound", bound)
            .meta("value", used.saturating_add(asked))
            .meta("used", used)
    }
}

fn approvals(allowed: &Allowance, given: U256) -> Refusal {
    let asked = allowed.approvals;
    let sentence = format!("rule {} asks for {asked} approvals of this intent, it has {given}", allowed.rule);
    Refusal::new(&APPROVALS_MISSING, sentence)
        .meta("rule", &allowed.rule)
        .meta("approvals", asked)
        .meta("given", given)
        .meta("intent_digest", allowed.intent_digest.unwrap_or_default())
}

fn conflict(held: Option<Held>, asked: &Asked) -> Refusal {
    let nonce = asked.transaction.nonce;
    match held {
        None => Refusal::new(
            &NONCE_CONFLICT,
            format!("nothing was signed for nonce {nonce}, so there is nothing to replace"),
        )
        .meta("nonce", nonce),
        Some(Held { digest: held, max_fee, priority_fee }) => {
            let own = digest(asked.to, asked.transaction.value, &asked.transaction.input);
            let what = if own == held { "this call with other fees" } else { "another call" };
            Refusal::new(&NONCE_CONFLICT, format!("{what} was signed for nonce {nonce}"))
                .meta("nonce", nonce)
                .meta("held_digest", held)
                .meta("held_max_fee_per_gas_wei", max_fee)
                .meta("held_max_priority_fee_per_gas_wei", priority_fee)
                .meta("digest", own)
        }
    }
}
