//! ExplainPolicy: what the rules say to a transaction, and how near the others come. Signs and records nothing; the
//! conflict guard and the sums of the windows are not asked.

use api::convert::{self, bad};
use api::keys::v1::{
    AllowingRule, ExplainPolicyRequest, ExplainPolicyResponse, NearestRule, SignTransactionRequest,
};
use api::reasons::POLICY_INVALID;
use time::OffsetDateTime;

use super::{denial, sign_transaction, wire};
use crate::db;
use crate::error::Declined;
use crate::keyring::{InForce, Keyring, in_force, not_found};
use crate::policy::judgement::{Asker, NoCall};
use crate::policy::{Allowance, Denial, Policy, intent};

/// More near misses than that are a list of all rules.
const NEAREST_MAX: usize = 10;
/// The service that asks for signatures.
const USUAL_CALLER: &str = "lifecycle";

pub async fn run(
    keyring: &Keyring,
    _caller: &str,
    request: ExplainPolicyRequest,
) -> Result<ExplainPolicyResponse, Declined> {
    let ExplainPolicyRequest { key_id, network, transaction, intent, caller, toml } = request;
    let caller = if caller.is_empty() { USUAL_CALLER } else { caller.as_str() };
    let InForce { version, policy } = policy_of(keyring, &toml).await?;
    // Not from memory: its state is told.
    let key = db::key::of_id(&keyring.db, &key_id).await?.ok_or_else(|| not_found("key_id"))?;
    let mut transaction = convert::present("transaction", transaction)?;
    transaction.nonce = transaction.nonce.or(Some(0));
    let asked = SignTransactionRequest {
        key_id,
        network,
        transaction: Some(transaction),
        intent,
        ..SignTransactionRequest::default()
    };
    let (transaction, value_max) = sign_transaction::judged_as(asked, key.address)?;
    let mut answer = ExplainPolicyResponse {
        policy_version: u64::try_from(version).unwrap_or_default(),
        key_state: wire::state(key.state).into(),
        intent_digest: intent::digest(
            &transaction.network,
            transaction.chain_id,
            key.address,
            transaction.to,
            value_max,
            &transaction.data,
        )
        .to_string(),
        ..ExplainPolicyResponse::default()
    };
    let call = match transaction.call(key.address, &policy) {
        Ok(call) => call,
        Err(NoCall::Denied(why)) => {
            answer.verdict = Some(wire::denied(why));
            return Ok(answer);
        }
        Err(why) => return Err(denial::no_call(version, &transaction, why).into()),
    };
    let signer_key = keyring.signer_key(&policy, &call).await?;
    let asker = Asker { caller, key: &key, now: OffsetDateTime::now_utc() };
    let request = transaction.request(asker, &call, signer_key.as_deref());
    answer.words = transaction.words(key.address, &call);
    answer.denying = policy.denying(&request).map(str::to_owned).collect();
    answer.nearest = policy.nearest(&request, NEAREST_MAX).into_iter().map(nearest).collect();
    match policy.allowances(&request) {
        Ok((first, others)) => {
            answer.verdict = Some(wire::allowed(first.rule.clone(), first.approvals));
            answer.allowing = std::iter::once(first).chain(others).map(allowing).collect();
        }
        Err(why) => answer.verdict = Some(wire::denied(why)),
    }
    Ok(answer)
}

/// A draft, with version 0, or the policy in force.
pub async fn policy_of(keyring: &Keyring, toml: &str) -> Result<InForce, Declined> {
    if toml.is_empty() {
        return Ok(in_force(&keyring.db).await?);
    }
    let policy = Policy::parse(toml).map_err(|invalid| bad(&POLICY_INVALID, "toml", invalid))?;
    Ok(InForce { version: 0, policy })
}

fn nearest(denial: Denial) -> NearestRule {
    let Denial { rule, field, bound, value } = denial;
    NearestRule { rule: rule.unwrap_or_default(), field: field.to_owned(), bound, value }
}

fn allowing(allowance: Allowance) -> AllowingRule {
    let Allowance { rule, windows, approvals } = allowance;
    let wei = |window: Option<alloy_primitives::U256>| window.map(|wei| wei.to_string()).unwrap_or_default();
    AllowingRule {
        rule,
        approvals,
        metis_24h_wei_max: wei(windows.metis_24h_max),
        eth_24h_wei_max: wei(windows.eth_24h_max),
    }
}
