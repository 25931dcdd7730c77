//! From planned rows to bytes for the database: owned, so that they are written while the next range is folded.

use store::rows::Rows;

use super::plan::Plan;
use crate::db::{
    Layer, batch, block, checkpoint, epoch, implementation, log, missed_turn, parameters, record,
};
use crate::db::{transaction, whitelist};
use crate::fold::Changes;

/// A run of blocks, ready to be written.
#[derive(Debug)]
pub struct Encoded {
    /// Rows by table.
    pub tables: Vec<Rows>,
    /// The last block.
    pub tip: Option<checkpoint::Tip>,
    /// Digests stand up to here.
    pub digested: i64,
    /// Logs among the rows.
    pub logs: u64,
    /// Those that have no type.
    pub untyped: u64,
    /// The pool got another implementation.
    pub upgraded: bool,
}

/// Encodes a plan. Digests stood up to `digested` before it.
pub fn encode(network: &str, layer: Layer, plan: &Plan<'_>, digested: i64) -> Encoded {
    let Plan { blocks, transactions, logs, changes, tip, untyped, digest } = plan;
    let mut tables = vec![
        block::rows(network, layer, blocks),
        transaction::rows(network, layer, transactions),
        log::rows(network, layer, logs),
    ];
    tables.extend(derived(network, changes));
    tables.retain(|rows| !rows.is_empty());
    let reached = tip.filter(|_| digest.is_some()).map_or(digested, |tip| tip.number);
    Encoded {
        tables,
        tip: *tip,
        digested: reached,
        logs: logs.len() as u64,
        untyped: *untyped,
        upgraded: !changes.implementations.is_empty(),
    }
}

fn derived(network: &str, changes: &Changes) -> [Rows; 10] {
    let Changes {
        records,
        signers,
        whitelist,
        parameters,
        batches,
        credits,
        epochs,
        set_parameters,
        missed_turns,
        implementations,
    } = changes;
    [
        record::rows(network, records),
        record::signers_rows(network, signers),
        whitelist::rows(network, whitelist),
        parameters::rows(network, parameters),
        batch::rows(network, batches),
        batch::credits_rows(network, credits),
        epoch::rows(network, epochs.values()),
        epoch::parameters_rows(network, set_parameters.values()),
        missed_turn::rows(network, missed_turns),
        implementation::rows(network, implementations),
    ]
}
