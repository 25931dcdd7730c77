//! Tables of the keys service.
//!
//! What must never be rewritten is changed by SECURITY DEFINER functions only: the role of the
//! service itself can neither alter nor remove a key, a guarded nonce or a record of the audit log.

use crate::{Migration, frame, sql};

/// Schema and, with the prefix `seq_`, role.
pub const SCHEMA: &str = "keys";

/// Tables whose rows the service may add and read, but never change or remove.
pub const APPEND_ONLY: &[&str] =
    &["kek", "key", "policy", "signature", "drill", "drill_key", "head_key", "signed_head"];

/// Tables that the service may only read: what a decision leaves is written by the functions that decide, and by
/// nothing else.
pub const READ_ONLY: &[&str] = &[
    "nonce_guard",
    "signed_form",
    "audit_head",
    "audit_record",
    "approval",
    "frozen_label",
    "restoration",
    "nonce_floor",
    "nonce_known",
];

/// In the order in which they are applied; only ever added to.
pub fn migrations() -> Vec<Migration> {
    vec![
        frame("m20261122_000001_keys_frame", SCHEMA),
        sql("m20261122_000002_keys_key", include_str!("m002_key.sql")),
        sql("m20261122_000003_keys_audit", include_str!("m003_audit.sql")),
        sql("m20261122_000004_keys_signing", include_str!("m004_signing.sql")),
        sql("m20261122_000005_keys_approval", include_str!("m005_approval.sql")),
        sql("m20261122_000006_keys_decide", include_str!("m006_decide.sql")),
        sql("m20261122_000007_keys_backend", include_str!("m007_backend.sql")),
        sql("m20261122_000008_keys_at_rest", include_str!("m008_at_rest.sql")),
        sql("m20261122_000009_keys_head", include_str!("m009_head.sql")),
        sql("m20261122_000010_keys_restored", include_str!("m010_restored.sql")),
        sql("m20261122_000011_keys_decide_faster", include_str!("m011_decide.sql")),
        sql("m20261123_000012_keys_freeze", include_str!("m012_freeze.sql")),
        sql("m20261123_000013_keys_recorded", include_str!("m013_recorded.sql")),
    ]
}
