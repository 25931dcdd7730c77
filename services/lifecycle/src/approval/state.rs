//! Where the approvals of an operation or a fleet operation stand.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use api::lifecycle::v1 as wire;
use domain::approval::{self, Content, Requirement};
use time::OffsetDateTime;

use crate::db::{approval as decisions, operation};
use crate::operations::view::time;

/// Requirements as the tables hold them.
pub fn stored(requirements: &BTreeSet<Requirement>) -> serde_json::Value {
    serde_json::json!(requirements)
}

/// Requirements of a row. What cannot be read must not count as none.
pub fn requirements(stored: &serde_json::Value) -> BTreeSet<Requirement> {
    serde_json::from_value(stored.clone())
        .unwrap_or_else(|_| BTreeSet::from([Requirement { needed: u32::MAX, approvers: BTreeSet::new() }]))
}

/// The digest of an operation as it is stored now.
pub fn digest_of(row: &operation::Row) -> B256 {
    let micros = |at: OffsetDateTime| i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    approval::digest(&Content {
        network: &row.network,
        sequencer: *row.sequencer.as_bytes(),
        kind: &row.kind,
        account: row.account.0,
        words: &row.words,
        parameters: &row.parameters,
        recipient_if_unset: row
            .recipient_if_unset
            .as_ref()
            .map_or(&[] as &[u8], |recipient| recipient.0.as_slice()),
        mode: &row.mode,
        not_before: row.not_before.map(micros),
        deadline: row.deadline.map(micros),
    })
}

/// Who approved exactly this, and still counts at `now`.
pub fn approved(rows: &[decisions::Row], digest: B256, now: OffsetDateTime) -> BTreeSet<String> {
    let counts = |row: &&decisions::Row| row.approved && row.digest.0 == digest && row.expire_time > now;
    rows.iter().filter(counts).map(|row| row.identity.clone()).collect()
}

/// What is missing, in words; none if nothing is.
pub fn missing(requirements: &BTreeSet<Requirement>, approved: &BTreeSet<String>) -> Option<String> {
    let (one, have) = approval::unmet(requirements, approved)?;
    let of = match one.approvers.len() {
        0 => "other operators".to_owned(),
        _ => one.approvers.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    Some(format!("{have} of {} approvals by {of}", one.needed))
}

/// For the wire.
pub fn shown(
    requirements: &BTreeSet<Requirement>,
    rows: &[decisions::Row],
    digest: B256,
    now: OffsetDateTime,
) -> (Vec<wire::ApprovalRequirement>, Vec<wire::Approval>) {
    let approved = approved(rows, digest, now);
    let requirements = requirements.iter().map(|one| wire::ApprovalRequirement {
        needed: one.needed,
        approvers: one.approvers.iter().cloned().collect(),
        have: one.have(&approved),
    });
    let decisions = rows.iter().map(|row| wire::Approval {
        identity: row.identity.clone(),
        approved: row.approved,
        reason: row.reason.clone(),
        time: Some(time(row.time)),
        expire_time: Some(time(row.expire_time)),
    });
    (requirements.collect(), decisions.collect())
}
