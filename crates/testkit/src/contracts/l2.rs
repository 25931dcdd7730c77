//! What the MPC does on L2: who produces which blocks.

use alloy_primitives::{Address, U256};
use chain::abi::SequencerSet;
use chain::config;
use chain::rpc::{BlockId, Receipt};
use chain::views;
use domain::ids::EpochId;
use serde::{Deserialize, Serialize};

use super::{Action, Link};
use crate::Error;

pub use chain::views::Epoch;

/// A re-span must be mined in the very block it names; on a chain with its own rhythm it may miss it.
const RESPAN_ATTEMPTS: u32 = 5;

/// The contract of L2 and who plays what. As JSON it can be handed to another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct L2 {
    /// The chain.
    pub link: Link,
    /// Its id.
    pub chain_id: u64,
    /// MetisSequencerSet proxy.
    pub sequencer_set: Address,
    /// Who owns it.
    pub deployer: Address,
    /// Who commits epochs.
    pub mpc: Address,
    /// Who produces when nobody else does.
    pub genesis: Address,
    /// Blocks of a regular epoch.
    pub epoch_blocks: u64,
    /// First block with anything of ours, and of epoch 0.
    pub start_block: u64,
}

impl L2 {
    /// What a configuration says of it; the endpoints are to be named.
    pub fn settings(&self) -> config::L2 {
        config::L2 {
            rpc: Vec::new(),
            ws: None,
            quorum: None,
            chain_id: Some(self.chain_id),
            sequencer_set: Some(self.sequencer_set),
            start_block: Some(self.start_block),
        }
    }

    /// The highest committed epoch; it may not have begun.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn current_epoch(&self) -> Result<Epoch, Error> {
        let number = self.link.view(self.sequencer_set, &SequencerSet::currentEpochNumberCall {}).await?;
        let number = EpochId(number.saturating_to());
        self.epoch(number).await?.ok_or(Error::Unmined("the current epoch"))
    }

    /// An epoch; none if it was not committed.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn epoch(&self, number: EpochId) -> Result<Option<Epoch>, Error> {
        self.link.ask("epochs", views::epoch(self.sequencer_set, number, BlockId::Latest)).await
    }

    /// Queues the next epoch for a producer.
    ///
    /// # Errors
    /// When the chain does not take it: the epoch before the current one must be over.
    pub async fn commit_epoch(&self, signer: Address) -> Result<Receipt, Error> {
        let current = self.current_epoch().await?;
        let call = SequencerSet::commitEpochCall {
            newEpoch: U256::from(current.number.0 + 1),
            startBlock: U256::from(current.end_block.0 + 1),
            endBlock: U256::from(current.end_block.0 + self.epoch_blocks),
            signer,
        };
        self.link.act(Action::call(self.mpc, self.sequencer_set, &call)).await
    }

    /// Takes the rest of the running epoch, and a queued one, from their producers.
    ///
    /// # Errors
    /// When the chain does not take it, as in the first block of an epoch.
    pub async fn recommit_epoch(&self, new_signer: Address) -> Result<Receipt, Error> {
        let mut attempt = 1;
        loop {
            let (current, head) = (self.current_epoch().await?, self.link.head().await?.number);
            let start = head + 1;
            // Case 1 cuts the current epoch; case 2 overwrites one that is queued behind the running one.
            let running = if current.start_block.0 < start { current.number.0 } else { current.number.0 - 1 };
            let call = SequencerSet::recommitEpochCall {
                oldEpochId: U256::from(running),
                newEpochId: U256::from(running + 1),
                startBlock: U256::from(start),
                endBlock: U256::from(current.end_block.0.max(start) + self.epoch_blocks),
                newSigner: new_signer,
            };
            match self.link.act(Action::call(self.mpc, self.sequencer_set, &call)).await {
                Err(Error::Reverted { .. }) if attempt < RESPAN_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }
}
