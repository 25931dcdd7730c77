//! `seqctl chain`: parameters and drift.

use anyhow::Result;
use api::indexer::v1::{ChainParameters, GetChainParametersRequest, GetReconciliationRequest};
use clap::Subcommand;

use crate::connect::Session;
use crate::output::{Printer, Rows, metis, utc};

/// What to know.
#[derive(Subcommand)]
pub enum Command {
    /// Parameters of the contracts as indexed.
    Parameters,
    /// The last comparison of index and contracts.
    Drift,
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    let network = session.network()?;
    match command {
        Command::Parameters => {
            let request = GetChainParametersRequest { network };
            let answer = session.indexer().get_chain_parameters(request).await?.into_inner();
            out.print("sequencer.indexer.v1.GetChainParametersResponse", &answer, || {
                rows(&answer.parameters.clone().unwrap_or_default())
            })
        }
        Command::Drift => {
            let request = GetReconciliationRequest { network };
            let answer = session.indexer().get_reconciliation(request).await?.into_inner();
            out.print("sequencer.indexer.v1.GetReconciliationResponse", &answer, || {
                let mut rows = Rows::properties();
                rows.add(["block", &answer.block.as_ref().map_or(0, |block| block.number).to_string()])
                    .add(["compared", &utc(answer.compare_time.as_ref())])
                    .add(["drift", &answer.drift.to_string()])
                    .add(["first difference", &answer.first_difference]);
                rows
            })
        }
    }
}

fn rows(parameters: &ChainParameters) -> Rows {
    let mut rows = Rows::properties();
    rows.add(["min lock", &format!("{} METIS", metis(&parameters.min_lock_wei))])
        .add(["max lock", &format!("{} METIS", metis(&parameters.max_lock_wei))])
        .add(["total locked", &format!("{} METIS", metis(&parameters.total_locked_wei))])
        .add(["reward per block", &format!("{} METIS", metis(&parameters.reward_per_block_wei))])
        .add(["exit delay", &format!("{} s", parameters.exit_delay_seconds)])
        .add(["current batch", &parameters.current_batch.to_string()])
        .add(["active, exiting", &format!("{}, {}", parameters.active_count, parameters.exiting_count)])
        .add(["paused", if parameters.paused { "yes" } else { "no" }]);
    rows
}
