//! What the MPC does: it commits epochs so that every L2 block has a producer, gives the blocks of a
//! dead node to another, and pays for the blocks of finished epochs.

use std::{collections::BTreeMap, time::Instant};

use alloy_primitives::Address;
use chain::rpc::{BlockId, Receipt};
use chain::views;
use domain::{ids::EpochId, preflight::SignerUse};
use serde::Serialize;

use super::{NodeMode, Simulator, draw, locked};
use crate::{Error, contracts::Epoch};

/// A batch covers at least two epochs, or the contract refuses it.
const BATCH_EPOCHS_MIN: u64 = 2;
/// More would make one transaction too big; the rest comes with the next batch.
const BATCH_EPOCHS_MAX: u64 = 200;
/// Two epochs are always within so many; it ends a loop on a chain that does not move.
const PRODUCE_ROUNDS_MAX: u32 = 20;
/// A new validator is drawn within so many epochs, unless its power is a hair's.
const TURN_EPOCHS_MAX: u32 = 50;

/// A reward batch that was paid.
#[derive(Debug, Clone, Serialize)]
pub struct Batch {
    /// Its number.
    pub id: u64,
    /// First epoch it pays for.
    pub start_epoch: u64,
    /// Last epoch it pays for.
    pub end_epoch: u64,
    /// Blocks paid, by signer.
    pub blocks: BTreeMap<Address, u64>,
    /// The transaction.
    #[serde(skip)]
    pub receipt: Receipt,
}

impl Batch {
    /// Blocks paid to a signer.
    pub fn blocks_of(&self, signer: Address) -> u64 {
        self.blocks.get(&signer).copied().unwrap_or_default()
    }
}

/// Keeps epochs committed, and takes them from dead nodes, until the simulator stops.
pub(super) async fn commit_epochs(simulator: Simulator) {
    let mut down_since = None;
    loop {
        let committed = {
            let _turn = simulator.0.l2_turn.lock().await;
            match simulator.commit_due().await {
                Ok(()) => simulator.respan_due(&mut down_since).await,
                failed => failed,
            }
        };
        simulator.note("committing epochs", committed);
        if !simulator.tick().await {
            return;
        }
    }
}

/// Pays batches in the configured rhythm until the simulator stops.
pub(super) async fn pay_batches(simulator: Simulator) {
    let Some(every) = simulator.0.config.batch_every else { return };
    let mut last = Instant::now();
    while simulator.tick().await {
        if last.elapsed() < every {
            continue;
        }
        last = Instant::now();
        let _turn = simulator.0.l2_turn.lock().await;
        let paid = match simulator.pay().await {
            // Nothing to do yet is no trouble.
            Err(Error::NothingToPay) => Ok(None),
            other => other.map(Some),
        };
        simulator.note("paying batches", paid);
    }
}

impl Simulator {
    /// Pays a batch now, with all epochs finished so far; produces L2 blocks until there are two.
    ///
    /// # Errors
    /// When there is no sequencer to pay, or a chain does not take it.
    pub async fn run_batch_now(&self) -> Result<Batch, Error> {
        let _turn = self.0.l2_turn.lock().await;
        for _ in 0..PRODUCE_ROUNDS_MAX {
            match self.pay().await {
                Err(Error::NothingToPay) => self.finish_epoch().await?,
                result => return result,
            }
        }
        Err(Error::NothingToPay)
    }

    /// Produces L2 blocks until an epoch of this signer is over, and pays for it.
    ///
    /// # Errors
    /// When the signer is not drawn, or a chain does not take it.
    pub async fn run_batch_for(&self, signer: Address) -> Result<Batch, Error> {
        for _ in 0..TURN_EPOCHS_MAX {
            let unpaid = {
                let _turn = self.0.l2_turn.lock().await;
                self.unpaid().await?
            };
            if unpaid.iter().any(|epoch| epoch.signer == signer) {
                return self.run_batch_now().await;
            }
            self.produce_epochs(1).await?;
        }
        Err(Error::NeverDrawn(signer))
    }

    /// Produces L2 blocks until so many more epochs are over.
    ///
    /// # Errors
    /// When L2 does not take it.
    pub async fn produce_epochs(&self, epochs: u32) -> Result<(), Error> {
        let _turn = self.0.l2_turn.lock().await;
        for _ in 0..epochs {
            self.finish_epoch().await?;
        }
        Ok(())
    }

    /// Mines to the end of the running epoch, with the next one committed.
    async fn finish_epoch(&self) -> Result<(), Error> {
        let l2 = &self.0.l2;
        let running = self.running(l2.link.head().await?.number).await?;
        let head = l2.link.head().await?.number;
        if head < running.end_block.0 {
            l2.link.mine(running.end_block.0 - head).await?;
        }
        self.commit_due().await
    }

    /// The epoch of the block after `head`; the last one when the chain has outrun its epochs.
    async fn running(&self, head: u64) -> Result<Epoch, Error> {
        let current = self.0.l2.current_epoch().await?;
        match current.number.0.checked_sub(1) {
            Some(before) if current.start_block.0 > head + 1 => {
                self.0.l2.epoch(EpochId(before)).await?.ok_or(Error::Unmined("the running epoch"))
            }
            _ => Ok(current),
        }
    }

    /// Queues an epoch once a tenth of the newest one is over, as themis does.
    async fn commit_due(&self) -> Result<(), Error> {
        let l2 = &self.0.l2;
        for _ in 0..PRODUCE_ROUNDS_MAX {
            let (head, current) = (l2.link.head().await?.number, l2.current_epoch().await?);
            let length = current.end_block.0 + 1 - current.start_block.0;
            if head < current.start_block.0 + length / 10 {
                break;
            }
            let candidates = locked(&self.0.consensus).eligible();
            let drawn = draw::by_power(&candidates, self.0.config.seed, current.number.0 + 1);
            l2.commit_epoch(drawn.unwrap_or(l2.genesis)).await?;
        }
        Ok(())
    }

    /// Gives the blocks of a producer whose node has been down for long enough to another.
    async fn respan_due(&self, down_since: &mut Option<(Address, Instant)>) -> Result<(), Error> {
        let head = self.0.l2.link.head().await?.number;
        let producer = self.running(head).await?.signer;
        if self.mode_of(producer) != Some(NodeMode::Down) {
            *down_since = None;
            return Ok(());
        }
        let since = match *down_since {
            Some((who, since)) if who == producer => since,
            _ => {
                let now = Instant::now();
                *down_since = Some((producer, now));
                now
            }
        };
        if since.elapsed() < self.0.config.respan_after {
            return Ok(());
        }
        let mut candidates = locked(&self.0.consensus).eligible();
        candidates.retain(|(signer, _)| self.mode_of(*signer) == Some(NodeMode::Synced));
        let candidates: Vec<Address> = candidates.into_iter().map(|(signer, _)| signer).collect();
        let next = draw::evenly(&candidates, self.0.config.seed, head).unwrap_or(self.0.l2.genesis);
        self.0.l2.recommit_epoch(next).await?;
        *down_since = None;
        Ok(())
    }

    /// Epochs that are over and not paid for, oldest first.
    async fn unpaid(&self) -> Result<Vec<Epoch>, Error> {
        let (l1, l2) = (&self.0.l1, &self.0.l2);
        let paid = l1.batch_state().await?.end_epoch.0;
        let (head, newest) = (l2.link.head().await?.number, l2.current_epoch().await?.number.0);
        let mut epochs = Vec::new();
        for number in paid + 1..=newest.min(paid + BATCH_EPOCHS_MAX) {
            match l2.epoch(EpochId(number)).await? {
                Some(epoch) if epoch.end_block.0 < head => epochs.push(epoch),
                _ => break,
            }
        }
        Ok(epochs)
    }

    /// Pays for what is over. Blocks of signers that L1 does not know, or no longer, are left out:
    /// one of them would make L1 refuse the whole batch.
    async fn pay(&self) -> Result<Batch, Error> {
        let epochs = self.unpaid().await?;
        let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else {
            return Err(Error::NothingToPay);
        };
        if last.number.0 - first.number.0 + 1 < BATCH_EPOCHS_MIN {
            return Err(Error::NothingToPay);
        }
        let l1 = &self.0.l1;
        let mut blocks = BTreeMap::new();
        for epoch in &epochs {
            let produced = (epoch.end_block.0 + 1).saturating_sub(epoch.start_block.0);
            *blocks.entry(epoch.signer).or_insert(0) += produced;
        }
        for signer in blocks.keys().copied().collect::<Vec<_>>() {
            let used = views::signer_use(l1.locking_pool, signer, BlockId::Latest);
            if !matches!(l1.link.ask("seqSigners", used).await?, SignerUse::Of(_)) {
                blocks.remove(&signer);
            }
        }
        if blocks.is_empty() {
            // An empty batch is refused as well; one that pays nothing is not.
            let anyone = locked(&self.0.consensus).eligible().first().map(|(signer, _)| *signer);
            blocks.insert(anyone.ok_or(Error::NoSequencer)?, 0);
        }
        let shares: Vec<(Address, u64)> = blocks.iter().map(|(signer, count)| (*signer, *count)).collect();
        let receipt = l1.submit_batch_until(last.number.0, &shares).await?;
        let id = l1.batch_state().await?.id.0;
        Ok(Batch { id, start_epoch: first.number.0, end_epoch: last.number.0, blocks, receipt })
    }
}
