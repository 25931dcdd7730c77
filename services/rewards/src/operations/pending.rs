//! What blocks produced since the last batch will bring: an estimate, from epochs that are over (P 1.13, 5).

use std::collections::BTreeMap;

use alloy_primitives::U256;
use api::indexer::v1::{
    Epoch, GetChainParametersRequest, ListEpochsRequest, ListEpochsResponse, ListSequencerRecordsRequest,
};
use domain::amount::Metis;
use domain::ids::SequencerId;
use tonic::{Code, Status};

use crate::rpc::Rewards;

/// Pages of the largest size that are looked at; a batch covers far fewer epochs.
const PAGES_MAX: u32 = 4;

/// Pages of the indexer's lists.
const PAGE_SIZE: i32 = 500;

/// The estimate of every sequencer that has one. Without the indexer there is no estimate, but still a balance.
pub async fn of_all(rewards: &Rewards, network: &str) -> Result<BTreeMap<SequencerId, Metis>, Status> {
    match estimate(rewards, network).await {
        Err(status) if status.code() == Code::Unavailable => Ok(BTreeMap::new()),
        result => result,
    }
}

async fn estimate(rewards: &Rewards, network: &str) -> Result<BTreeMap<SequencerId, Metis>, Status> {
    let mut indexer = rewards.indexer.clone();
    let network = network.to_owned();
    let parameters = indexer
        .get_chain_parameters(GetChainParametersRequest { network: network.clone(), at_block: 0 })
        .await?
        .into_inner()
        .parameters
        .unwrap_or_default();
    let reward_per_block = Metis::parse_wei(&parameters.reward_per_block_wei).unwrap_or_default();
    let mut signers = BTreeMap::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let request =
            ListSequencerRecordsRequest { network: network.clone(), page_size: PAGE_SIZE, page_token };
        let page = indexer.list_sequencer_records(request).await?.into_inner();
        signers.extend(page.records.into_iter().map(|record| (record.signer, record.sequencer_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut blocks: BTreeMap<SequencerId, u64> = BTreeMap::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let request = ListEpochsRequest {
            network: network.clone(),
            signer: String::new(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let ListEpochsResponse { epochs, next_page_token, as_of } =
            indexer.list_epochs(request).await?.into_inner();
        let head = as_of.and_then(|as_of| as_of.block).map_or(0, |block| block.number);
        let rewarded = parameters.last_rewarded_epoch;
        let mut reached = false;
        for Epoch { epoch_id, signer, start_block, end_block, .. } in epochs {
            reached |= epoch_id <= rewarded;
            let Some(id) = signers.get(&signer).and_then(|id| id.parse().ok()) else { continue };
            if epoch_id > rewarded && end_block <= head {
                *blocks.entry(id).or_default() += (end_block + 1).saturating_sub(start_block);
            }
        }
        page_token = next_page_token;
        if reached || page_token.is_empty() {
            break;
        }
    }
    let amount = |blocks: u64| reward_per_block.checked_mul(U256::from(blocks)).unwrap_or(Metis::MAX);
    Ok(blocks.into_iter().map(|(id, blocks)| (id, amount(blocks))).collect())
}
