//! Blocks that were taken back, and those of them that an operator has to have seen.

use api::indexer::v1 as wire;
use api::reasons;
use runtime::errors::Refusal;
use runtime::page;
use store::{in_transaction, notify};

use super::networks::timestamp;
use super::{Context, Error};
use crate::db::{Layer, column, height, reorg};
use crate::fold::wire::hash;
use crate::reconcile::commit::CHANNEL;

/// Reorganisations, repairs and resyncs, newest first.
///
/// # Errors
/// When the request is wrong.
pub async fn list(
    context: &Context,
    request: &wire::ListReorgsRequest,
) -> Result<wire::ListReorgsResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let size = page::page_size(request.page_size)?;
    let below: Option<i64> = page::decode(&request.page_token, &network)?;
    let rows = reorg::page(&context.db, network, below.unwrap_or(i64::MAX), size).await?;
    let full = rows.len() == size as usize;
    let next = rows.last().filter(|_| full).map(|row| page::encode(&row.id, &network));
    Ok(wire::ListReorgsResponse {
        reorgs: rows.into_iter().map(message).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

fn message(row: reorg::Row) -> wire::Reorg {
    let reorg::Row {
        id,
        layer,
        cause,
        from_number,
        from_hash,
        to_number,
        below_finalized,
        seen_at,
        acknowledged_by,
        acknowledged_at,
    } = row;
    wire::Reorg {
        id: height(id),
        layer: Layer::of_column(layer).wire().into(),
        // The wire numbers them as the column does.
        cause: i32::from(cause),
        from_number: height(from_number),
        from_hash: hash(from_hash.0),
        to_number: height(to_number),
        below_finalized,
        seen_time: Some(timestamp(seen_at)),
        acknowledged_by: acknowledged_by.unwrap_or_default(),
        acknowledge_time: acknowledged_at.map(timestamp),
    }
}

/// Notes that an operator has seen what the reorganisations up to this one did, which lets sending go on. Once noted
/// stays noted, so that twice is harmless.
///
/// # Errors
/// When the request is wrong, or there is no such reorganisation.
pub async fn acknowledge(
    context: &Context,
    caller: &str,
    request: &wire::AcknowledgeReorgRequest,
) -> Result<wire::AcknowledgeReorgResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let id = column(request.id);
    let found = reorg::page(&context.db, network, id.saturating_add(1), 1).await?;
    if found.first().is_none_or(|row| row.id != id) {
        let what = format!("{network} has no reorganisation {id}");
        return Err(Refusal::new(&reasons::REORG_NOT_FOUND, what).meta("id", id).into());
    }
    let acknowledged = in_transaction(&context.db, |tx| {
        Box::pin(async move {
            let acknowledged = reorg::acknowledge(&tx, network, id, caller).await?;
            // Streams tell it in a head.
            notify::notify(&tx, CHANNEL, network).await?;
            Ok::<_, Error>(acknowledged)
        })
    })
    .await?;
    if acknowledged > 0 {
        tracing::info!(network, id, "{caller} acknowledged the reorganisations of {network} up to {id}");
    }
    Ok(wire::AcknowledgeReorgResponse { acknowledged: u32::try_from(acknowledged).unwrap_or(u32::MAX) })
}
