//! What the policy says of a request, and the question that this makes for the database.

use alloy_consensus::transaction::SignableTransaction;
use alloy_primitives::{Address, B256, U256};
use api::keys::v1::SigningIntent;
use runtime::errors::Refusal;
use time::OffsetDateTime;

use super::parse::Asked;
use crate::audit::{self, Entry, verdict};
use crate::db::decision::{self, Payload, Question, Way};
use crate::db::key::Key;
use crate::error::Failure;
use crate::keyring::{InForce, Keyring};
use crate::operations::{clip, denial};
use crate::policy::call::digest;
use crate::policy::judgement::Asker;
use crate::policy::{Allowance, Call, intent};

/// What the policy says, with what the answer and the record need of it.
pub struct Judged {
    pub words: String,
    pub function: String,
    pub call: Option<Call>,
    /// What approvals of it are bound to.
    pub intent_digest: B256,
    /// The ways in which it may be allowed, in the order in which they are tried, or why not.
    pub verdict: Result<Vec<Allowance>, Refusal>,
}

/// Asks the policy.
pub async fn judge(
    keyring: &Keyring,
    in_force: &InForce,
    key: &Key,
    caller: &str,
    asked: &Asked,
) -> Result<Judged, Failure> {
    let Asked { transaction, judged_as, approved_value_max, to, .. } = asked;
    let intent_digest = intent::digest(
        &judged_as.network,
        transaction.chain_id,
        key.address,
        *to,
        *approved_value_max,
        &transaction.input,
    );
    let policy = &in_force.policy;
    let call = match judged_as.call(key.address, policy) {
        Ok(call) => call,
        Err(why) => {
            return Ok(Judged {
                words: format!("unknown call to {to} on {}", clip(&judged_as.network)),
                function: "unknown".to_owned(),
                call: None,
                intent_digest,
                verdict: Err(denial::no_call(in_force.version, judged_as, why)),
            });
        }
    };
    let signer_key = keyring.signer_key(policy, &call).await?;
    let asker = Asker { caller, key, now: OffsetDateTime::now_utc() };
    let verdict = policy
        .allowances(&judged_as.request(asker, &call, signer_key.as_deref()))
        .map(|(first, others)| std::iter::once(first).chain(others).collect())
        .map_err(|why| denial::denied(in_force.version, why));
    let words = judged_as.words(key.address, &call);
    let function = call.function().to_string();
    Ok(Judged { words, function, call: Some(call), intent_digest, verdict })
}

/// What the database is asked, so that the record says what was asked here.
pub fn question(in_force: &InForce, key: &Key, entry: &Entry, asked: &Asked, judged: &Judged) -> Question {
    let Asked { transaction, judged_as, to, intent, .. } = asked;
    let signing_hash = transaction.signature_hash();
    let payload = digest(*to, transaction.value, &transaction.input);
    let entry = Entry {
        intent: judged.words.clone(),
        digest: Some(payload),
        policy_version: u64::try_from(in_force.version).unwrap_or_default(),
        transaction: Some(audited(asked, judged, key.address, signing_hash)),
        ..entry.clone()
    };
    let payload = Payload {
        key_id: key.id.clone(),
        policy_version: in_force.version,
        chain_id: signed(transaction.chain_id),
        account: key.address,
        nonce: signed(transaction.nonce),
        digest: payload,
        signing_hash,
        max_fee: U256::from(transaction.max_fee_per_gas),
        priority_fee: U256::from(transaction.max_priority_fee_per_gas),
        gas_limit: signed(transaction.gas_limit),
        intent: match intent {
            SigningIntent::Unspecified | SigningIntent::New => "NEW",
            SigningIntent::Replace => "REPLACE",
            SigningIntent::Cancel => "CANCEL",
        },
        metis: judged.call.as_ref().map(Call::metis_out).unwrap_or_default(),
        eth: judged_as.eth_max(),
        intent_digest: judged.intent_digest,
    };
    Question {
        caller: entry.caller.clone(),
        fields: entry.fields(),
        judged: match &judged.verdict {
            Ok(ways) => decision::Judged::Allowed(ways.iter().map(way).collect()),
            Err(refusal) => refused(refusal),
        },
        payload: Some(Box::new(payload)),
    }
}

fn way(allowance: &Allowance) -> Way {
    let Allowance { rule, windows, approvals } = allowance;
    Way {
        verdict: verdict(true, rule),
        metis_24h_max: windows.metis_24h_max,
        eth_24h_max: windows.eth_24h_max,
        approvals: *approvals,
    }
}

/// What is no well-formed request is recorded, and nothing else.
pub fn bad_input(entry: &Entry, refusal: &Refusal) -> Question {
    let (caller, fields) = (entry.caller.clone(), entry.fields());
    Question { caller, fields, judged: refused(refusal), payload: None }
}

fn refused(refusal: &Refusal) -> decision::Judged {
    let rule = refusal.metadata.get("rule").map(|rule| format!("{}: {rule}", refusal.reason.name));
    decision::Judged::Refused(verdict(false, rule.as_deref().unwrap_or(refusal.reason.name)))
}

fn audited(asked: &Asked, judged: &Judged, account: Address, signing_hash: B256) -> audit::Transaction {
    let Asked { transaction, to, intent, .. } = asked;
    audit::Transaction {
        chain_id: transaction.chain_id,
        account,
        nonce: transaction.nonce,
        gas_limit: transaction.gas_limit,
        max_fee_per_gas: transaction.max_fee_per_gas,
        max_priority_fee_per_gas: transaction.max_priority_fee_per_gas,
        signing_hash,
        to: *to,
        value: transaction.value,
        data: transaction.input.to_vec(),
        intent: *intent,
        intent_digest: judged.intent_digest,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("checked when the request was parsed")
}
