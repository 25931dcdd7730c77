//! `keys.decide_batch`: policy version, key state, conflict guard, approvals, windows and audit records of many
//! requests in one statement, durable before any key is touched.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256};
use sea_orm::{FromQueryResult, QueryResult};
use store::column::{Hash, Wei};
use store::rows::Rows;
use store::standing::Standing;

use crate::error::Failure;

const FUNCTION: &str = "keys.decide_batch (round, account_no, key_id, caller, policy_version, \
    chain_id, account, nonce, digest, signing_hash, max_fee, priority_fee, gas_limit, intent, \
    metis, metis_24h_max, eth, eth_24h_max, approvals, intent_digest, fields, refused, allowed)";

/// What is to be decided.
#[derive(Debug, Clone)]
pub struct Question {
    pub caller: String,
    /// The audit record without its verdict.
    pub fields: Vec<u8>,
    /// What is said so far, as the encoded last fields of the record.
    pub judged: Judged,
    /// What may be signed; without it, nothing can be allowed.
    pub payload: Option<Box<Payload>>,
}

/// What policy or parser say, encoded for the record.
#[derive(Debug, Clone)]
pub enum Judged {
    /// Yes, if the database finds nothing against it.
    Allowed(Vec<u8>),
    /// No; the record of it is all that is wanted.
    Refused(Vec<u8>),
}

/// A payload that a policy was asked about.
#[derive(Debug, Clone)]
pub struct Payload {
    pub key_id: String,
    pub policy_version: i64,
    pub chain_id: i64,
    pub account: Address,
    pub nonce: i64,
    /// Over target, value and calldata.
    pub digest: B256,
    pub signing_hash: B256,
    pub max_fee: U256,
    pub priority_fee: U256,
    pub gas_limit: i64,
    /// NEW, REPLACE or CANCEL.
    pub intent: &'static str,
    /// METIS charged to the account's 24 hours by a first form.
    pub metis: U256,
    pub metis_24h_max: Option<U256>,
    /// The most ETH that the payload can move; charged for what it adds to the forms before.
    pub eth: U256,
    pub eth_24h_max: Option<U256>,
    /// Other identities than the caller that must have approved the intent.
    pub approvals: i32,
    pub intent_digest: Option<B256>,
}

/// What was decided. Only `Stale` left no record.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sign. A payload released before is released again, and gives the same signature.
    Sign { audit_sequence: u64 },
    /// It was refused already; now that is recorded.
    Refused,
    /// The key is disabled or frozen.
    NotEnabled,
    /// Another payload holds the nonce; `None`: nothing does, so there is nothing to replace.
    Conflict { held: Option<Held> },
    /// Too few have approved.
    Approvals { given: U256 },
    /// Too much METIS in 24 hours.
    MetisWindow { used: U256 },
    /// Too much ETH in 24 hours.
    EthWindow { used: U256 },
    /// The policy has another version by now: evaluate again.
    Stale,
}

/// What holds a nonce.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    pub digest: B256,
    pub max_fee: U256,
    pub priority_fee: U256,
}

#[derive(FromQueryResult)]
struct Row {
    place: i32,
    outcome: String,
    audit_sequence: Option<i64>,
    used: Option<Wei>,
    held_digest: Option<Hash>,
    held_max_fee: Option<Wei>,
    held_priority_fee: Option<Wei>,
}

/// Decides about all of them, in one round trip and one durable commit: an answer for each, in their order.
/// Questions about one nonce are decided in their order, each with what the earlier ones left.
pub async fn decide(standing: &Standing, questions: &[&Question]) -> Result<Vec<Decision>, Failure> {
    let rows = standing.call(&rows(questions)).await?;
    let mut decisions: Vec<Option<Decision>> = questions.iter().map(|_| None).collect();
    for row in rows {
        let (place, decision) = decision_of(&row)?;
        *decisions.get_mut(place).ok_or_else(unreadable)? = Some(decision);
    }
    decisions.into_iter().map(|decision| decision.ok_or_else(unreadable)).collect()
}

fn rows(questions: &[&Question]) -> Rows {
    let mut rows = Rows::into_function(FUNCTION);
    let (mut rounds, mut accounts) = (HashMap::new(), HashMap::new());
    for Question { caller, fields, judged, payload } in questions {
        let payload = payload.as_deref();
        let (mut round, mut account_no) = (1, 1);
        if let Some(Payload { chain_id, account, nonce, .. }) = payload {
            let latest = rounds.entry((chain_id, account, nonce)).or_insert(0);
            *latest += 1;
            round = *latest;
            let next = i32::try_from(accounts.len() + 1).expect("a batch is small");
            account_no = *accounts.entry((chain_id, account)).or_insert(next);
        }
        let mut row = rows.row();
        row.integer(round).integer(account_no);
        row.text(payload.map(|p| p.key_id.as_str()).unwrap_or_default()).text(caller);
        row.maybe_bigint(payload.map(|p| p.policy_version));
        row.maybe_bigint(payload.map(|p| p.chain_id)).maybe_bytes(payload.map(|p| p.account));
        row.maybe_bigint(payload.map(|p| p.nonce)).maybe_bytes(payload.map(|p| p.digest));
        row.maybe_bytes(payload.map(|p| p.signing_hash));
        row.maybe_numeric(payload.map(|p| p.max_fee)).maybe_numeric(payload.map(|p| p.priority_fee));
        row.maybe_bigint(payload.map(|p| p.gas_limit));
        row.text(payload.map(|p| p.intent).unwrap_or_default());
        row.maybe_numeric(payload.map(|p| p.metis)).maybe_numeric(payload.and_then(|p| p.metis_24h_max));
        row.maybe_numeric(payload.map(|p| p.eth)).maybe_numeric(payload.and_then(|p| p.eth_24h_max));
        row.integer(payload.map(|p| p.approvals).unwrap_or_default());
        row.maybe_bytes(payload.and_then(|p| p.intent_digest)).bytes(fields);
        let (refused, allowed) = match judged {
            Judged::Allowed(verdict) => (None, Some(verdict)),
            Judged::Refused(verdict) => (Some(verdict), None),
        };
        row.maybe_bytes(refused).maybe_bytes(allowed);
    }
    rows
}

fn unreadable() -> Failure {
    Failure::Store(store::Error::Row { what: "a decision" })
}

/// The place of the question, counted from 0, and what was decided.
fn decision_of(row: &QueryResult) -> Result<(usize, Decision), Failure> {
    let row = Row::from_query_result(row, "").map_err(Failure::at("reading a decision"))?;
    let Row { place, outcome, audit_sequence, used, held_digest, held_max_fee, held_priority_fee } = row;
    let wei = |amount: Option<Wei>| amount.map(|Wei(amount)| amount).unwrap_or_default();
    let decision = match outcome.as_str() {
        "ALLOWED" | "REPEATED" => Decision::Sign {
            audit_sequence: audit_sequence
                .and_then(|sequence| u64::try_from(sequence).ok())
                .ok_or_else(unreadable)?,
        },
        "REFUSED" => Decision::Refused,
        "NOT_ENABLED" => Decision::NotEnabled,
        "CONFLICT" => Decision::Conflict {
            held: held_digest.map(|digest| Held {
                digest: digest.into(),
                max_fee: wei(held_max_fee),
                priority_fee: wei(held_priority_fee),
            }),
        },
        "APPROVALS" => Decision::Approvals { given: wei(used) },
        "METIS_WINDOW" => Decision::MetisWindow { used: wei(used) },
        "ETH_WINDOW" => Decision::EthWindow { used: wei(used) },
        "STALE" => Decision::Stale,
        _ => return Err(Failure::UnknownOutcome(outcome)),
    };
    let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1)).ok_or_else(unreadable)?;
    Ok((place, decision))
}
