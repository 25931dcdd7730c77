//! From planned rows to the bytes of COPY: owned, so that they are written while the next range is folded.

use store::copy::Rows;

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
        block::copy(network, layer, blocks),
        transaction::copy(network, layer, transactions),
        log::copy(network, layer, logs),
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
        record::copy(network, records),
        record::copy_signers(network, signers),
        whitelist::copy(network, whitelist),
        parameters::copy(network, parameters),
        batch::copy(network, batches),
        batch::copy_credits(network, credits),
        epoch::copy(network, epochs.values()),
        epoch::copy_parameters(network, set_parameters.values()),
        missed_turn::copy(network, missed_turns),
        implementation::copy(network, implementations),
    ]
}
