//! `seqctl chain`: the chains as indexed, and whether the index is right.

pub mod networks;
mod reorgs;
mod state;

use std::process::ExitCode;

use anyhow::Result;
use api::indexer::v1::{
    ChainParameters, Epoch, GetChainParametersRequest, GetDigestRequest, GetProducerRequest,
    GetReconciliationRequest, ListMissedTurnsRequest, ListNetworksRequest, MissedTurn, ReconcileRequest,
    ReconcileResponse,
};
use api::types::v1::{BlockRef, Layer};
use clap::{Subcommand, ValueEnum};

use crate::connect::Session;
use crate::exit;
use crate::output::{Printer, Rows, metis, utc};

/// Largest page of the services.
const PAGE_SIZE: i32 = 500;

/// What to know, and what to do.
#[derive(Subcommand)]
pub enum Command {
    /// Networks with the progress of their index and their endpoints.
    Networks,
    /// Parameters of the contracts as indexed.
    Parameters {
        /// As of this L1 block; the last indexed one if absent.
        #[arg(long, value_name = "BLOCK", default_value_t = 0)]
        at: u64,
    },
    /// The whole indexed state as of a block; with `-o json` one document.
    State {
        /// L1 block; the last indexed one if absent.
        #[arg(long, value_name = "BLOCK", default_value_t = 0)]
        at: u64,
        /// L2 block for the epochs; the last indexed one if absent.
        #[arg(long, value_name = "BLOCK", default_value_t = 0)]
        l2_at: u64,
    },
    /// The last comparison of index and contracts.
    Drift,
    /// Compares index and contracts now; exit code 5 if they differ.
    Reconcile,
    /// Has a chain fetched again, without downtime for readers.
    Resync(reorgs::Resync),
    /// The digest chain, to be compared with another installation's.
    Digest {
        /// At this block; the last final one that is indexed if absent.
        #[arg(long, value_name = "BLOCK", default_value_t = 0)]
        at: u64,
        /// Which chain.
        #[arg(long, default_value = "l1")]
        layer: Which,
    },
    /// Blocks that were taken back, newest first.
    Reorgs,
    /// Lets sending go on after a reorganisation below `finalized`.
    Acknowledge(reorgs::Acknowledge),
    /// Who produces an L2 block.
    Producer {
        /// L2 block; the one after the last indexed if absent.
        #[arg(long, default_value_t = 0)]
        block: u64,
    },
    /// Turns that producers lost by a re-span, newest first.
    MissedTurns {
        /// Only of this signer.
        #[arg(long, default_value = "")]
        signer: String,
    },
}

/// One of the chains of a network.
#[derive(Clone, Copy, ValueEnum)]
pub enum Which {
    /// Ethereum.
    L1,
    /// Metis.
    L2,
}

impl From<Which> for Layer {
    fn from(which: Which) -> Self {
        match which {
            Which::L1 => Self::L1,
            Which::L2 => Self::L2,
        }
    }
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<ExitCode> {
    match command {
        Command::Networks => print_networks(session, out).await?,
        Command::Parameters { at } => parameters(session, out, at).await?,
        Command::State { at, l2_at } => state::run(session, out, at, l2_at).await?,
        Command::Drift => drift(session, out).await?,
        Command::Reconcile => return reconcile(session, out).await,
        Command::Resync(asked) => return reorgs::resync(asked, session, out).await,
        Command::Digest { at, layer } => digest(session, out, at, layer).await?,
        Command::Reorgs => reorgs::list(session, out).await?,
        Command::Acknowledge(asked) => reorgs::acknowledge(asked, session, out).await?,
        Command::Producer { block } => producer(session, out, block).await?,
        Command::MissedTurns { signer } => missed_turns(session, out, signer).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn print_networks(session: &Session, out: &Printer) -> Result<()> {
    let answer = session.indexer().list_networks(ListNetworksRequest {}).await?.into_inner();
    out.print("sequencer.indexer.v1.ListNetworksResponse", &answer, || networks::rows(&answer.networks))?;
    if !out.json {
        println!("\n{}", networks::endpoint_rows(&answer.networks));
    }
    Ok(())
}

async fn parameters(session: &Session, out: &Printer, at_block: u64) -> Result<()> {
    let request = GetChainParametersRequest { network: session.network()?, at_block };
    let answer = session.indexer().get_chain_parameters(request).await?.into_inner();
    out.print("sequencer.indexer.v1.GetChainParametersResponse", &answer, || {
        parameter_rows(&answer.parameters.clone().unwrap_or_default())
    })
}

async fn drift(session: &Session, out: &Printer) -> Result<()> {
    let request = GetReconciliationRequest { network: session.network()? };
    let answer = session.indexer().get_reconciliation(request).await?.into_inner();
    out.print("sequencer.indexer.v1.GetReconciliationResponse", &answer, || {
        let mut rows = Rows::properties();
        rows.add(["block", &height(answer.block.as_ref())])
            .add(["compared", &utc(answer.compare_time.as_ref())])
            .add(["drift", &answer.drift.to_string()])
            .add(["first difference", &answer.first_difference])
            .add(["last agreed at", &height(answer.verified.as_ref())]);
        rows
    })
}

async fn reconcile(session: &Session, out: &Printer) -> Result<ExitCode> {
    let request = ReconcileRequest { network: session.network()? };
    let answer = session.indexer().reconcile(request).await?.into_inner();
    out.print("sequencer.indexer.v1.ReconcileResponse", &answer, || {
        let ReconcileResponse { block, l2_block, drift, differences } = &answer;
        let mut rows = Rows::properties();
        rows.add(["L1 block", &height(block.as_ref())])
            .add(["L2 block", &height(l2_block.as_ref())])
            .add(["drift", &drift.to_string()]);
        for difference in differences {
            rows.add(["", difference]);
        }
        rows
    })?;
    Ok(if answer.drift == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::REFUSED) })
}

async fn digest(session: &Session, out: &Printer, at_block: u64, layer: Which) -> Result<()> {
    let layer = Layer::from(layer).into();
    let request = GetDigestRequest { network: session.network()?, layer, at_block };
    let answer = session.indexer().get_digest(request).await?.into_inner();
    out.print("sequencer.indexer.v1.GetDigestResponse", &answer, || {
        let mut rows = Rows::properties();
        rows.add(["at block", &answer.at_block.to_string()])
            .add(["last block with events", &height(answer.block.as_ref())])
            .add(["digest", &answer.digest]);
        rows
    })
}

async fn producer(session: &Session, out: &Printer, block: u64) -> Result<()> {
    let request = GetProducerRequest { network: session.network()?, block };
    let answer = session.indexer().get_producer(request).await?.into_inner();
    out.print("sequencer.indexer.v1.GetProducerResponse", &answer, || {
        let Epoch { epoch_id, signer, start_block, end_block, respanned } =
            answer.epoch.clone().unwrap_or_default();
        let mut rows = Rows::properties();
        rows.add(["signer", &signer])
            .add(["sequencer", &answer.sequencer_id])
            .add(["epoch", &epoch_id.to_string()])
            .add(["blocks", &format!("{start_block} to {end_block}")])
            .add(["re-spanned", if respanned { "yes" } else { "no" }]);
        rows
    })
}

async fn missed_turns(session: &Session, out: &Printer, signer: String) -> Result<()> {
    let request = ListMissedTurnsRequest {
        network: session.network()?,
        signer,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let answer = session.indexer().list_missed_turns(request).await?.into_inner();
    out.print("sequencer.indexer.v1.ListMissedTurnsResponse", &answer, || {
        let mut rows = Rows::new(["EPOCH", "SIGNER", "SEQUENCER", "BLOCKS LOST", "BY", "L2 BLOCK", "TIME"]);
        for turn in &answer.turns {
            let MissedTurn { signer, sequencer_id, epoch_id, blocks_lost, overwritten: _, by, at } = turn;
            let block = at.as_ref().and_then(|at| at.block.as_ref());
            rows.add([
                &epoch_id.to_string(),
                signer,
                sequencer_id,
                &blocks_lost.to_string(),
                by,
                &height(block),
                &utc(block.and_then(|block| block.time.as_ref())),
            ]);
        }
        rows
    })
}

/// A height; empty without a block.
fn height(block: Option<&BlockRef>) -> String {
    block.map(|block| block.number.to_string()).unwrap_or_default()
}

/// The parameters that people ask for.
fn parameter_rows(parameters: &ChainParameters) -> Rows {
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
