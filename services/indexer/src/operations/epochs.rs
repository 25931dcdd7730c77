//! Epochs of the L2.

use api::indexer::v1 as wire;
use runtime::page;

use super::{Context, Error, as_of, checkpoint_of};
use crate::db::{self, Layer, epoch, height};
use crate::fold::wire::address;

/// Epochs, newest first, re-spans applied.
///
/// # Errors
/// When the request is wrong, or nothing of L2 is indexed yet.
pub async fn list(
    context: &Context,
    request: &wire::ListEpochsRequest,
) -> Result<wire::ListEpochsResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let signer = match request.signer.as_str() {
        "" => None,
        text => Some(api::convert::address_nonzero("signer", text)?),
    };
    let size = page::page_size(request.page_size)?;
    let filter = (network, signer);
    let below: Option<i64> = page::decode(&request.page_token, &filter)?;
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L2).await?;
    let rows = epoch::newest(&view, network, below.unwrap_or(i64::MAX), signer.map(Into::into), size).await?;
    let full = rows.len() == size as usize;
    let next = rows.last().filter(|_| full).map(|row| page::encode(&row.epoch_id, &filter));
    Ok(wire::ListEpochsResponse {
        epochs: rows.iter().map(message).collect(),
        next_page_token: next.unwrap_or_default(),
        as_of: as_of(&row),
    })
}

fn message(row: &epoch::Row) -> wire::Epoch {
    let epoch::Row { epoch_id, number: _, signer, start_block, end_block, respanned } = row;
    wire::Epoch {
        epoch_id: height(*epoch_id),
        signer: address(signer.0),
        start_block: height(*start_block),
        end_block: height(*end_block),
        respanned: *respanned,
    }
}
