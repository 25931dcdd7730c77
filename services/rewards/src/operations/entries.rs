//! The ledger, entry by entry.

use api::convert;
use api::rewards::v1::{self as wire, EntryKind, ListEntriesRequest, ListEntriesResponse};
use api::types::v1::{BlockRef, Layer, LogRef};
use runtime::page;
use tonic::Status;

use super::{failed, position};
use crate::db::entry::{self, Entry, Filter, Kind};
use crate::rpc::Rewards;

/// A page of entries, oldest first.
pub async fn list(rewards: &Rewards, request: ListEntriesRequest) -> Result<ListEntriesResponse, Status> {
    let kind = match request.kind() {
        EntryKind::Unspecified => None,
        EntryKind::Credit => Some("CREDIT"),
        EntryKind::Claim => Some("CLAIM"),
        EntryKind::Compound => Some("COMPOUND"),
        EntryKind::Exit => Some("EXIT"),
    };
    let ListEntriesRequest { network, sequencer_id, page_size, page_token, .. } = request;
    let sequencer = match sequencer_id.as_str() {
        "" => None,
        text => Some(convert::sequencer_id("sequencer_id", text)?),
    };
    let size = page::page_size(page_size)?;
    let filter = (network.as_str(), sequencer_id.as_str(), kind);
    let after: (u64, u32, u64) = page::decode(&page_token, &filter)?.unwrap_or_default();
    position(rewards, &network).await?;
    let mut rows = entry::list(&rewards.database, &network, Filter { sequencer, kind }, after, size + 1)
        .await
        .map_err(|error| failed(&error))?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = match rows.last() {
        Some(last) if more => page::encode(&(last.block.number.0, last.log_index, last.sequencer.0), &filter),
        _ => String::new(),
    };
    Ok(ListEntriesResponse { entries: rows.into_iter().map(on_wire).collect(), next_page_token })
}

fn on_wire(entry: Entry) -> wire::Entry {
    let Entry { sequencer, kind, amount, block, tx_hash, log_index } = entry;
    let (kind, batch_id, blocks, recipient) = match kind {
        Kind::Credit { batch_id, blocks } => (EntryKind::Credit, batch_id, blocks, String::new()),
        Kind::Claim { recipient } => (EntryKind::Claim, 0, 0, recipient.to_string()),
        Kind::Compound => (EntryKind::Compound, 0, 0, String::new()),
        Kind::Exit { recipient } => (EntryKind::Exit, 0, 0, recipient.to_string()),
    };
    let at = LogRef {
        layer: Layer::L1.into(),
        block: Some(BlockRef {
            number: block.number.0,
            hash: block.hash.to_string(),
            time: Some(convert::wire_time(block.time)),
        }),
        transaction_hash: tx_hash.to_string(),
        log_index,
    };
    wire::Entry {
        kind: kind.into(),
        sequencer_id: sequencer.to_string(),
        amount_wei: amount.wei_string(),
        batch_id,
        blocks,
        recipient,
        at: Some(at),
    }
}
