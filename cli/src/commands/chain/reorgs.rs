//! Blocks that were taken back: listed, acknowledged, or asked for by a resync.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use api::indexer::v1::{
    AcknowledgeReorgRequest, AcknowledgeReorgResponse, ListNetworksRequest, ListReorgsRequest,
    ListReorgsResponse, Reorg, ReorgCause, ResyncRequest,
};
use api::types::v1::Layer;
use clap::Args;

use super::super::confirm::typed;
use super::Which;
use crate::connect::Session;
use crate::exit::{self, usage};
use crate::output::{Printer, Rows, utc, word};

/// Largest page of the services.
const PAGE_SIZE: i32 = 500;
/// Between two looks whether a resync is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `resync`.
#[derive(Args)]
pub struct Resync {
    /// First block to fetch again; 0 for the start.
    #[arg(long, value_name = "BLOCK")]
    from: u64,
    /// Which chain.
    #[arg(long, default_value = "l1")]
    layer: Which,
    /// Waits until the new rows have replaced the old ones.
    #[arg(long)]
    wait: bool,
    /// Seconds that --wait waits.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// `acknowledge`.
#[derive(Args)]
pub struct Acknowledge {
    /// The newest one seen; without it the newest that nobody has acknowledged.
    #[arg(long)]
    id: Option<u64>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Prints the newest ones.
pub async fn list(session: &Session, out: &Printer) -> Result<()> {
    let answer = page(session, String::new()).await?;
    out.print("sequencer.indexer.v1.ListReorgsResponse", &answer, || rows(&answer.reorgs))
}

/// Checks, asks, and has a chain fetched again.
pub async fn resync(asked: Resync, session: &Session, out: &Printer) -> Result<ExitCode> {
    let Resync { from: from_block, layer, wait, timeout, yes } = asked;
    let network = session.network()?;
    let layer = Layer::from(layer);
    let request = ResyncRequest { network, layer: layer.into(), from_block, validate_only: true };
    let checked = session.indexer().resync(request.clone()).await?.into_inner();
    out.note(&format!(
        "{} of {} is fetched again from block {} on; readers keep what is there until then",
        word(layer.as_str_name(), "LAYER_"),
        request.network,
        checked.from_block
    ));
    if !yes {
        typed("yes", "--yes")?;
    }
    let request = ResyncRequest { validate_only: false, ..request };
    let answer = session.indexer().resync(request).await?.into_inner();
    let done = async {
        while !is_resynced(session, layer, answer.after_reorg_id).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    let in_time =
        !wait || tokio::time::timeout(Duration::from_secs(timeout), done).await.ok().transpose()?.is_some();
    out.print("sequencer.indexer.v1.ResyncResponse", &answer, || {
        let mut rows = Rows::properties();
        let state = match (wait, in_time) {
            (true, true) => "fetched again",
            (true, false) => "still being fetched",
            (false, _) => "asked for",
        };
        rows.add(["from block", &answer.from_block.to_string()]).add(["state", state]);
        rows
    })?;
    Ok(if in_time { ExitCode::SUCCESS } else { ExitCode::from(exit::PENDING) })
}

async fn is_resynced(session: &Session, layer: Layer, after_reorg_id: u64) -> Result<bool> {
    let newest = page(session, String::new()).await?.reorgs;
    Ok(newest.iter().any(|reorg| {
        reorg.cause() == ReorgCause::Resync && reorg.layer() == layer && reorg.id > after_reorg_id
    }))
}

/// Shows what is acknowledged, asks, and lets sending go on.
pub async fn acknowledge(asked: Acknowledge, session: &Session, out: &Printer) -> Result<()> {
    let Acknowledge { id, yes } = asked;
    let id = match id {
        Some(id) => Some(id),
        None => unacknowledged(session).await?,
    };
    let Some(id) = id else {
        return print_acknowledged(out, &AcknowledgeReorgResponse::default());
    };
    if !out.json {
        let reorg = find(session, id).await?;
        println!("{}", rows(std::slice::from_ref(&reorg)));
    }
    if !yes {
        typed("yes", "--yes")?;
    }
    let request = AcknowledgeReorgRequest { network: session.network()?, id };
    let answer = session.indexer().acknowledge_reorg(request).await?.into_inner();
    print_acknowledged(out, &answer)
}

fn print_acknowledged(out: &Printer, answer: &AcknowledgeReorgResponse) -> Result<()> {
    out.print("sequencer.indexer.v1.AcknowledgeReorgResponse", answer, || {
        let mut rows = Rows::properties();
        rows.add(["acknowledged", &answer.acknowledged.to_string()]);
        rows
    })
}

/// The newest reorganisation for which the network is held, if it is.
async fn unacknowledged(session: &Session) -> Result<Option<u64>> {
    let name = session.network()?;
    let networks = session.indexer().list_networks(ListNetworksRequest {}).await?.into_inner().networks;
    let network = networks.into_iter().find(|network| network.name == name);
    let network = network.with_context(|| format!("the indexer does not serve {name}"))?;
    Ok(network.sources.iter().map(|source| source.unacknowledged_reorg_id).max().filter(|id| *id != 0))
}

async fn find(session: &Session, id: u64) -> Result<Reorg> {
    let mut token = String::new();
    loop {
        let ListReorgsResponse { reorgs, next_page_token } = page(session, token).await?;
        if let Some(found) = reorgs.into_iter().find(|reorg| reorg.id == id) {
            return Ok(found);
        }
        if next_page_token.is_empty() {
            return Err(usage(format!("there is no reorganisation {id} on {}", session.network()?)));
        }
        token = next_page_token;
    }
}

async fn page(session: &Session, page_token: String) -> Result<ListReorgsResponse> {
    let request = ListReorgsRequest { network: session.network()?, page_size: PAGE_SIZE, page_token };
    Ok(session.indexer().list_reorgs(request).await?.into_inner())
}

fn rows(reorgs: &[Reorg]) -> Rows {
    let mut rows = Rows::new(["ID", "CHAIN", "WHY", "TIP BEFORE", "DOWN TO", "SEEN", "BELOW FINALIZED"]);
    for reorg in reorgs {
        let below = match (reorg.below_finalized, &*reorg.acknowledged_by) {
            (false, _) => "no".to_owned(),
            (true, "") => "YES, not acknowledged".to_owned(),
            (true, who) => format!("yes, acknowledged by {who} {}", utc(reorg.acknowledge_time.as_ref())),
        };
        rows.add([
            &reorg.id.to_string(),
            &word(reorg.layer().as_str_name(), "LAYER_"),
            &word(reorg.cause().as_str_name(), "REORG_CAUSE_"),
            &reorg.from_number.to_string(),
            &reorg.to_number.to_string(),
            &utc(reorg.seen_time.as_ref()),
            &below,
        ]);
    }
    rows
}
