//! `seqctl rewards`: balances, entries, rates, totals.

use anyhow::{Result, bail};
use api::rewards::v1::{
    Balance, EntryKind, GetBalanceRequest, GetNetworkSummaryRequest, GetRateRequest, ListBalancesRequest,
    ListEntriesRequest,
};
use clap::Subcommand;
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::sequencer::find;
use crate::connect::Session;
use crate::output::{Printer, Rows, metis, utc, word};

/// What to know.
#[derive(Subcommand)]
pub enum Command {
    /// Balance of one sequencer, or of all.
    Balance {
        /// Name; all if absent.
        name: Option<String>,
        /// As of this L1 block.
        #[arg(long, default_value_t = 0)]
        at_block: u64,
    },
    /// Credits, claims and what was compounded, oldest first.
    Entries {
        /// Name.
        name: String,
    },
    /// Mining reward rate over a window of chain time.
    Rate {
        /// Name; the network if absent.
        name: Option<String>,
        /// Begin, RFC 3339.
        #[arg(long)]
        from: String,
        /// End, RFC 3339; the head if absent.
        #[arg(long)]
        to: Option<String>,
    },
    /// Totals of the network.
    Summary,
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    let network = session.network()?;
    match command {
        Command::Balance { name: Some(name), at_block } => {
            let sequencer_id = on_chain(session, &name).await?;
            let request = GetBalanceRequest { network, sequencer_id, at_block };
            let answer = session.rewards().get_balance(request).await?.into_inner();
            out.print("sequencer.rewards.v1.GetBalanceResponse", &answer, || balances(answer.balance.iter()))
        }
        Command::Balance { name: None, .. } => {
            let request = ListBalancesRequest { network, page_size: 500, page_token: String::new() };
            let answer = session.rewards().list_balances(request).await?.into_inner();
            out.print("sequencer.rewards.v1.ListBalancesResponse", &answer, || {
                balances(answer.balances.iter())
            })
        }
        Command::Entries { name } => {
            let sequencer_id = on_chain(session, &name).await?;
            let request =
                ListEntriesRequest { network, sequencer_id, page_size: 500, ..ListEntriesRequest::default() };
            let answer = session.rewards().list_entries(request).await?.into_inner();
            out.print("sequencer.rewards.v1.ListEntriesResponse", &answer, || {
                let mut rows =
                    Rows::new(["BLOCK", "TIME", "KIND", "METIS", "BATCH", "BLOCKS", "TRANSACTION"]);
                for entry in &answer.entries {
                    let at = entry.at.as_ref();
                    let block = at.and_then(|at| at.block.as_ref());
                    let kind = EntryKind::try_from(entry.kind).unwrap_or_default().as_str_name();
                    rows.add([
                        &block.map_or(0, |block| block.number).to_string(),
                        &utc(block.and_then(|block| block.time.as_ref())),
                        &word(kind, "ENTRY_KIND_"),
                        &metis(&entry.amount_wei),
                        &entry.batch_id.to_string(),
                        &entry.blocks.to_string(),
                        at.map_or("", |at| &at.transaction_hash),
                    ]);
                }
                rows
            })
        }
        Command::Rate { name, from, to } => {
            let sequencer_id = match name {
                Some(name) => on_chain(session, &name).await?,
                None => String::new(),
            };
            let to = to.as_deref().map(instant).transpose()?;
            let request = GetRateRequest { network, sequencer_id, from: Some(instant(&from)?), to };
            let answer = session.rewards().get_rate(request).await?.into_inner();
            out.print("sequencer.rewards.v1.GetRateResponse", &answer, || {
                let mut rows = Rows::properties();
                rows.add(["accrued", &format!("{} METIS", metis(&answer.accrued_wei))])
                    .add(["average lock", &format!("{} METIS", metis(&answer.average_lock_wei))])
                    .add(["yearly rate", &answer.simple_rate])
                    .add(["network rate", &answer.network_rate]);
                rows
            })
        }
        Command::Summary => {
            let request = GetNetworkSummaryRequest { network };
            let answer = session.rewards().get_network_summary(request).await?.into_inner();
            out.print("sequencer.rewards.v1.GetNetworkSummaryResponse", &answer, || {
                balances(answer.total.iter())
            })
        }
    }
}

async fn on_chain(session: &Session, name: &str) -> Result<String> {
    match find(session, name).await?.sequencer_id {
        id if id.is_empty() => bail!("{name} has nothing locked, so it has no rewards yet"),
        id => Ok(id),
    }
}

fn instant(text: &str) -> Result<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339)?;
    Ok(Timestamp { seconds: time.unix_timestamp(), nanos: 0 })
}

fn balances<'a>(balances: impl Iterator<Item = &'a Balance>) -> Rows {
    let mut rows = Rows::new([
        "ID",
        "ACCRUED",
        "UNCLAIMED",
        "CLAIMED",
        "COMPOUNDED",
        "PAID AT EXIT",
        "PENDING (EST.)",
        "BLOCKS",
    ]);
    for one in balances {
        rows.add([
            if one.sequencer_id.is_empty() { "all" } else { &one.sequencer_id },
            &metis(&one.accrued_wei),
            &metis(&one.unclaimed_wei),
            &metis(&one.claimed_wei),
            &metis(&one.compounded_wei),
            &metis(&one.paid_at_exit_wei),
            &metis(&one.pending_estimate_wei),
            &one.blocks.to_string(),
        ]);
    }
    rows
}
