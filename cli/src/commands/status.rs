//! `seqctl status`: networks, their index, and the fleet, trouble first.

use anyhow::Result;
use api::indexer::v1::ListNetworksRequest;
use api::lifecycle::v1::{ListSequencersRequest, ListSequencersResponse, Phase};

use super::chain::networks::rows;
use crate::connect::Session;
use crate::output::{Printer, Rows, metis, utc, word};

/// Largest page of the services.
const PAGE_SIZE: i32 = 500;

/// Prints all.
pub async fn run(session: &Session, out: &Printer) -> Result<()> {
    let networks = session.indexer().list_networks(ListNetworksRequest {}).await?.into_inner();
    if !out.json {
        out.print("sequencer.indexer.v1.ListNetworksResponse", &networks, || rows(&networks.networks))?;
        out.note("");
    }
    let mut all = ListSequencersResponse::default();
    for network in &networks.networks {
        let request = ListSequencersRequest {
            network: network.name.clone(),
            page_size: PAGE_SIZE,
            ..ListSequencersRequest::default()
        };
        let page = session.lifecycle().list_sequencers(request).await?.into_inner();
        all.sequencers.extend(page.sequencers);
    }
    all.sequencers.sort_by_key(|sequencer| std::cmp::Reverse(sequencer.flags.len()));
    out.print("sequencer.lifecycle.v1.ListSequencersResponse", &all, || {
        let mut rows = Rows::new(["NAME", "NETWORK", "PHASE", "LOCKED METIS", "WITHDRAWABLE", "ATTENTION"]);
        for sequencer in &all.sequencers {
            let flags: Vec<&str> = sequencer.flags.iter().map(|flag| flag.name.as_str()).collect();
            rows.add([
                &sequencer.name,
                &sequencer.network,
                &word(Phase::try_from(sequencer.phase).unwrap_or_default().as_str_name(), "PHASE_"),
                &metis(&sequencer.locked_wei),
                &utc(sequencer.withdrawable_time.as_ref()),
                &flags.join(" "),
            ]);
        }
        rows
    })
}
