//! Typed reads of the contracts at one block. Each is a question that can be asked alone or together
//! with others; pin all of a picture to one block hash, so that they tell of the same moment.

use alloy_primitives::{Address, Bytes, U256};

use domain::amount::Metis;
use domain::fee::Oracle;
use domain::ids::{BatchId, EpochId, Height, Nonce, SequencerId, Timestamp};
use domain::preflight::{SignerUse, Status};

use crate::abi::{
    AddressManager, DISCOUNT_ORACLE_NAME, DiscountOracle, Erc20, IMPLEMENTATION_SLOT, L1Bridge, LockingInfo,
    LockingPool, SequencerSet,
};
use crate::pool::Pool;
use crate::rpc::call::{storage_at, view};
use crate::rpc::{Ask, BlockId, RpcError};

// The contract's numbers of a status, which are not in the order of a life.
const UNAVAILABLE: u8 = 0;
const INACTIVE: u8 = 1;
const ACTIVE: u8 = 2;
const UNLOCKED: u8 = 3;

/// `sequencers(id)`, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencerRecord {
    /// Locked principal, wei; 0 after the exit.
    pub amount: Metis,
    /// Credited and unclaimed reward, wei.
    pub reward: Metis,
    /// Batch at the lock.
    pub activation_batch: BatchId,
    /// Batch of the last lock, withdrawal or change of signer.
    pub updated_batch: BatchId,
    /// Batch at the unlock, else 0.
    pub deactivation_batch: BatchId,
    /// Block time of the unlock, else 0.
    pub deactivation_time: Timestamp,
    /// When the principal may leave, else 0.
    pub unlock_claim_time: Timestamp,
    /// Operation counter.
    pub nonce: Nonce,
    /// Owner.
    pub owner: Address,
    /// Signer.
    pub signer: Address,
    /// Public key of the signer, 64 bytes.
    pub pubkey: Bytes,
    /// Where rewards go on L2; none if not set.
    pub reward_recipient: Option<Address>,
    /// Status.
    pub status: Status,
}

/// `curBatchState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchState {
    /// The batch.
    pub id: BatchId,
    /// L1 block of the last batch.
    pub l1_block: Height,
    /// First L2 epoch of the last batch.
    pub start_epoch: EpochId,
    /// Last L2 epoch of the last batch.
    pub end_epoch: EpochId,
}

/// What LockingPool is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolParameters {
    /// The current batch.
    pub batch: BatchState,
    /// Highest id ever issued.
    pub total_sequencers: SequencerId,
    /// Reward for each L2 block, wei.
    pub reward_per_block: Metis,
    /// Waiting time of an exit, seconds.
    pub exit_delay_secs: u64,
    /// Batches between two changes of a signer.
    pub signer_update_throttle: u64,
    /// Who submits reward batches.
    pub mpc: Address,
    /// LockingInfo.
    pub escrow: Address,
    /// Whether the pool is paused.
    pub paused: bool,
    /// Who governs the pool.
    pub owner: Address,
}

/// What LockingInfo is set to, and its totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscrowParameters {
    /// The least that may be locked, wei.
    pub min_lock: Metis,
    /// The most that may be locked, wei.
    pub max_lock: Metis,
    /// Principal of all sequencers, exiting ones included, wei.
    pub total_locked: Metis,
    /// Rewards of all sequencers ever bridged, wei.
    pub total_rewards_liquidated: Metis,
    /// LockingPool.
    pub manager: Address,
    /// Who funds rewards.
    pub reward_payer: Address,
    /// The L1 bridge.
    pub bridge: Address,
    /// METIS on L1.
    pub l1_token: Address,
    /// METIS on L2.
    pub l2_token: Address,
    /// The L2 chain.
    pub l2_chain_id: u64,
    /// Who governs LockingInfo.
    pub owner: Address,
}

/// How many sequencers have each status; there is no counter for those that never were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCounts {
    /// Exiting.
    pub inactive: u64,
    /// Active.
    pub active: u64,
    /// Exited.
    pub unlocked: u64,
}

/// An epoch of MetisSequencerSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Number.
    pub number: EpochId,
    /// Who produces.
    pub signer: Address,
    /// First block.
    pub start_block: Height,
    /// Last block.
    pub end_block: Height,
}

/// The record of a sequencer; none if there never was one with this id.
#[must_use]
pub fn sequencer(
    pool: Address,
    seq_id: SequencerId,
    at: BlockId,
) -> impl Ask<Answer = Option<SequencerRecord>> {
    view(pool, &LockingPool::sequencersCall { seqId: seq_id.into() }, at).convert(|found| {
        let Some(status) = status(found.status)? else {
            return Ok(None);
        };
        Ok(Some(SequencerRecord {
            amount: Metis(found.amount),
            reward: Metis(found.reward),
            activation_batch: small(found.activationBatch)?,
            updated_batch: small(found.updatedBatch)?,
            deactivation_batch: small(found.deactivationBatch)?,
            deactivation_time: small(found.deactivationTime)?,
            unlock_claim_time: small(found.unlockClaimTime)?,
            nonce: small(found.nonce)?,
            owner: found.owner,
            signer: found.signer,
            pubkey: found.pubkey,
            reward_recipient: Some(found.rewardRecipient).filter(|recipient| !recipient.is_zero()),
            status,
        }))
    })
}

/// The sequencer of an owner; none if it has none.
#[must_use]
pub fn seq_of_owner(pool: Address, owner: Address, at: BlockId) -> impl Ask<Answer = Option<SequencerId>> {
    view(pool, &LockingPool::seqOwnersCall { owner }, at)
        .convert(|id| if id.is_zero() { Ok(None) } else { small(id).map(Some) })
}

/// What an address is as a signer.
#[must_use]
pub fn signer_use(pool: Address, signer: Address, at: BlockId) -> impl Ask<Answer = SignerUse> {
    view(pool, &LockingPool::seqSignersCall { signer }, at).convert(|id| {
        Ok(match id {
            U256::ZERO => SignerUse::Unused,
            U256::MAX => SignerUse::Burnt,
            id => SignerUse::Of(small(id)?),
        })
    })
}

/// Whether an owner may use the pool.
#[must_use]
pub fn whitelisted(pool: Address, owner: Address, at: BlockId) -> impl Ask<Answer = bool> {
    view(pool, &LockingPool::whitelistCall { owner }, at)
}

/// How many sequencers have each status.
#[must_use]
pub fn status_counts(pool: Address, at: BlockId) -> impl Ask<Answer = StatusCounts> {
    let count = |status: u8| view(pool, &LockingPool::seqStatusesCall { status }, at);
    let all = (count(INACTIVE), count(ACTIVE), count(UNLOCKED));
    all.convert(|(inactive, active, unlocked)| {
        Ok(StatusCounts { inactive: small(inactive)?, active: small(active)?, unlocked: small(unlocked)? })
    })
}

/// The current batch.
#[must_use]
pub fn batch_state(pool: Address, at: BlockId) -> impl Ask<Answer = BatchState> {
    view(pool, &LockingPool::curBatchStateCall {}, at).convert(|found| {
        Ok(BatchState {
            id: small(found.id)?,
            l1_block: small(found.number)?,
            start_epoch: small(found.startEpoch)?,
            end_epoch: small(found.endEpoch)?,
        })
    })
}

/// Highest sequencer id ever issued.
#[must_use]
pub fn total_sequencers(pool: Address, at: BlockId) -> impl Ask<Answer = SequencerId> {
    view(pool, &LockingPool::totalSequencersCall {}, at).convert(small)
}

/// MPC address of MetisSequencerSet.
#[must_use]
pub fn sequencer_set_mpc(sequencer_set: Address, at: BlockId) -> impl Ask<Answer = Address> {
    view(sequencer_set, &SequencerSet::mpcAddressCall {}, at)
}

/// What LockingPool is set to.
#[must_use]
pub fn pool_parameters(pool: Address, at: BlockId) -> impl Ask<Answer = PoolParameters> {
    let numbers = (
        view(pool, &LockingPool::totalSequencersCall {}, at),
        view(pool, &LockingPool::rewardPerBlockCall {}, at),
        view(pool, &LockingPool::exitDelayPeriodCall {}, at),
        view(pool, &LockingPool::signerUpdateThrottleCall {}, at),
    );
    let rest = (
        view(pool, &LockingPool::mpcAddressCall {}, at),
        view(pool, &LockingPool::escrowCall {}, at),
        view(pool, &LockingPool::pausedCall {}, at),
        view(pool, &LockingPool::ownerCall {}, at),
    );
    (batch_state(pool, at), numbers, rest).convert(|(batch, numbers, (mpc, escrow, paused, owner))| {
        let (total_sequencers, reward_per_block, exit_delay, throttle) = numbers;
        Ok(PoolParameters {
            batch,
            total_sequencers: small(total_sequencers)?,
            reward_per_block: Metis(reward_per_block),
            exit_delay_secs: small(exit_delay)?,
            signer_update_throttle: small(throttle)?,
            mpc,
            escrow,
            paused,
            owner,
        })
    })
}

/// What LockingInfo is set to, and its totals.
#[must_use]
pub fn escrow_parameters(info: Address, at: BlockId) -> impl Ask<Answer = EscrowParameters> {
    let numbers = (
        view(info, &LockingInfo::minLockCall {}, at),
        view(info, &LockingInfo::maxLockCall {}, at),
        view(info, &LockingInfo::totalLockedCall {}, at),
        view(info, &LockingInfo::totalRewardsLiquidatedCall {}, at),
        view(info, &LockingInfo::l2ChainIdCall {}, at),
    );
    let addresses = (
        view(info, &LockingInfo::managerCall {}, at),
        view(info, &LockingInfo::rewardPayerCall {}, at),
        view(info, &LockingInfo::bridgeCall {}, at),
        view(info, &LockingInfo::l1TokenCall {}, at),
        view(info, &LockingInfo::l2TokenCall {}, at),
        view(info, &LockingInfo::ownerCall {}, at),
    );
    (numbers, addresses).convert(|(numbers, addresses)| {
        let (min_lock, max_lock, total_locked, total_rewards_liquidated, l2_chain_id) = numbers;
        let (manager, reward_payer, bridge, l1_token, l2_token, owner) = addresses;
        Ok(EscrowParameters {
            min_lock: Metis(min_lock),
            max_lock: Metis(max_lock),
            total_locked: Metis(total_locked),
            total_rewards_liquidated: Metis(total_rewards_liquidated),
            manager,
            reward_payer,
            bridge,
            l1_token,
            l2_token,
            l2_chain_id: small(l2_chain_id)?,
            owner,
        })
    })
}

/// Balance of a token.
#[must_use]
pub fn token_balance(token: Address, account: Address, at: BlockId) -> impl Ask<Answer = Metis> {
    view(token, &Erc20::balanceOfCall { owner: account }, at).convert(|wei| Ok(Metis(wei)))
}

/// How much of an owner's token a spender may take.
#[must_use]
pub fn token_allowance(
    token: Address,
    owner: Address,
    spender: Address,
    at: BlockId,
) -> impl Ask<Answer = Metis> {
    view(token, &Erc20::allowanceCall { owner, spender }, at).convert(|wei| Ok(Metis(wei)))
}

/// The implementation behind an EIP-1967 proxy; the zero address if this is no such proxy.
#[must_use]
pub fn implementation(proxy: Address, at: BlockId) -> impl Ask<Answer = Address> {
    storage_at(proxy, IMPLEMENTATION_SLOT, at).convert(|word| Ok(Address::from_word(word)))
}

/// An epoch by its number; none if it was not committed.
#[must_use]
pub fn epoch(sequencer_set: Address, number: EpochId, at: BlockId) -> impl Ask<Answer = Option<Epoch>> {
    view(sequencer_set, &SequencerSet::epochsCall { number: number.into() }, at).convert(|found| {
        let epoch = Epoch {
            number: small(found.number)?,
            signer: found.signer,
            start_block: small(found.startBlock)?,
            end_block: small(found.endBlock)?,
        };
        // Absent epochs are all zero; epoch 0 itself has a signer and blocks.
        Ok(Some(epoch).filter(|epoch| !epoch.signer.is_zero()))
    })
}

/// The highest committed epoch, which may not have begun.
#[must_use]
pub fn current_epoch(sequencer_set: Address, at: BlockId) -> impl Ask<Answer = EpochId> {
    view(sequencer_set, &SequencerSet::currentEpochNumberCall {}, at).convert(small)
}

/// Blocks of a regular epoch.
#[must_use]
pub fn epoch_length(sequencer_set: Address, at: BlockId) -> impl Ask<Answer = u64> {
    view(sequencer_set, &SequencerSet::epochLengthCall {}, at).convert(small)
}

/// The numbers by which the bridge prices a claim, for [`domain::fee::quote`].
///
/// # Errors
/// If no endpoint answers, or the bridge's contracts are not what they should be.
pub async fn fee_oracle(chain: &Pool, bridge: Address, at: BlockId) -> Result<Oracle, RpcError> {
    let registry = chain.ask(view(bridge, &L1Bridge::addressmgrCall {}, at)).await?;
    let name = DISCOUNT_ORACLE_NAME.to_owned();
    let oracle = chain.ask(view(registry, &AddressManager::getAddressCall { name }, at)).await?;
    let min_l2_gas = view(oracle, &DiscountOracle::getMinL2GasCall {}, at);
    let discount = view(oracle, &DiscountOracle::getDiscountCall {}, at);
    let (min_l2_gas, discount) = chain.ask((min_l2_gas, discount)).await?;
    Ok(Oracle { min_l2_gas, discount })
}

/// Counters, ids, heights and times: 256 bits on the chain, never more than 64 in truth.
fn small<N: TryFrom<U256>>(number: U256) -> Result<N, String> {
    number.try_into().map_err(|_| format!("{number} is larger than any counter, id or time"))
}

fn status(number: u8) -> Result<Option<Status>, String> {
    match number {
        UNAVAILABLE => Ok(None),
        INACTIVE => Ok(Some(Status::Inactive)),
        ACTIVE => Ok(Some(Status::Active)),
        UNLOCKED => Ok(Some(Status::Unlocked)),
        other => Err(format!("{other} is no status")),
    }
}
