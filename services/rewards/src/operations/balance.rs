//! Balances: sums of the ledger, and an estimate of what the next batch will bring.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use api::convert;
use api::rewards::v1::{
    Balance, GetBalanceRequest, GetBalanceResponse, ListBalancesRequest, ListBalancesResponse,
};
use domain::amount::Metis;
use domain::ids::SequencerId;
use runtime::page;
use tonic::Status;

use super::{as_of, failed, height, pending, position};
use crate::db::entry::{self, Sums};
use crate::rpc::Rewards;

/// The balance of one sequencer.
pub async fn get(rewards: &Rewards, request: GetBalanceRequest) -> Result<GetBalanceResponse, Status> {
    let GetBalanceRequest { network, sequencer_id, at_block } = request;
    let sequencer = convert::sequencer_id("sequencer_id", &sequencer_id)?;
    let position = position(rewards, &network).await?;
    let at = height(&position, at_block)?;
    let sums =
        entry::sums_of(&rewards.database, &network, sequencer, at).await.map_err(|error| failed(&error))?;
    // The past has no pending rewards: what was pending then has long been credited.
    let pending =
        if at == position.block.number { pending::of_all(rewards, &network).await? } else { BTreeMap::new() };
    let balance = wire(sequencer, sums, pending.get(&sequencer).copied().unwrap_or_default());
    Ok(GetBalanceResponse { balance: Some(balance), as_of: Some(as_of(&position, at)) })
}

/// The balances of all sequencers that ever earned.
pub async fn list(rewards: &Rewards, request: ListBalancesRequest) -> Result<ListBalancesResponse, Status> {
    let ListBalancesRequest { network, page_size, page_token } = request;
    let size = page::page_size(page_size)?;
    let after: u64 = page::decode(&page_token, &network)?.unwrap_or_default();
    let position = position(rewards, &network).await?;
    let at = position.block.number;
    let mut rows = entry::sums(&rewards.database, &network, at, SequencerId(after), size + 1)
        .await
        .map_err(|error| failed(&error))?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = match rows.last() {
        Some((last, _)) if more => page::encode(&last.0, &network),
        _ => String::new(),
    };
    let pending = pending::of_all(rewards, &network).await?;
    let balances = rows
        .into_iter()
        .map(|(id, sums)| wire(id, sums, pending.get(&id).copied().unwrap_or_default()))
        .collect();
    Ok(ListBalancesResponse { balances, next_page_token, as_of: Some(as_of(&position, at)) })
}

/// A balance for the wire. More out than in would be a drift, which the comparison reports; here it shows as 0.
pub(super) fn wire(sequencer: SequencerId, sums: Sums, pending: Metis) -> Balance {
    let Sums { accrued, claimed, compounded, paid_at_exit, blocks } = sums;
    Balance {
        sequencer_id: if sequencer.0 == 0 { String::new() } else { sequencer.to_string() },
        accrued_wei: accrued.wei_string(),
        unclaimed_wei: sums.unclaimed().unwrap_or(Metis(U256::ZERO)).wei_string(),
        claimed_wei: claimed.wei_string(),
        compounded_wei: compounded.wei_string(),
        paid_at_exit_wei: paid_at_exit.wei_string(),
        pending_estimate_wei: pending.wei_string(),
        blocks,
    }
}
