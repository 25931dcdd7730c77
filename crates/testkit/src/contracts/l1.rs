//! What governance, the MPC, owners and signers do on L1.

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use chain::abi::{DiscountOracle, Erc20, LockingInfo, LockingPool};
use chain::config;
use chain::rpc::{BlockId, Receipt};
use chain::views::{self, BatchState, SequencerRecord};
use domain::amount::{Eth, Metis};
use domain::ids::SequencerId;
use domain::pubkey::PublicKey;
use serde::{Deserialize, Serialize};

use super::{Action, Link, MetisToken, Oracle, ProxyAdmin, Variant, artifact::creation};
use crate::Error;

/// The contracts of L1 and who plays what. As JSON it can be handed to another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct L1 {
    /// The chain.
    pub link: Link,
    /// Its id.
    pub chain_id: u64,
    /// LockingPool proxy.
    pub locking_pool: Address,
    /// LockingInfo proxy.
    pub locking_info: Address,
    /// METIS token.
    pub metis: Address,
    /// L1StandardBridge.
    pub bridge: Address,
    /// What prices L2 gas for the bridge.
    pub oracle: Address,
    /// ProxyAdmin of both proxies.
    pub admin: Address,
    /// Governance: owns everything.
    pub deployer: Address,
    /// Who funds rewards.
    pub payer: Address,
    /// Who submits reward batches.
    pub mpc: Address,
    /// First block with anything of ours.
    pub start_block: u64,
}

impl L1 {
    /// What a configuration says of it; the endpoints are to be named.
    pub fn settings(&self) -> config::L1 {
        config::L1 {
            rpc: Vec::new(),
            ws: None,
            quorum: None,
            chain_id: Some(self.chain_id),
            locking_pool: Some(self.locking_pool),
            locking_info: Some(self.locking_info),
            metis: Some(self.metis),
            bridge: Some(self.bridge),
            start_block: Some(self.start_block),
        }
    }

    async fn pool<C: SolCall>(&self, from: Address, call: &C) -> Result<Receipt, Error> {
        self.link.act(Action::call(from, self.locking_pool, call)).await
    }

    /// Governance lets an owner in, or out.
    ///
    /// # Errors
    /// When the chain does not take it; so for all acts below.
    pub async fn whitelist(&self, owner: Address, yes: bool) -> Result<Receipt, Error> {
        self.pool(self.deployer, &LockingPool::setWhitelistCall { addr: owner, yes }).await
    }

    /// Gives an account METIS and ETH on top of what it has.
    ///
    /// # Errors
    /// As above.
    pub async fn fund(&self, account: Address, metis: Metis, eth: Eth) -> Result<(), Error> {
        let balance = self.link.balance(account).await?;
        self.link.set_balance(account, balance.saturating_add(eth.0)).await?;
        if !metis.is_zero() {
            let mint = MetisToken::mintCall { to: account, amount: metis.0 };
            self.link.act(Action::call(self.deployer, self.metis, &mint)).await?;
        }
        Ok(())
    }

    /// Lets LockingInfo take METIS of an owner.
    ///
    /// # Errors
    /// As above.
    pub async fn approve(&self, owner: Address, amount: Metis) -> Result<Receipt, Error> {
        let approve = Erc20::approveCall { spender: self.locking_info, value: amount.0 };
        self.link.act(Action::call(owner, self.metis, &approve)).await
    }

    /// Approves and locks; rewards go to the recipient, which may be zero.
    ///
    /// # Errors
    /// As above.
    pub async fn lock(
        &self,
        owner: Address,
        signer: &PublicKey,
        recipient: Address,
        amount: Metis,
    ) -> Result<Receipt, Error> {
        self.approve(owner, amount).await?;
        let call = LockingPool::lockWithRewardRecipientCall {
            signer: signer.address(),
            rewardRecipient: recipient,
            amount: amount.0,
            signerPubkey: signer.bytes64().into(),
        };
        self.pool(owner, &call).await
    }

    /// Approves and adds to the principal, the unclaimed reward too if wanted.
    ///
    /// # Errors
    /// As above.
    pub async fn relock(
        &self,
        owner: Address,
        id: SequencerId,
        amount: Metis,
        with_rewards: bool,
    ) -> Result<Receipt, Error> {
        self.approve(owner, amount).await?;
        let call = LockingPool::relockCall { seqId: id.into(), amount: amount.0, lockReward: with_rewards };
        self.pool(owner, &call).await
    }

    /// Takes a part of the principal.
    ///
    /// # Errors
    /// As above.
    pub async fn withdraw(&self, owner: Address, id: SequencerId, amount: Metis) -> Result<Receipt, Error> {
        self.pool(owner, &LockingPool::withdrawCall { seqId: id.into(), amount: amount.0 }).await
    }

    /// Sends the reward to L2, with the fee that the bridge asks.
    ///
    /// # Errors
    /// As above.
    pub async fn claim(&self, owner: Address, id: SequencerId) -> Result<Receipt, Error> {
        self.bridging(owner, id, &LockingPool::withdrawRewardsCall { seqId: id.into(), l2Gas: 0 }).await
    }

    /// Begins the exit.
    ///
    /// # Errors
    /// As above.
    pub async fn unlock(&self, owner: Address, id: SequencerId) -> Result<Receipt, Error> {
        self.bridging(owner, id, &LockingPool::unlockCall { seqId: id.into(), l2Gas: 0 }).await
    }

    /// Governance begins the exit.
    ///
    /// # Errors
    /// As above.
    pub async fn force_unlock(&self, id: SequencerId) -> Result<Receipt, Error> {
        let call = LockingPool::forceUnlockCall { seqId: id.into(), l2Gas: 0 };
        self.bridging(self.deployer, id, &call).await
    }

    /// Ends the exit.
    ///
    /// # Errors
    /// As above.
    pub async fn unlock_claim(&self, owner: Address, id: SequencerId) -> Result<Receipt, Error> {
        self.bridging(owner, id, &LockingPool::unlockClaimCall { seqId: id.into(), l2Gas: 0 }).await
    }

    /// The current signer hands over to a new key.
    ///
    /// # Errors
    /// As above.
    pub async fn update_signer(
        &self,
        signer: Address,
        id: SequencerId,
        new: &PublicKey,
    ) -> Result<Receipt, Error> {
        let call = LockingPool::updateSignerCall { seqId: id.into(), signerPubkey: new.bytes64().into() };
        self.pool(signer, &call).await
    }

    /// Chooses where rewards go on L2.
    ///
    /// # Errors
    /// As above.
    pub async fn set_recipient(
        &self,
        owner: Address,
        id: SequencerId,
        recipient: Address,
    ) -> Result<Receipt, Error> {
        let call = LockingPool::setSequencerRewardRecipientCall { seqId: id.into(), recipient };
        self.pool(owner, &call).await
    }

    /// Hands the sequencer to another owner.
    ///
    /// # Errors
    /// As above.
    pub async fn set_owner(&self, owner: Address, id: SequencerId, new: Address) -> Result<Receipt, Error> {
        self.pool(owner, &LockingPool::setSequencerOwnerCall { seqId: id.into(), newOwner: new }).await
    }

    /// The next reward batch, two epochs long: blocks by signer.
    ///
    /// # Errors
    /// As above.
    pub async fn submit_batch(&self, blocks: &[(Address, u64)]) -> Result<Receipt, Error> {
        let last = self.batch_state().await?.end_epoch.0;
        self.submit_batch_until(last + 2, blocks).await
    }

    /// The next reward batch, up to this epoch; it must cover at least two.
    ///
    /// # Errors
    /// As above.
    pub async fn submit_batch_until(
        &self,
        end_epoch: u64,
        blocks: &[(Address, u64)],
    ) -> Result<Receipt, Error> {
        let BatchState { id, end_epoch: last, .. } = self.batch_state().await?;
        let call = LockingPool::batchSubmitRewardsCall {
            batchId: U256::from(id.0 + 1),
            startEpoch: U256::from(last.0 + 1),
            endEpoch: U256::from(end_epoch),
            seqs: blocks.iter().map(|(signer, _)| *signer).collect(),
            blocks: blocks.iter().map(|(_, blocks)| U256::from(*blocks)).collect(),
        };
        self.pool(self.mpc, &call).await
    }

    /// Governance sets the reward for each L2 block.
    ///
    /// # Errors
    /// As above.
    pub async fn set_reward_per_block(&self, reward: Metis) -> Result<Receipt, Error> {
        self.pool(self.deployer, &LockingPool::updateBlockRewardCall { newReward: reward.0 }).await
    }

    /// Governance sets how long exits that begin from now on last.
    ///
    /// # Errors
    /// As above.
    pub async fn set_exit_delay(&self, secs: u64) -> Result<Receipt, Error> {
        let call = LockingPool::updateWithdrawDelayTimeValueCall { time: U256::from(secs) };
        self.pool(self.deployer, &call).await
    }

    /// Governance sets how many batches lie between two signers.
    ///
    /// # Errors
    /// As above.
    pub async fn set_signer_throttle(&self, batches: u64) -> Result<Receipt, Error> {
        self.pool(self.deployer, &LockingPool::setSignerUpdateThrottleCall { n: U256::from(batches) }).await
    }

    /// Governance pauses the pool, or lets it go on.
    ///
    /// # Errors
    /// As above.
    pub async fn set_pause(&self, yes: bool) -> Result<Receipt, Error> {
        self.pool(self.deployer, &LockingPool::setPauseCall { yes }).await
    }

    /// Governance sets the least and the most that may be locked.
    ///
    /// # Errors
    /// As above.
    pub async fn set_limits(&self, min: Metis, max: Metis) -> Result<(), Error> {
        let (info, from) = (self.locking_info, self.deployer);
        let max = Action::call(from, info, &LockingInfo::setMaxLockCall { maxLock: max.0 });
        let min = Action::call(from, info, &LockingInfo::setMinLockCall { minLock: min.0 });
        self.link.act_all(&[max, min]).await.map(drop)
    }

    /// Governance prices L2 gas for the bridge; 0 makes claims free.
    ///
    /// # Errors
    /// As above.
    pub async fn set_discount(&self, wei_per_gas: u64) -> Result<Receipt, Error> {
        let call = Oracle::setDiscountCall { discount: U256::from(wei_per_gas) };
        self.link.act(Action::call(self.deployer, self.oracle, &call)).await
    }

    /// Governance changes the rules of the pool; the pool emits `Upgraded`.
    ///
    /// # Errors
    /// As above.
    pub async fn upgrade(&self, variant: Variant) -> Result<Receipt, Error> {
        let data = creation(variant.artifact(), vec![]);
        let from = self.deployer;
        let created =
            self.link.act(Action { name: "LockingPool", from, to: None, data, value: U256::ZERO }).await?;
        let implementation = created.contract_address.ok_or(Error::Unmined("LockingPool"))?;
        let call = ProxyAdmin::upgradeCall { proxy: self.locking_pool, implementation };
        self.link.act(Action::call(from, self.admin, &call)).await
    }

    /// What the bridge asks for moving a reward: 0 where there is none, since it would be lost.
    ///
    /// # Errors
    /// When the chain does not answer; so for all reads below.
    pub async fn bridge_fee(&self, id: SequencerId) -> Result<Eth, Error> {
        if self.record(id).await?.is_none_or(|record| record.reward.is_zero()) {
            return Ok(Eth::ZERO);
        }
        let gas = self.link.view(self.oracle, &DiscountOracle::getMinL2GasCall {}).await?;
        let price = self.link.view(self.oracle, &DiscountOracle::getDiscountCall {}).await?;
        Ok(Eth(gas.saturating_mul(price)))
    }

    /// `sequencers(id)`; none if there never was one.
    ///
    /// # Errors
    /// As above.
    pub async fn record(&self, id: SequencerId) -> Result<Option<SequencerRecord>, Error> {
        self.link.ask("sequencers", views::sequencer(self.locking_pool, id, BlockId::Latest)).await
    }

    /// The live sequencer of an owner.
    ///
    /// # Errors
    /// As above.
    pub async fn sequencer_of(&self, owner: Address) -> Result<Option<SequencerId>, Error> {
        let id = self.link.view(self.locking_pool, &LockingPool::seqOwnersCall { owner }).await?;
        Ok(Some(SequencerId(id.saturating_to())).filter(|id| id.0 != 0))
    }

    /// The current batch.
    ///
    /// # Errors
    /// As above.
    pub async fn batch_state(&self) -> Result<BatchState, Error> {
        self.link.ask("curBatchState", views::batch_state(self.locking_pool, BlockId::Latest)).await
    }

    /// METIS of an account.
    ///
    /// # Errors
    /// As above.
    pub async fn metis_of(&self, account: Address) -> Result<Metis, Error> {
        self.link.ask("balanceOf", views::token_balance(self.metis, account, BlockId::Latest)).await
    }

    async fn bridging<C: SolCall>(&self, from: Address, id: SequencerId, call: &C) -> Result<Receipt, Error> {
        let fee = self.bridge_fee(id).await?;
        self.link.act(Action::call(from, self.locking_pool, call).paying(fee.0)).await
    }
}
