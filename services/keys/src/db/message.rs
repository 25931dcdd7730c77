//! `keys.decide_message`: policy version, key state, approvals and audit record of a message in one statement,
//! durable before the key is touched.

use alloy_primitives::B256;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::statement;

use crate::error::Failure;

/// What is to be decided.
#[derive(Debug)]
pub struct Question<'a> {
    pub key_id: &'a str,
    pub policy_version: i64,
    pub caller: &'a str,
    /// What approvals are bound to, and how many are needed.
    pub intent_digest: B256,
    pub approvals: u32,
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
    pub as_approvals: Vec<u8>,
}

/// What was decided. Only `Stale` left no record.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Sign {
        audit_sequence: u64,
    },
    Refused,
    NotEnabled,
    /// Fewer than needed.
    Approvals {
        approvers: u32,
    },
    Stale,
}

#[derive(FromQueryResult)]
struct Row {
    outcome: String,
    audit_sequence: Option<i64>,
    approvers: Option<i64>,
}

/// Decides, in one round trip and one durable commit.
pub async fn decide<C: ConnectionTrait>(db: &C, question: Question<'_>) -> Result<Decision, Failure> {
    let Question { key_id, policy_version, caller, intent_digest, approvals, record } = question;
    let Record { fields, refused, as_allowed, as_not_enabled, as_approvals } = record;
    let values = [
        key_id.into(),
        policy_version.into(),
        Hash(intent_digest).into(),
        i64::from(approvals).into(),
        caller.into(),
        fields.into(),
        refused.into(),
        as_allowed.into(),
        as_not_enabled.into(),
        as_approvals.into(),
    ];
    let sql = "SELECT outcome, audit_sequence, approvers
                 FROM keys.decide_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let unreadable = || Failure::Store(store::Error::Row { what: "a decision" });
    let Row { outcome, audit_sequence, approvers } = Row::find_by_statement(statement(sql, values))
        .one(db)
        .await
        .map_err(Failure::at("deciding about a message"))?
        .ok_or_else(unreadable)?;
    Ok(match outcome.as_str() {
        "ALLOWED" => Decision::Sign {
            audit_sequence: audit_sequence.and_then(|n| u64::try_from(n).ok()).ok_or_else(unreadable)?,
        },
        "REFUSED" => Decision::Refused,
        "NOT_ENABLED" => Decision::NotEnabled,
        "APPROVALS" => Decision::Approvals {
            approvers: approvers.and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
        },
        "STALE" => Decision::Stale,
        _ => return Err(Failure::UnknownOutcome(outcome)),
    })
}
