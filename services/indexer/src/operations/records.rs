//! Sequencer records: as the events add up to them, and as the contract has them.

use alloy_primitives::hex;
use api::indexer::v1 as wire;
use api::indexer::v1::get_sequencer_record_request::Selector;
use api::reasons;
use api::types::v1 as types;
use chain::rpc::{BlockId, NodeErrorKind, RpcError, call};
use chain::views::{self, SequencerRecord};
use domain::ids::SequencerId;
use runtime::errors::{Refusal, report};
use runtime::page;

use super::{Context, Error, Served, as_of, checkpoint_of, finality};
use crate::db::{self, Layer, checkpoint, column, height, record};
use crate::fold::stored::{from_row, status_number};
use crate::fold::wire::{address, block};

/// Records of one read; more do not fit an answer.
const IDS_MAX: usize = 500;

fn message(id: SequencerId, record: &SequencerRecord) -> wire::SequencerRecord {
    let SequencerRecord {
        amount,
        reward,
        activation_batch,
        updated_batch,
        deactivation_batch,
        deactivation_time,
        unlock_claim_time,
        nonce,
        owner,
        signer,
        pubkey,
        reward_recipient,
        status,
    } = record;
    wire::SequencerRecord {
        sequencer_id: id.to_string(),
        // The wire numbers them as the contract does.
        status: i32::from(status_number(*status)),
        owner: address(*owner),
        signer: address(*signer),
        signer_pubkey: hex::encode_prefixed(pubkey),
        reward_recipient: address(reward_recipient.unwrap_or_default()),
        amount_wei: amount.wei_string(),
        reward_wei: reward.wei_string(),
        nonce: nonce.0,
        activation_batch: activation_batch.0,
        updated_batch: updated_batch.0,
        deactivation_batch: deactivation_batch.0,
        deactivation_time: deactivation_time.0,
        unlock_claim_time: unlock_claim_time.0,
    }
}

/// A stored record on the wire.
pub fn stored(row: record::Row) -> wire::SequencerRecord {
    let (id, record) = from_row(row);
    message(id, &record)
}

/// One record as indexed.
///
/// # Errors
/// When the request is wrong, or there is no such sequencer.
pub async fn get(
    context: &Context,
    request: &wire::GetSequencerRecordRequest,
) -> Result<wire::GetSequencerRecordResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let selector = api::convert::present("selector", request.selector.as_ref())?;
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L1).await?;
    let found = match selector {
        Selector::SequencerId(id) => {
            let id = api::convert::sequencer_id("sequencer_id", id)?;
            record::with_id(&view, network, column(id.get())).await?
        }
        Selector::Owner(owner) => {
            let owner = api::convert::address_nonzero("owner", owner)?;
            record::live_of_owner(&view, network, owner.into()).await?
        }
        Selector::Signer(signer) => {
            let signer = api::convert::address_nonzero("signer", signer)?;
            match record::of_signer(&view, network, signer.into()).await? {
                Some(known) => record::with_id(&view, network, known.sequencer_id).await?,
                None => None,
            }
        }
    };
    let found = found.ok_or_else(|| {
        Refusal::new(&reasons::SEQUENCER_NOT_FOUND, format!("there is no such sequencer on {network}"))
            .meta("network", network)
    })?;
    Ok(wire::GetSequencerRecordResponse { record: Some(stored(found)), as_of: as_of(&row) })
}

/// All records by id, in pages.
///
/// # Errors
/// When the request is wrong, or nothing is indexed yet.
pub async fn list(
    context: &Context,
    request: &wire::ListSequencerRecordsRequest,
) -> Result<wire::ListSequencerRecordsResponse, Error> {
    let network = context.network("network", &request.network)?.l1.network.as_str();
    let size = page::page_size(request.page_size)?;
    let after: Option<i64> = page::decode(&request.page_token, &network)?;
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, network, Layer::L1).await?;
    let rows = record::page(&view, network, i64::MAX, after.unwrap_or_default(), size).await?;
    let full = rows.len() == size as usize;
    let last = rows.last().filter(|_| full).map(|row| row.sequencer_id);
    Ok(wire::ListSequencerRecordsResponse {
        records: rows.into_iter().map(stored).collect(),
        next_page_token: last.map(|last| page::encode(&last, &network)).unwrap_or_default(),
        as_of: as_of(&row),
    })
}

/// Records as the contract has them at one block: what reconciliations of others compare with.
///
/// # Errors
/// When the request is wrong, the block is not indexed yet, or no endpoint answers.
pub async fn read_contract(
    context: &Context,
    request: &wire::ReadContractRecordsRequest,
) -> Result<wire::ReadContractRecordsResponse, Error> {
    let served = context.network("network", &request.network)?;
    let network = served.l1.network.as_str();
    if request.sequencer_ids.len() > IDS_MAX {
        let why = format!("at most {IDS_MAX} can be read at once");
        return Err(api::convert::bad(&reasons::ID_MALFORMED, "sequencer_ids", why).into());
    }
    let ids = request
        .sequencer_ids
        .iter()
        .enumerate()
        .map(|(place, id)| api::convert::sequencer_id(&format!("sequencer_ids[{place}]"), id));
    let ids = ids.collect::<Result<Vec<SequencerId>, Refusal>>()?;
    let row = checkpoint_of(&context.db, network, Layer::L1).await?;
    let (at, as_of) = pinned(served, &row, request.at_block).await?;
    let (pool, l1) = (&served.l1.pool, &served.l1.spec.l1);
    let ids = if ids.is_empty() {
        let total = pool.ask(views::pool_parameters(l1.locking_pool, at)).await.map_err(unavailable)?;
        (1..=total.total_sequencers.0.min(IDS_MAX as u64)).map(SequencerId).collect()
    } else {
        ids
    };
    let question: Vec<_> = ids.iter().map(|id| views::sequencer(l1.locking_pool, *id, at)).collect();
    let question = (question, views::token_balance(l1.metis, l1.locking_info, at));
    let (records, balance) = pool.ask(question).await.map_err(unavailable)?;
    Ok(wire::ReadContractRecordsResponse {
        records: ids
            .iter()
            .zip(&records)
            .filter_map(|(id, record)| Some(message(*id, record.as_ref()?)))
            .collect(),
        locking_info_balance_wei: balance.wei_string(),
        as_of: Some(as_of),
    })
}

/// The block to read at: the last indexed one by its hash, or one by height.
async fn pinned(
    served: &Served,
    row: &checkpoint::Row,
    at_block: u64,
) -> Result<(BlockId, types::AsOf), Error> {
    let indexed = row.number.map_or(0, height);
    if at_block > indexed {
        let what = format!("block {at_block} is not indexed yet, the last is {indexed}");
        return Err(Refusal::new(&reasons::INDEX_BEHIND, what).meta("indexed", indexed).into());
    }
    if let (0, Some(hash), Some(as_of)) = (at_block, row.hash, as_of(row)) {
        return Ok((BlockId::Hash(hash.0), as_of));
    }
    let header = served.l1.pool.ask(call::header(BlockId::Number(at_block))).await.map_err(unavailable)?;
    let header = header.ok_or_else(|| {
        let what = format!("the endpoint does not have block {at_block}");
        Refusal::new(&reasons::L1_UNAVAILABLE, what)
    })?;
    let as_of = types::AsOf {
        network: row.network.clone(),
        block: Some(block(header.number, header.hash, header.timestamp)),
        finality: finality(row, column(at_block)).into(),
    };
    Ok((BlockId::Hash(header.hash), as_of))
}

fn unavailable(error: RpcError) -> Error {
    let gone = error.node().is_some_and(|node| node.kind() == NodeErrorKind::UnknownBlock);
    tracing::warn!("the contracts could not be read: {}", report(&error));
    let what = if gone {
        "the block is no longer on the chain, or not yet known to the endpoint"
    } else {
        "no L1 endpoint answered"
    };
    Refusal::new(&reasons::L1_UNAVAILABLE, what).into()
}
