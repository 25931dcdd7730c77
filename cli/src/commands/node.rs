//! `seqctl node`: endpoints that are probed, and whether a lock would be seen.

use anyhow::{Context, Result};
use api::indexer::v1::{
    DeleteNodeRequest, GetNodeRequest, ListNodesRequest, Node, NodeEndpoints, ProcessProbe,
    RegisterNodeRequest, get_node_request,
};
use clap::{Args, Subcommand};

use super::operation::check_rows;
use super::request_id;
use super::sequencer::find;
use crate::connect::Session;
use crate::output::{Printer, Rows, utc};

/// What to do with nodes.
#[derive(Subcommand)]
pub enum Command {
    /// Adds the node of a sequencer.
    Register(Register),
    /// All nodes of the network.
    List,
    /// One node with its processes and checks.
    Get {
        /// Node id.
        id: String,
    },
    /// Takes a node out.
    Delete {
        /// Node id.
        id: String,
    },
}

/// A node.
#[derive(Args)]
pub struct Register {
    /// Name of the node.
    name: String,
    /// Name of the sequencer whose node it is.
    #[arg(long)]
    sequencer: String,
    /// Tendermint RPC, http://host:26657.
    #[arg(long)]
    themis_rpc: String,
    /// themis REST, http://host:1317.
    #[arg(long)]
    themis_rest: String,
    /// Bridge, http://host:8646.
    #[arg(long)]
    bridge: String,
    /// l2geth, http://host:8545.
    #[arg(long)]
    l2geth: String,
    /// L1 data transport, http://host:7878.
    #[arg(long)]
    dtl: String,
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::Register(Register { name, sequencer, themis_rpc, themis_rest, bridge, l2geth, dtl }) => {
            let found = find(session, &sequencer).await?;
            let request = RegisterNodeRequest {
                request_id: request_id(),
                network: session.network()?,
                name,
                signer: found.signer.context("the sequencer has no signer")?.address,
                endpoints: Some(NodeEndpoints { themis_rpc, themis_rest, bridge, l2geth, dtl }),
                validate_only: false,
            };
            let answer = session.nodes().register_node(request).await?.into_inner();
            out.print("sequencer.indexer.v1.RegisterNodeResponse", &answer, || rows(answer.node.iter()))
        }
        Command::List => {
            let request =
                ListNodesRequest { network: session.network()?, page_size: 500, page_token: String::new() };
            let answer = session.nodes().list_nodes(request).await?.into_inner();
            out.print("sequencer.indexer.v1.ListNodesResponse", &answer, || rows(answer.nodes.iter()))
        }
        Command::Get { id } => {
            let request = GetNodeRequest { selector: Some(get_node_request::Selector::Id(id)) };
            let answer = session.nodes().get_node(request).await?.into_inner();
            let checks = answer.node.as_ref().map(|node| node.checks.clone()).unwrap_or_default();
            if let Some(node) = &answer.node {
                for process in &node.processes {
                    out.note(&told(process));
                }
            }
            out.print("sequencer.indexer.v1.GetNodeResponse", &answer, || check_rows(&checks))
        }
        Command::Delete { id } => {
            session.nodes().delete_node(DeleteNodeRequest { id }).await?;
            out.note("deleted");
            Ok(())
        }
    }
}

fn rows<'a>(nodes: impl Iterator<Item = &'a Node>) -> Rows {
    let mut rows = Rows::new(["NAME", "SIGNER", "READY TO LOCK", "VALIDATOR", "PROBED", "PROBLEMS", "ID"]);
    for node in nodes {
        let problems: Vec<String> = node
            .processes
            .iter()
            .filter(|process| !process.problem.is_empty())
            .map(|process| format!("{}: {}", process.process, process.problem))
            .collect();
        rows.add([
            &node.name,
            &node.signer,
            if node.ready_to_lock { "yes" } else { "no" },
            &validator(node),
            &utc(node.probe_time.as_ref()),
            &problems.join("; "),
            &node.id,
        ]);
    }
    rows
}

/// What consensus has of the signer; that nobody could be asked is not that there is nothing.
fn validator(node: &Node) -> String {
    let Node { validator_nonce: nonce, validator_power: power, .. } = node;
    match node.validator_known {
        true => format!("nonce {nonce}, power {power}"),
        false if node.validator_problem.is_empty() && node.probe_time.is_some() => "none".to_owned(),
        false => "unknown".to_owned(),
    }
}

/// One process in a line; what it does not tell is left out.
fn told(process: &ProcessProbe) -> String {
    let ProcessProbe { process: name, reachable, catching_up, height, lag, peers, version, problem } =
        process;
    if !reachable {
        return format!("{name}: {problem}");
    }
    let mut parts = vec![match catching_up {
        Some(true) => "catching up".to_owned(),
        Some(false) | None => "up".to_owned(),
    }];
    parts.extend(height.map(|height| format!("height {height}")));
    parts.extend(lag.map(|lag| format!("{lag} behind")));
    parts.extend(peers.map(|peers| format!("{peers} peers")));
    parts.extend([version, problem].into_iter().filter(|text| !text.is_empty()).cloned());
    format!("{name}: {}", parts.join(", "))
}
