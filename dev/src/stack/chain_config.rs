//! The section `[networks.devnet]`: what a real network would have written into its file.

use anyhow::{Context, Result};
use chain::config::{L1, L2, Network};
use domain::network::Variant;
use testkit::simulator::Simulator;

use super::{Options, THEMIS_NETWORK};

/// Without WebSocket heads this is how often the chains are asked.
const POLL_MS: u64 = 100;

pub(super) fn network(simulator: &Simulator, options: &Options) -> Result<Network> {
    let (l1, l2) = (simulator.l1(), simulator.l2());
    let urls = |url: &str| -> Result<_> {
        let http = url.parse().context("the URL of a chain")?;
        let ws = url.replacen("http", "ws", 1).parse().context("the URL of a chain")?;
        Ok((vec![http], Some(ws)))
    };
    let (l1_rpc, l1_ws) = urls(l1.link.url())?;
    let (l2_rpc, l2_ws) = urls(l2.link.url())?;
    Ok(Network {
        preset: None,
        variant: Variant::Main,
        confirmations: Some(options.confirmations),
        poll_ms: POLL_MS,
        themis_network: Some(THEMIS_NETWORK.to_owned()),
        l1: L1 { rpc: l1_rpc, ws: l1_ws, ..l1.settings() },
        l2: L2 { rpc: l2_rpc, ws: l2_ws, ..l2.settings() },
    })
}
