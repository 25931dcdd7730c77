//! What the policy says of a request, and the question that this makes for the database.

use alloy_consensus::TxEip1559;
use alloy_consensus::transaction::SignableTransaction;
use alloy_primitives::{Address, B256, U256};
use api::convert::bad;
use api::keys::v1::SigningIntent;
use api::reasons::{CALLDATA_UNKNOWN, POLICY_DENIED};
use runtime::errors::Refusal;

use super::parse::Asked;
use crate::audit::{self, Entry, verdict};
use crate::db::decision::{self, Payload, Question};
use crate::db::key::Key;
use crate::keyring::InForce;
use crate::operations::clip;
use crate::policy::call::digest;
use crate::policy::{Call, Denial, Request, Verdict};

/// What the policy says, with what the answer and the record need of it.
pub struct Judged {
    pub words: String,
    pub function: String,
    pub call: Option<Call>,
    /// The rule with its windows, or why not.
    pub verdict: Result<Allowance, Refusal>,
}

/// What a rule allows.
pub struct Allowance {
    pub rule: String,
    /// The most METIS that may go out in 24 hours.
    pub metis_24h_max: Option<U256>,
    /// The most ETH, with value and fees.
    pub eth_24h_max: Option<U256>,
    /// Other identities that must have approved, and what of.
    pub approvals: i32,
    pub intent_digest: Option<B256>,
}

/// Asks the policy.
pub fn judge(in_force: &InForce, key: &Key, caller: &str, asked: &Asked) -> Judged {
    let Asked { network, transaction, to, intent } = asked;
    let unknown = |refusal| Judged {
        words: format!("unknown call to {to} on {}", clip(network)),
        function: "unknown".to_owned(),
        call: None,
        verdict: Err(refusal),
    };
    let denied = |denial| denied(in_force.version, denial);
    let Some(contracts) = in_force.policy.contracts.get(network) else {
        let bound = in_force.policy.contracts.keys().cloned().collect::<Vec<_>>().join(", ");
        return unknown(denied(Denial { rule: None, field: "network", bound, value: clip(network) }));
    };
    if transaction.chain_id != contracts.chain_id {
        let (bound, value) = (contracts.chain_id.to_string(), transaction.chain_id.to_string());
        return unknown(denied(Denial { rule: None, field: "chain_id", bound, value }));
    }
    let decoded = match intent {
        SigningIntent::Cancel => Call::cancel(key.address, *to, transaction.value, &transaction.input),
        _ => Call::decode(*to, &transaction.input, contracts),
    };
    let call = match decoded {
        Ok(call) => call,
        Err(why) => {
            let refusal = bad(&CALLDATA_UNKNOWN, "transaction.data", why)
                .meta("to", to)
                .meta("selector", hex::encode(transaction.input.get(..4).unwrap_or_default()));
            return unknown(refusal);
        }
    };
    let request = Request {
        caller,
        key_id: &key.id,
        key_name: &key.name,
        role: key.role,
        labels: &key.labels,
        network,
        call: &call,
        value: transaction.value,
        gas_limit: transaction.gas_limit,
        max_fee_per_gas: U256::from(transaction.max_fee_per_gas),
    };
    let verdict = match in_force.policy.judge(&request) {
        Verdict::Allowed { rule, metis_24h_max } => {
            Ok(Allowance { rule, metis_24h_max, eth_24h_max: None, approvals: 0, intent_digest: None })
        }
        Verdict::Denied(denial) => Err(denied(denial)),
    };
    let words = format!("{call}, from {} on {network}", key.address);
    Judged { words, function: call.function().to_string(), call: Some(call), verdict }
}

fn denied(version: i64, denial: Denial) -> Refusal {
    let Denial { rule, field, bound, value } = denial;
    let rule = rule.unwrap_or_else(|| "none".to_owned());
    Refusal::new(&POLICY_DENIED, format!("{field} is {value}, rule {rule} asks for {bound}"))
        .meta("rule", rule)
        .meta("field", field)
        .meta("bound", bound)
        .meta("value", value)
        .meta("policy_version", version)
}

/// The most ETH that a transaction can move: its value, and all of its gas at the highest fee.
pub fn most_eth(transaction: &TxEip1559) -> U256 {
    let fee = U256::from(transaction.max_fee_per_gas).saturating_mul(U256::from(transaction.gas_limit));
    transaction.value.saturating_add(fee)
}

/// What the database is asked, so that the record says what was asked here.
pub fn question(in_force: &InForce, key: &Key, entry: &Entry, asked: &Asked, judged: &Judged) -> Question {
    let Asked { transaction, to, intent, .. } = asked;
    let signing_hash = transaction.signature_hash();
    let payload = digest(*to, transaction.value, &transaction.input);
    let entry = Entry {
        intent: judged.words.clone(),
        digest: Some(payload),
        policy_version: u64::try_from(in_force.version).unwrap_or_default(),
        transaction: Some(audited(transaction, key.address, signing_hash)),
        ..entry.clone()
    };
    let allowance = judged.verdict.as_ref().ok();
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
        metis_24h_max: allowance.and_then(|allowed| allowed.metis_24h_max),
        eth: most_eth(transaction),
        eth_24h_max: allowance.and_then(|allowed| allowed.eth_24h_max),
        approvals: allowance.map(|allowed| allowed.approvals).unwrap_or_default(),
        intent_digest: allowance.and_then(|allowed| allowed.intent_digest),
    };
    Question {
        caller: entry.caller.clone(),
        fields: entry.fields(),
        judged: match &judged.verdict {
            Ok(allowed) => decision::Judged::Allowed(verdict(true, &allowed.rule)),
            Err(refusal) => refused(refusal),
        },
        payload: Some(Box::new(payload)),
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

fn audited(transaction: &TxEip1559, account: Address, signing_hash: B256) -> audit::Transaction {
    audit::Transaction {
        chain_id: transaction.chain_id,
        account,
        nonce: transaction.nonce,
        gas_limit: transaction.gas_limit,
        max_fee_per_gas: transaction.max_fee_per_gas,
        max_priority_fee_per_gas: transaction.max_priority_fee_per_gas,
        signing_hash,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("checked when the request was parsed")
}
