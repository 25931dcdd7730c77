//! What must be true after each step, and the comparison of it with the contracts and with the API.

use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use chain::abi::LockingPool;
use chain::views::SequencerRecord;
use domain::amount::Metis;
use domain::ids::SequencerId;
use domain::preflight::Status;
use testkit::simulator::Simulator;

use super::{Accounts, Act, Rewards, Seen};

/// The journey's own books.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) accounts: Accounts,
    pub(super) recipient: alloy_primitives::Address,
    pub(super) start_metis: Metis,
    pub(super) phase: &'static str,
    pub(super) id: Option<SequencerId>,
    principal: Metis,
    unclaimed: Metis,
    claimed: Metis,
    paid_at_exit: Metis,
    nonce: u64,
    status: Option<Status>,
}

impl Expected {
    pub(super) fn new(accounts: Accounts, recipient: alloy_primitives::Address, start_metis: Metis) -> Self {
        Self {
            accounts,
            recipient,
            start_metis,
            phase: "REGISTERED",
            id: None,
            principal: Metis::ZERO,
            unclaimed: Metis::ZERO,
            claimed: Metis::ZERO,
            paid_at_exit: Metis::ZERO,
            nonce: 0,
            status: None,
        }
    }

    /// Books an act as P 1.10 says.
    pub(super) fn apply(&mut self, act: Act) -> Result<()> {
        let too_much = "more than there can be";
        match act {
            Act::Lock(amount) => {
                (self.principal, self.phase, self.status) = (amount, "LOCKED", Some(Status::Active));
            }
            Act::Increase(amount) => self.principal = self.principal.checked_add(amount).context(too_much)?,
            Act::Withdraw(amount) => self.principal = self.principal.checked_sub(amount).context(too_much)?,
            Act::Claim => {
                self.claimed = self.claimed.checked_add(self.unclaimed).context(too_much)?;
                self.unclaimed = Metis::ZERO;
            }
            Act::Unlock => {
                self.leave()?;
                (self.phase, self.status) = ("EXITING", Some(Status::Inactive));
            }
            Act::WithdrawFinal => {
                self.leave()?;
                self.principal = Metis::ZERO;
                (self.phase, self.status) = ("WITHDRAWN", Some(Status::Unlocked));
            }
        }
        // A claim does not count as an operation of the sequencer.
        self.nonce += u64::from(act != Act::Claim);
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        self.paid_at_exit =
            self.paid_at_exit.checked_add(self.unclaimed).context("more than there can be")?;
        self.unclaimed = Metis::ZERO;
        Ok(())
    }

    /// Books a batch; gives the reward.
    pub(super) async fn credit(&mut self, blocks: u64, network: &Simulator) -> Result<Metis> {
        let l1 = network.l1();
        let per_block = l1.link.view(l1.locking_pool, &LockingPool::rewardPerBlockCall {}).await?;
        let reward = Metis(per_block.saturating_mul(U256::from(blocks)));
        self.unclaimed = self.unclaimed.checked_add(reward).context("more than there can be")?;
        Ok(reward)
    }

    pub(super) async fn record(&self, network: &Simulator) -> Result<SequencerRecord> {
        let id = self.id.context("nothing was locked yet")?;
        network.l1().record(id).await?.with_context(|| format!("there is no sequencer {id}"))
    }

    pub(super) async fn check_contracts(&self, network: &Simulator) -> Result<()> {
        let Accounts { owner, signer } = self.accounts;
        let held = network.l1().metis_of(owner).await?;
        let wanted = self.start_metis.checked_sub(self.principal).context("more locked than there was")?;
        ensure!(held == wanted, "the owner holds {held}, and should hold {wanted}");
        if self.id.is_none() {
            return Ok(());
        }
        let record = self.record(network).await?;
        let seen = (record.amount, record.reward, record.nonce.0, Some(record.status));
        let wanted = (self.principal, self.unclaimed, self.nonce, self.status);
        ensure!(seen == wanted, "(amount, reward, nonce, status) is {seen:?}, and should be {wanted:?}");
        ensure!((record.owner, record.signer) == (owner, signer), "owner or signer is another");
        ensure!(record.reward_recipient == Some(self.recipient), "the recipient is another");
        Ok(())
    }

    pub(super) async fn check_l2(&self, network: &Simulator) -> Result<()> {
        let credited = Metis(network.l2().link.balance(self.recipient).await?);
        let wanted = self.claimed.checked_add(self.paid_at_exit).context("more than there can be")?;
        ensure!(credited == wanted, "the recipient holds {credited} on L2, and should hold {wanted}");
        Ok(())
    }

    pub(super) fn check_sequencer(&self, seen: &Seen) -> Result<()> {
        // Consensus may know the lock before we look.
        let ahead = self.phase == "LOCKED" && seen.phase == "ACTIVE";
        ensure!(
            seen.phase == self.phase || ahead,
            "the phase is {}, and should be {}",
            seen.phase,
            self.phase
        );
        let id = self.id.map(|id| id.0);
        ensure!(seen.sequencer_id == id, "the id is {:?}, and should be {id:?}", seen.sequencer_id);
        let wanted = self.principal;
        ensure!(seen.locked == wanted, "{} is locked, and should be {wanted}", seen.locked);
        Ok(())
    }

    pub(super) fn check_rewards(&self, seen: &Rewards) -> Result<()> {
        let parts = [self.unclaimed, self.claimed, self.paid_at_exit];
        let wanted = Rewards {
            accrued: Metis::checked_sum(parts).context("more than there can be")?,
            unclaimed: self.unclaimed,
            claimed: self.claimed,
            paid_at_exit: self.paid_at_exit,
        };
        ensure!(*seen == wanted, "the rewards are {seen:?}, and should be {wanted:?}");
        Ok(())
    }

    pub(super) fn words(&self) -> String {
        let claimed = self.claimed.checked_add(self.paid_at_exit).unwrap_or(Metis::MAX);
        format!(
            "{}, {} locked, {} unclaimed, {} on L2",
            self.phase,
            self.principal.short(),
            self.unclaimed.short(),
            claimed.short()
        )
    }
}
