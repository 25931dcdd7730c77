//! `keys.decide`: policy version, key state, conflict guard, METIS window and audit record in one
//! statement, durable before the key is touched.

use alloy_primitives::{Address, B256, U256};
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash, Wei};
use store::statement;

use crate::error::Failure;

/// What is to be decided.
#[derive(Debug)]
pub struct Question<'a> {
    pub key_id: &'a str,
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
    /// METIS charged to the window by a first form.
    pub metis: U256,
    pub metis_24h_max: Option<U256>,
    pub record: Record,
}

/// The audit record, with the last fields as they are for each outcome.
#[derive(Debug)]
pub struct Record {
    pub fields: Vec<u8>,
    /// Set where the policy said no.
    pub refused: Option<Vec<u8>>,
    pub as_allowed: Vec<u8>,
    pub as_not_enabled: Vec<u8>,
    pub as_conflict: Vec<u8>,
    pub as_window: Vec<u8>,
}

/// What was decided. Only `Stale` left no record.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sign. A payload released before is released again, and gives the same signature.
    Sign { audit_sequence: u64 },
    /// The policy said no.
    Refused,
    /// The key is disabled or frozen.
    NotEnabled,
    /// Another payload holds the nonce; `None`: nothing does, so there is nothing to replace.
    Conflict { held: Option<Held> },
    /// Too much METIS in 24 hours.
    Window { used: U256 },
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
    outcome: String,
    audit_sequence: Option<i64>,
    metis_used: Option<Wei>,
    held_digest: Option<Hash>,
    held_max_fee: Option<Wei>,
    held_priority_fee: Option<Wei>,
}

/// Decides, in one round trip and one durable commit.
pub async fn decide<C: ConnectionTrait>(db: &C, question: Question<'_>) -> Result<Decision, Failure> {
    let Question { key_id, policy_version, chain_id, account, nonce, digest, signing_hash, .. } = question;
    let Question { max_fee, priority_fee, gas_limit, intent, metis, metis_24h_max, record, .. } = question;
    let Record { fields, refused, as_allowed, as_not_enabled, as_conflict, as_window } = record;
    let values = [
        key_id.into(),
        policy_version.into(),
        chain_id.into(),
        Addr(account).into(),
        nonce.into(),
        Hash(digest).into(),
        Hash(signing_hash).into(),
        Wei(max_fee).into(),
        Wei(priority_fee).into(),
        gas_limit.into(),
        intent.into(),
        Wei(metis).into(),
        metis_24h_max.map(Wei).into(),
        fields.into(),
        refused.into(),
        as_allowed.into(),
        as_not_enabled.into(),
        as_conflict.into(),
        as_window.into(),
    ];
    let sql = "SELECT outcome, audit_sequence, metis_used, held_digest, held_max_fee, held_priority_fee
                 FROM keys.decide($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    let row = Row::find_by_statement(statement(sql, values))
        .one(db)
        .await
        .map_err(Failure::at("deciding about a transaction"))?
        .ok_or(Failure::Store(store::Error::Row { what: "a decision" }))?;
    decision_of(row)
}

fn decision_of(row: Row) -> Result<Decision, Failure> {
    let Row { outcome, audit_sequence, metis_used, held_digest, held_max_fee, held_priority_fee } = row;
    let wei = |amount: Option<Wei>| amount.map(|Wei(amount)| amount).unwrap_or_default();
    Ok(match outcome.as_str() {
        "ALLOWED" | "REPEATED" => Decision::Sign {
            audit_sequence: audit_sequence
                .and_then(|sequence| u64::try_from(sequence).ok())
                .ok_or(Failure::Store(store::Error::Row { what: "a decision" }))?,
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
        "WINDOW" => Decision::Window { used: wei(metis_used) },
        "STALE" => Decision::Stale,
        _ => return Err(Failure::UnknownOutcome(outcome)),
    })
}

/// The end of what was signed for an account.
#[derive(Debug, Clone, FromQueryResult)]
pub struct LastNonce {
    pub chain_id: i64,
    pub account: Addr,
    pub nonce: i64,
}

/// The highest guarded nonce of each account.
pub async fn last_nonces<C: ConnectionTrait>(db: &C) -> Result<Vec<LastNonce>, Failure> {
    let sql = "SELECT chain_id, account, max(nonce) AS nonce FROM keys.nonce_guard
                GROUP BY chain_id, account ORDER BY chain_id, account";
    LastNonce::find_by_statement(statement(sql, []))
        .all(db)
        .await
        .map_err(Failure::at("reading the last nonces"))
}
