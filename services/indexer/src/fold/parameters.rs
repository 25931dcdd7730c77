//! Parameters and counters of the L1 contracts, from their initial values on.

use alloy_primitives::{Address, uint};
use chain::event::{ChainEvent, Source};
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, Height};

use super::{Gap, Place};
use crate::db::{column, height, parameters::Row};

/// What the contracts' initialisers set without an event (P 1.5, 1.6), wei, seconds and batches.
const MIN_LOCK: Metis = Metis(uint!(20_000_000_000_000_000_000_000_U256));
const MAX_LOCK: Metis = Metis(uint!(100_000_000_000_000_000_000_000_U256));
const REWARD_PER_BLOCK: Metis = Metis(uint!(761_000_000_000_000_U256));
const EXIT_DELAY_SECS: u64 = 21 * 24 * 60 * 60;
const SIGNER_UPDATE_THROTTLE: u64 = 1;
const FIRST_BATCH: BatchId = BatchId(1);

/// All of them at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Least principal.
    pub min_lock: Metis,
    /// Greatest principal.
    pub max_lock: Metis,
    /// Sum of principals.
    pub total_locked: Metis,
    /// Sum of rewards bridged.
    pub total_rewards_liquidated: Metis,
    /// Reward of one L2 block.
    pub reward_per_block: Metis,
    /// Delay of exits that begin now.
    pub exit_delay_secs: u64,
    /// Batches between two signer updates.
    pub signer_update_throttle: u64,
    /// `curBatchState.id`.
    pub batch_id: BatchId,
    /// `curBatchState.number`.
    pub batch_block: Height,
    /// `curBatchState.startEpoch`.
    pub batch_start_epoch: EpochId,
    /// `curBatchState.endEpoch`.
    pub batch_end_epoch: EpochId,
    /// The pool is paused.
    pub paused: bool,
    /// Sequencers with status 2.
    pub active: u64,
    /// Sequencers with status 1.
    pub exiting: u64,
    /// Sequencers with status 3.
    pub exited: u64,
    /// Payer of the rewards.
    pub reward_payer: Address,
    /// MPC address of the pool.
    pub mpc: Address,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            min_lock: MIN_LOCK,
            max_lock: MAX_LOCK,
            total_locked: Metis::ZERO,
            total_rewards_liquidated: Metis::ZERO,
            reward_per_block: REWARD_PER_BLOCK,
            exit_delay_secs: EXIT_DELAY_SECS,
            signer_update_throttle: SIGNER_UPDATE_THROTTLE,
            batch_id: FIRST_BATCH,
            batch_block: Height(0),
            batch_start_epoch: EpochId(0),
            batch_end_epoch: EpochId(0),
            paused: false,
            active: 0,
            exiting: 0,
            exited: 0,
            reward_payer: Address::ZERO,
            mpc: Address::ZERO,
        }
    }
}

impl Parameters {
    /// Events that set a parameter.
    ///
    /// # Errors
    /// When the value before is not the one that the event names.
    pub fn set(&mut self, place: &Place, source: Source, event: &ChainEvent) -> Result<(), Gap> {
        match event {
            ChainEvent::SetMinLock { min_lock } => self.min_lock = *min_lock,
            ChainEvent::SetMaxLock { max_lock } => self.max_lock = *max_lock,
            ChainEvent::SetRewardPayer { payer } => self.reward_payer = *payer,
            ChainEvent::RewardUpdate { new_reward, old_reward } => {
                place.expect("reward per block", self.reward_per_block, *old_reward)?;
                self.reward_per_block = *new_reward;
            }
            ChainEvent::WithrawDelayTimeChange { new_secs, old_secs } => {
                place.expect("exit delay", self.exit_delay_secs, *old_secs)?;
                self.exit_delay_secs = *new_secs;
            }
            ChainEvent::UpdateMpc { mpc } => self.mpc = *mpc,
            ChainEvent::SetSignerUpdateThrottle { batches } => self.signer_update_throttle = *batches,
            ChainEvent::Paused { .. } => self.paused = true,
            ChainEvent::Unpaused { .. } => self.paused = false,
            // The first batch begins in the block of the pool's initialisation, which no event says.
            ChainEvent::Initialized { version: 1 } if source == Source::PoolProxy => {
                self.batch_block = Height(place.number);
            }
            ChainEvent::BatchSubmitReward { batch_id } => {
                place.expect("batch id", BatchId(self.batch_id.0 + 1), *batch_id)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The row of this version.
    pub fn row(&self, number: i64) -> Row {
        Row {
            number,
            min_lock: self.min_lock.0.into(),
            max_lock: self.max_lock.0.into(),
            total_locked: self.total_locked.0.into(),
            total_rewards_liquidated: self.total_rewards_liquidated.0.into(),
            reward_per_block: self.reward_per_block.0.into(),
            exit_delay_seconds: column(self.exit_delay_secs),
            signer_update_throttle: column(self.signer_update_throttle),
            batch_id: column(self.batch_id.0),
            batch_block: column(self.batch_block.0),
            batch_start_epoch: column(self.batch_start_epoch.0),
            batch_end_epoch: column(self.batch_end_epoch.0),
            paused: self.paused,
            active_count: column(self.active),
            exiting_count: column(self.exiting),
            exited_count: column(self.exited),
            reward_payer: self.reward_payer.into(),
            mpc: self.mpc.into(),
        }
    }
}

impl From<Row> for Parameters {
    fn from(row: Row) -> Self {
        let Row {
            number: _,
            min_lock,
            max_lock,
            total_locked,
            total_rewards_liquidated,
            reward_per_block,
            exit_delay_seconds,
            signer_update_throttle,
            batch_id,
            batch_block,
            batch_start_epoch,
            batch_end_epoch,
            paused,
            active_count,
            exiting_count,
            exited_count,
            reward_payer,
            mpc,
        } = row;
        Self {
            min_lock: Metis(min_lock.0),
            max_lock: Metis(max_lock.0),
            total_locked: Metis(total_locked.0),
            total_rewards_liquidated: Metis(total_rewards_liquidated.0),
            reward_per_block: Metis(reward_per_block.0),
            exit_delay_secs: height(exit_delay_seconds),
            signer_update_throttle: height(signer_update_throttle),
            batch_id: BatchId(height(batch_id)),
            batch_block: Height(height(batch_block)),
            batch_start_epoch: EpochId(height(batch_start_epoch)),
            batch_end_epoch: EpochId(height(batch_end_epoch)),
            paused,
            active: height(active_count),
            exiting: height(exiting_count),
            exited: height(exited_count),
            reward_payer: reward_payer.0,
            mpc: mpc.0,
        }
    }
}
