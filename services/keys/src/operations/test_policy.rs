//! TestPolicy: the last requests to sign, judged again by a draft. Reads the audit log, changes nothing.

use alloy_primitives::{Address, U256};
use api::convert::bad;
use api::keys::v1::{
    AuditBody, AuditedTransaction, PolicyChange, PolicyVerdict, SigningIntent, TestPolicyRequest,
    TestPolicyResponse,
};
use api::reasons::POLICY_INVALID;
use prost::Message;
use runtime::errors::generic;

use super::wire;
use crate::db;
use crate::db::audit::Row;
use crate::error::{Declined, Failure};
use crate::keyring::{InForce, Keyring, parsed};
use crate::policy::judgement::Transaction;
use crate::policy::replay::{self, Change, Past, Report, Said};
use crate::policy::{Policy, difference};

/// Requests that are looked at unless asked otherwise, and at most.
const LAST_USUAL: u32 = 1000;
const LAST_MAX: u32 = 10_000;
/// Records that are read for one request to sign, so that a log of other things is not read to its beginning.
const RECORDS_FOR_ONE: u32 = 5;
/// Records of one look.
const PAGE: u32 = 500;
/// Enough to see what is wrong with a draft; the counts are of all.
const CHANGES_MAX: usize = 200;

pub async fn run(
    keyring: &Keyring,
    _caller: &str,
    request: TestPolicyRequest,
) -> Result<TestPolicyResponse, Declined> {
    let TestPolicyRequest { toml, last } = request;
    let last = match last {
        0 => LAST_USUAL,
        1..=LAST_MAX => last,
        _ => return Err(bad(&generic::INVALID_ARGUMENT, "last", format!("at most {LAST_MAX}")).into()),
    };
    let invalid = |invalid| bad(&POLICY_INVALID, "toml", invalid);
    let draft = Policy::parse(&toml).map_err(invalid)?;
    let row = db::policy::in_force(&keyring.db).await?.ok_or(Failure::PolicyMissing)?;
    let difference = difference::between(&row.toml, &toml).map_err(invalid)?;
    let InForce { version, policy } = parsed(&row)?;
    let (pasts, skipped) = pasts(keyring, &policy, &draft, last).await?;
    // Ten thousand requests and a thousand rules take a second or two.
    let report = tokio::task::spawn_blocking(move || replay::run(&policy, &draft, pasts, CHANGES_MAX))
        .await
        .map_err(Failure::from)?;
    let Report { examined, newly_allowed, newly_refused, other_approvals, changes } = report;
    Ok(TestPolicyResponse {
        policy_version: u64::try_from(version).unwrap_or_default(),
        examined,
        skipped,
        newly_allowed,
        newly_refused,
        other_approvals,
        changes: changes.into_iter().map(change).collect(),
        difference,
    })
}

/// The last requests, oldest first, and how many cannot be judged again.
async fn pasts(
    keyring: &Keyring,
    policy: &Policy,
    draft: &Policy,
    last: u32,
) -> Result<(Vec<Past>, u32), Declined> {
    let (mut pasts, mut skipped) = (Vec::new(), 0);
    let mut before = i64::MAX;
    let mut left = last.saturating_mul(RECORDS_FOR_ONE).max(PAGE);
    while left > 0 && pasts.len() < last as usize {
        let rows = db::audit::page_before(&keyring.db, before, PAGE.min(left)).await?;
        let Some(oldest) = rows.last() else { break };
        before = oldest.sequence;
        left = left.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        for row in rows {
            if pasts.len() == last as usize {
                break;
            }
            let sequence = row.sequence;
            let body = AuditBody::decode(row.body.as_slice()).map_err(|_| Failure::AuditBody(sequence))?;
            if !body.action.starts_with("SignTransaction") {
                continue;
            }
            match past(keyring, policy, draft, &row, body).await? {
                Some(past) => pasts.push(past),
                None => skipped += 1,
            }
        }
    }
    pasts.reverse();
    Ok((pasts, skipped))
}

/// `None` for bad input and for records from before calldata was kept.
async fn past(
    keyring: &Keyring,
    policy: &Policy,
    draft: &Policy,
    row: &Row,
    body: AuditBody,
) -> Result<Option<Past>, Declined> {
    let AuditBody { caller, key_id, intent, network, transaction, .. } = body;
    let Some(transaction) = transaction else { return Ok(None) };
    let AuditedTransaction { chain_id, nonce, gas_limit, data, signing_intent, .. } = transaction;
    let wei = |text: &str| domain::amount::Eth::parse_wei(text).ok().map(|amount| amount.0);
    let max_fee: Option<U256> = wei(&transaction.max_fee_per_gas_wei);
    let to = Address::try_from(transaction.to.as_ref()).ok();
    let (Some(to), Some(value), Some(max_fee_per_gas)) = (to, wei(&transaction.value_wei), max_fee) else {
        return Ok(None);
    };
    let Ok(key) = keyring.key(&key_id).await else { return Ok(None) };
    let cancel = signing_intent == i32::from(SigningIntent::Cancel);
    let data = data.to_vec();
    let transaction = Transaction { network, chain_id, to, value, data, gas_limit, max_fee_per_gas, cancel };
    let call = transaction.call(key.address, policy).or_else(|_| transaction.call(key.address, draft)).ok();
    let asking = if draft.asks_signer_keys() { draft } else { policy };
    let signer_key = match call {
        Some(call) => keyring.signer_key(asking, &call).await?,
        None => None,
    };
    let sequence = u64::try_from(row.sequence).map_err(|_| Failure::AuditBody(row.sequence))?;
    let time = row.recorded_at;
    Ok(Some(Past { sequence, time, caller, key, nonce, transaction, signer_key, words: intent }))
}

fn change(change: Change) -> PolicyChange {
    let Change { past, before, after } = change;
    PolicyChange {
        audit_sequence: past.sequence,
        time: Some(wire::time(past.time)),
        caller: past.caller,
        key_id: past.key.id.clone(),
        intent: past.words,
        before: Some(verdict(before)),
        after: Some(verdict(after)),
    }
}

fn verdict(said: Said) -> PolicyVerdict {
    match said {
        Said::Allowed { rule, approvals } => wire::allowed(rule, approvals),
        Said::Refused(denial) => wire::denied(denial),
    }
}
