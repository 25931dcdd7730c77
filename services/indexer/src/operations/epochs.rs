//! Epochs of the L2, who produces, and who missed a turn.

use api::indexer::v1 as wire;
use api::reasons;
use api::types::v1 as types;
use runtime::errors::Refusal;
use runtime::page;

use super::{Context, Error, as_of, block, checkpoint_of};
use crate::db::{self, Layer, checkpoint, column, epoch, height, missed_turn, record};
use crate::fold::wire::{address, hash};

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

/// Who produces a block, by the epoch that contains it.
///
/// # Errors
/// When the request is wrong, nothing of L2 is indexed yet, or no epoch contains the block.
pub async fn producer(
    context: &Context,
    request: &wire::GetProducerRequest,
) -> Result<wire::GetProducerResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L2).await?;
    let next = row.number.unwrap_or(-1).saturating_add(1);
    let block = if request.block == 0 { next } else { column(request.block) };
    let found = epoch::begun_by(&view, network, block).await?.filter(|epoch| block <= epoch.end_block);
    let found = found.ok_or_else(|| {
        Refusal::new(&reasons::EPOCH_NOT_FOUND, format!("no epoch of {network} contains block {block}"))
            .meta("network", network)
            .meta("block", block)
    })?;
    let signer = record::of_signer(&view, network, found.signer).await?;
    Ok(wire::GetProducerResponse {
        epoch: Some(message(&found)),
        sequencer_id: signer.map(|signer| signer.sequencer_id.to_string()).unwrap_or_default(),
        as_of: as_of(&row),
    })
}

/// Turns that were lost by re-spans, newest first.
///
/// # Errors
/// When the request is wrong, or nothing of L2 is indexed yet.
pub async fn missed(
    context: &Context,
    request: &wire::ListMissedTurnsRequest,
) -> Result<wire::ListMissedTurnsResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let signer = match request.signer.as_str() {
        "" => None,
        text => Some(api::convert::address_nonzero("signer", text)?),
    };
    let size = page::page_size(request.page_size)?;
    let filter = (network, signer);
    let before: Option<missed_turn::Position> = page::decode(&request.page_token, &filter)?;
    let before = before.unwrap_or((i64::MAX, i32::MAX, i64::MAX));
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L2).await?;
    let rows = missed_turn::page(&view, network, signer.map(Into::into), before, size).await?;
    let full = rows.len() == size as usize;
    let next = rows.last().filter(|_| full);
    let next = next.map(|row| page::encode(&(row.number, row.log_index, row.epoch_id), &filter));
    Ok(wire::ListMissedTurnsResponse {
        turns: rows.into_iter().map(turn).collect(),
        next_page_token: next.unwrap_or_default(),
        as_of: as_of(&row),
    })
}

fn turn(entry: missed_turn::Entry) -> wire::MissedTurn {
    let missed_turn::Entry {
        number,
        log_index,
        epoch_id,
        signer,
        blocks_lost,
        overwritten,
        by_signer,
        sequencer_id,
        block_hash,
        time,
        transaction_hash,
    } = entry;
    wire::MissedTurn {
        signer: address(signer.0),
        sequencer_id: sequencer_id.map(|id| id.to_string()).unwrap_or_default(),
        epoch_id: height(epoch_id),
        blocks_lost: height(blocks_lost),
        overwritten,
        by: address(by_signer.0),
        at: Some(types::LogRef {
            layer: Layer::L2.wire().into(),
            block: Some(block(&checkpoint::Tip { number, hash: block_hash, time })),
            transaction_hash: hash(transaction_hash.0),
            log_index: u32::try_from(log_index).unwrap_or(0),
        }),
    }
}

/// An epoch on the wire.
pub fn message(row: &epoch::Row) -> wire::Epoch {
    let epoch::Row { epoch_id, number: _, signer, start_block, end_block, respanned } = row;
    wire::Epoch {
        epoch_id: height(*epoch_id),
        signer: address(signer.0),
        start_block: height(*start_block),
        end_block: height(*end_block),
        respanned: *respanned,
    }
}
