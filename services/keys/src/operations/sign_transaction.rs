//! SignTransaction: verdict and signature in one call.
//!
//! Parsed and judged here, decided by the database in one statement (`db::decision`), and only then is
//! the key opened. A crash after the decision loses nothing: the same request is decided as a repetition
//! and signing is deterministic, so it gets the same bytes.

use std::time::Instant;

use alloy_consensus::TxEip1559;
use alloy_consensus::transaction::SignableTransaction;
use alloy_primitives::{Address, B256, TxKind, U256};
use api::convert::{self, bad};
use api::keys::v1::{SignTransactionRequest, SignTransactionResponse, SigningIntent};
use api::reasons::{
    CALLDATA_UNKNOWN, ENUM_UNSPECIFIED, KEY_ADDRESS_MISMATCH, KEY_NOT_ENABLED, NONCE_CONFLICT,
    POLICY_CONFLICT, POLICY_DENIED,
};
use api::types::v1::UnsignedTransaction;
use runtime::errors::{Reason, Refusal, generic};

use super::{clip, recorded};
use crate::audit::{self, Entry, verdict};
use crate::db::decision::{Decision, Held, Question, Record, decide};
use crate::db::key::Key;
use crate::error::Declined;
use crate::keyring::{InForce, Keyring};
use crate::policy::call::digest;
use crate::policy::{Call, Denial, Request, Verdict};

/// The longest known call has 292 bytes.
const CALLDATA_BYTES_MAX: usize = 4096;
/// Times that the policy may change under one request.
const ATTEMPTS_MAX: u32 = 3;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: SignTransactionRequest,
) -> Result<SignTransactionResponse, Declined> {
    let begun = Instant::now();
    let entry = Entry {
        caller: caller.to_owned(),
        action: "SignTransaction",
        key_id: clip(&request.key_id),
        operation_id: clip(&request.operation_id),
        network: clip(&request.network),
        ..Entry::default()
    };
    let answer = recorded(keyring, &entry, sign(keyring, &entry, request)).await?;
    keyring.metrics.signed(begun.elapsed());
    Ok(answer)
}

/// A well-formed request.
struct Asked {
    network: String,
    transaction: TxEip1559,
    to: Address,
    intent: SigningIntent,
}

/// What the policy says, with what the answer and the record need of it.
struct Judged {
    words: String,
    function: String,
    call: Option<Call>,
    /// The rule and the size of its window, or why not.
    verdict: Result<(String, Option<U256>), Refusal>,
}

async fn sign(
    keyring: &Keyring,
    entry: &Entry,
    request: SignTransactionRequest,
) -> Result<SignTransactionResponse, Declined> {
    let key = keyring.key(&request.key_id).await?;
    let asked = parse(request, key.address)?;
    let Asked { transaction: TxEip1559 { chain_id, nonce, .. }, .. } = &asked;
    keyring.floors.allow(&keyring.db, *chain_id, key.address, *nonce).await?;
    for _ in 0..ATTEMPTS_MAX {
        let policy = keyring.policy();
        let judged = judge(&policy, &key, &entry.caller, &asked);
        let question = question(&policy, &key, entry, &asked, &judged);
        let decision = match decide(&keyring.db, question).await {
            Ok(decision) => decision,
            Err(failure) => return Err(keyring.floors.explained(&keyring.db, key.address, failure).await),
        };
        if decision == Decision::Stale {
            keyring.reload_policy().await?;
            continue;
        }
        let known_network =
            if policy.policy.contracts.contains_key(&asked.network) { &asked.network } else { "unknown" };
        let audit_sequence = match accepted(decision, &judged, &asked) {
            Ok(sequence) => sequence,
            Err(refusal) => {
                keyring.metrics.decided(known_network, &judged.function, refusal.reason.name);
                return Err(Declined::Recorded(refusal));
            }
        };
        keyring.metrics.decided(known_network, &judged.function, "OK");
        return release(keyring, &key, asked, judged, policy.version, audit_sequence);
    }
    Err(Refusal::new(&POLICY_CONFLICT, "the policy keeps changing").into())
}

/// Opens the key and signs what was decided.
fn release(
    keyring: &Keyring,
    key: &Key,
    asked: Asked,
    judged: Judged,
    policy_version: i64,
    audit_sequence: u64,
) -> Result<SignTransactionResponse, Declined> {
    let secret = keyring.secret_of(key)?;
    let signature = secret.sign(&asked.transaction.signature_hash()).map_err(crate::error::Failure::from)?;
    let signed = asked.transaction.into_signed(signature);
    let mut raw_transaction = Vec::with_capacity(signed.eip2718_encoded_length());
    signed.eip2718_encode(&mut raw_transaction);
    let rule = judged.verdict.map(|(rule, _)| rule).unwrap_or_default();
    Ok(SignTransactionResponse {
        raw_transaction: raw_transaction.into(),
        transaction_hash: signed.hash().to_string(),
        intent_words: judged.words,
        rule: format!("{rule}, policy {policy_version}"),
        audit_sequence,
    })
}

fn judge(in_force: &InForce, key: &Key, caller: &str, asked: &Asked) -> Judged {
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
        Verdict::Allowed { rule, metis_24h_max } => Ok((rule, metis_24h_max)),
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

fn question<'a>(
    in_force: &InForce,
    key: &'a Key,
    entry: &Entry,
    asked: &Asked,
    judged: &Judged,
) -> Question<'a> {
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
    let refused_for = |reason: &Reason| verdict(false, reason.name);
    let allowing = judged.verdict.as_ref().ok();
    let record = Record {
        fields: entry.fields(),
        refused: judged.verdict.as_ref().err().map(|refusal| {
            let rule = refusal.metadata.get("rule").map(|rule| format!("{}: {rule}", refusal.reason.name));
            verdict(false, rule.as_deref().unwrap_or(refusal.reason.name))
        }),
        as_allowed: verdict(true, allowing.map(|(rule, _)| rule.as_str()).unwrap_or_default()),
        as_not_enabled: refused_for(&KEY_NOT_ENABLED),
        as_conflict: refused_for(&NONCE_CONFLICT),
        as_window: refused_for(&POLICY_DENIED),
    };
    Question {
        key_id: &key.id,
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
        metis_24h_max: allowing.and_then(|(_, window)| *window),
        record,
    }
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

/// The number of the record, or the refusal that the record tells of.
fn accepted(decision: Decision, judged: &Judged, asked: &Asked) -> Result<u64, Refusal> {
    match (decision, &judged.verdict) {
        (Decision::Sign { audit_sequence }, Ok(_)) => Ok(audit_sequence),
        (_, Err(refusal)) => Err(refusal.clone()),
        (Decision::NotEnabled, Ok(_)) => Err(Refusal::new(&KEY_NOT_ENABLED, "the key is disabled or frozen")),
        (Decision::Window { used }, Ok((rule, bound))) => {
            let bound = bound.unwrap_or_default();
            let asked = judged.call.as_ref().map(Call::metis_out).unwrap_or_default();
            let sentence =
                format!("{used} wei of METIS went out in 24 hours, {asked} more would pass {bound}");
            Err(Refusal::new(&POLICY_DENIED, sentence)
                .meta("rule", rule)
                .meta("field", "metis_24h_wei")
                .meta("bound", bound)
                .meta("value", used.saturating_add(asked))
                .meta("used", used))
        }
        (Decision::Conflict { held }, Ok(_)) => Err(conflict(held, asked)),
        // The database refuses only what was judged so, and a stale policy was judged again.
        (Decision::Refused | Decision::Stale, Ok(_)) => {
            Err(Refusal::new(&POLICY_CONFLICT, "the policy was changed in between"))
        }
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

/// The transaction of a request, for whoever wants to throw anything at it (`crate::fuzzing`).
pub(crate) fn parsed(request: SignTransactionRequest, own: Address) -> Result<TxEip1559, Refusal> {
    parse(request, own).map(|asked| asked.transaction)
}

fn parse(request: SignTransactionRequest, own: Address) -> Result<Asked, Refusal> {
    let SignTransactionRequest { key_id: _, network, transaction, intent, operation_id: _ } = request;
    convert::required("network", &network)?;
    let intent = SigningIntent::try_from(intent)
        .map_err(|_| bad(&ENUM_UNSPECIFIED, "intent", "choose NEW, REPLACE or CANCEL"))?;
    let UnsignedTransaction {
        chain_id,
        from,
        to,
        nonce,
        value_wei,
        data,
        gas_limit,
        max_fee_per_gas_wei,
        max_priority_fee_per_gas_wei,
    } = convert::present("transaction", transaction)?;
    if convert::address("transaction.from", &from)? != own {
        let why = format!("the key has address {own}");
        return Err(bad(&KEY_ADDRESS_MISMATCH, "transaction.from", why).meta("address", own));
    }
    let to = convert::address_nonzero("transaction.to", &to)?;
    let max_fee_per_gas = fee("transaction.max_fee_per_gas_wei", &max_fee_per_gas_wei)?;
    let field = "transaction.max_priority_fee_per_gas_wei";
    let max_priority_fee_per_gas = fee(field, &max_priority_fee_per_gas_wei)?;
    if max_priority_fee_per_gas > max_fee_per_gas {
        return Err(bad(&generic::INVALID_ARGUMENT, field, "is above max_fee_per_gas_wei"));
    }
    let transaction = TxEip1559 {
        chain_id: number("transaction.chain_id", chain_id, 1)?,
        nonce: number("transaction.nonce", convert::present("transaction.nonce", nonce)?, 0)?,
        gas_limit: number("transaction.gas_limit", gas_limit, 1)?,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to: TxKind::Call(to),
        value: convert::eth("transaction.value_wei", &value_wei)?.0,
        access_list: Default::default(),
        input: calldata(&data)?.into(),
    };
    Ok(Asked { network, transaction, to, intent })
}

fn calldata(data: &str) -> Result<Vec<u8>, Refusal> {
    let field = "transaction.data";
    let digits = match data {
        "" => "",
        data => {
            data.strip_prefix("0x").ok_or_else(|| bad(&CALLDATA_UNKNOWN, field, "calldata begins with 0x"))?
        }
    };
    if digits.len() > 2 * CALLDATA_BYTES_MAX {
        return Err(bad(&CALLDATA_UNKNOWN, field, format!("more than {CALLDATA_BYTES_MAX} bytes")));
    }
    hex::decode(digits).map_err(|_| bad(&CALLDATA_UNKNOWN, field, "calldata is hex"))
}

fn fee(field: &str, text: &str) -> Result<u128, Refusal> {
    let wei = convert::eth(field, text)?.0;
    wei.try_into()
        .map_err(|_| bad(&api::reasons::AMOUNT_TOO_LARGE, field, "a fee per gas has at most 128 bits"))
}

/// A number that the database can hold.
fn number(field: &str, number: u64, least: u64) -> Result<u64, Refusal> {
    if number < least || i64::try_from(number).is_err() {
        return Err(bad(&generic::INVALID_ARGUMENT, field, format!("from {least} to {}", i64::MAX)));
    }
    Ok(number)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("checked when the request was parsed")
}
