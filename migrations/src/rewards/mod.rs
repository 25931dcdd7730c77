//! Tables of the rewards service.

use crate::{Migration, frame, sql};

/// Schema and, with the prefix `seq_`, role.
pub const SCHEMA: &str = "rewards";

/// Tables whose rows the service may add and read, but never change or remove.
pub const APPEND_ONLY: &[&str] = &[];

/// In the order in which they are applied; only ever added to.
pub fn migrations() -> Vec<Migration> {
    vec![
        frame("m20261122_000001_rewards_frame", SCHEMA),
        sql("m20261122_000002_rewards_ledger", include_str!("m002_ledger.sql")),
    ]
}
