//! Tables of the indexer service.

use crate::{Migration, frame, sql};

/// Schema and, with the prefix `seq_`, role.
pub const SCHEMA: &str = "indexer";

/// Tables whose rows the service may add and read, but never change or remove.
pub const APPEND_ONLY: &[&str] = &["reorg", "reorg_acknowledgement"];

/// In the order in which they are applied; only ever added to.
pub fn migrations() -> Vec<Migration> {
    vec![
        frame("m20261122_000001_indexer_frame", SCHEMA),
        sql("m20261122_000002_indexer_chain", include_str!("m002_chain.sql")),
        sql("m20261122_000003_indexer_node", include_str!("m003_node.sql")),
        sql("m20261122_000004_indexer_exact", include_str!("m004_exact.sql")),
        sql("m20261122_000005_indexer_nodes", include_str!("m005_nodes.sql")),
        sql("m20261123_000006_indexer_firsts", include_str!("m006_firsts.sql")),
    ]
}
