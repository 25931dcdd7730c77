//! Decisions of the database as refusals that name the bound and the value.

use alloy_primitives::U256;
use api::reasons::{KEY_NOT_ENABLED, NONCE_CONFLICT, POLICY_CONFLICT, POLICY_DENIED};
use runtime::errors::Refusal;

use super::judge::Judged;
use super::parse::Asked;
use crate::db::decision::{Decided, Decision, Held};
use crate::operations::denial;
use crate::policy::Call;
use crate::policy::call::digest;

/// The number of the record and the rule, or the refusal that the record tells of.
pub fn unless_allowed(decided: Decided, judged: &Judged, asked: &Asked) -> Result<(u64, String), Refusal> {
    let Decided { decision, way } = decided;
    let ways = judged.verdict.as_ref().map_err(Refusal::clone)?;
    let changed = || Refusal::new(&POLICY_CONFLICT, "the policy was changed in between");
    let allowed = ways.get(way).ok_or_else(changed)?;
    match decision {
        Decision::Sign { audit_sequence } => Ok((audit_sequence, allowed.rule.clone())),
        Decision::NotEnabled => Err(Refusal::new(&KEY_NOT_ENABLED, "the key is disabled or frozen")),
        Decision::MetisWindow { used } => {
            let metis = judged.call.as_ref().map(Call::metis_out).unwrap_or_default();
            let bound = allowed.windows.metis_24h_max;
            Err(Window { field: "metis_24h_wei", what: "METIS", bound }.full(&allowed.rule, used, metis))
        }
        Decision::EthWindow { used } => {
            let bound = allowed.windows.eth_24h_max;
            let window = Window { field: "eth_24h_wei", what: "ETH", bound };
            Err(window.full(&allowed.rule, used, asked.judged_as.eth_max()))
        }
        Decision::Approvals { given } => {
            let given = u32::try_from(given).unwrap_or(u32::MAX);
            let refusal = denial::approvals_missing(judged.intent_digest, allowed.approvals, given);
            Err(refusal.meta("rule", &allowed.rule))
        }
        Decision::Conflict { held } => Err(conflict(held, asked)),
        // The database refuses only what was judged so, a stale policy was judged again, and what is unproven is refused
        // by `floors`.
        Decision::Refused | Decision::Stale | Decision::Unproven { .. } => Err(changed()),
    }
}

/// What may go out of an account in any 24 hours.
struct Window {
    field: &'static str,
    what: &'static str,
    bound: Option<U256>,
}

impl Window {
    fn full(self, rule: &str, used: U256, asked: U256) -> Refusal {
        let Self { field, what, bound } = self;
        let bound = bound.unwrap_or_default();
        let sentence = format!("{used} wei of {what} went out in 24 hours, {asked} more would pass {bound}");
        Refusal::new(&POLICY_DENIED, sentence)
            .meta("rule", rule)
            .meta("field", field)
            .meta("bound", bound)
            .meta("value", used.saturating_add(asked))
            .meta("used", used)
    }
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
