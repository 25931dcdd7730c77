//! Tables of the lifecycle service.

mod m002_register;
mod m003_operations;

use crate::{Migration, frame, sql};

/// Schema and, with the prefix `seq_`, role.
pub const SCHEMA: &str = "lifecycle";

/// Tables whose rows the service may add and read, but never change or remove.
pub const APPEND_ONLY: &[&str] =
    &["transition", "transition_undo", "operation_step", "attempt", "approval", "schedule_run"];

/// In the order in which they are applied; only ever added to.
pub fn migrations() -> Vec<Migration> {
    vec![
        frame("m20261122_000001_lifecycle_frame", SCHEMA),
        sql("m20261122_000002_lifecycle_register", m002_register::SQL),
        sql("m20261122_000003_lifecycle_operations", m003_operations::SQL),
        sql("m20261122_000004_lifecycle_hold", include_str!("m004_hold.sql")),
        sql("m20261122_000005_lifecycle_lives", include_str!("m005_lives.sql")),
        sql("m20261122_000007_lifecycle_workflows", include_str!("m007_workflows.sql")),
        sql("m20261122_000008_lifecycle_notify", include_str!("m008_notify.sql")),
        sql("m20261123_000009_lifecycle_lanes", include_str!("m009_lanes.sql")),
        sql("m20261123_000010_lifecycle_lists", include_str!("m010_lists.sql")),
        sql("m20261123_000011_lifecycle_refused", include_str!("m011_refused.sql")),
    ]
}
