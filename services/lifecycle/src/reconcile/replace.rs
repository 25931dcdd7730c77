//! What a lane does about a transaction that is not mined: higher fees, or a cancel.

use std::time::{Duration, Instant};

use alloy_primitives::U256;
use api::keys::v1::SigningIntent;
use api::reasons;
use chain::fees::{self, Fees, FeesRefused, Urgency};
use chain::rpc::{BlockId, call};
use chain::views;
use store::column::Wei;
use store::in_transaction;

use super::send::{Lane, Pass};
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::operations::subject;

/// Why a transaction that waits for a block does not pay more: told at its operation, instead of what the nodes say.
#[derive(Debug, Clone)]
pub struct Unpayable {
    pub words: String,
    /// Of the error registry.
    pub code: &'static str,
}

impl Lane<'_> {
    /// Fees for a transaction of an operation that has none yet. None while the market is above the ceiling: the
    /// operation then says so.
    pub async fn fees_within_ceiling(&self, row: &operation::Row) -> Result<Option<Fees>, Error> {
        let config = &self.fleet.config.fees;
        // What it has waited for so far was not the market.
        let urgency = config.urgency(Duration::ZERO, self.left(row));
        match self.chain.market.fees(&self.chain.l1, &config.policy(), urgency).await? {
            Ok(fees) => Ok(Some(fees)),
            Err(refused) => {
                let reason = format!("waits until gas is cheaper, or the ceiling is raised: {refused}");
                self.enter(row.id, State::Queued, &reason, reasons::FEE_ABOVE_CEILING.name).await?;
                Ok(None)
            }
        }
    }

    /// After some blocks without a receipt, or when somebody is in a hurry: higher fees if ceiling and budget allow them,
    /// else the same bytes again.
    pub async fn unstick(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        let cancels = one.cancel_reason.is_some();
        let intent = if cancels { SigningIntent::Cancel } else { SigningIntent::Replace };
        let attempts = attempt::of(&self.fleet.db, one.id).await?;
        let Some(last) = attempts.last() else { return Ok(()) };
        // A replacement that was planned and perhaps signed before a crash.
        if last.max_fee != one.max_fee {
            return self.sign(row, one, intent, Pass::Resumed).await;
        }
        let waited = self.head().await.saturating_sub(one.broadcast_block.unwrap_or(0));
        if !one.hurried && waited < i64::try_from(self.fleet.config.replace_after_blocks).unwrap_or(i64::MAX)
        {
            return Ok(());
        }
        let mined = self.chain.l1.ask(call::nonce(self.account, BlockId::Latest)).await?;
        if one.nonce.and_then(|nonce| u64::try_from(nonce).ok()).is_some_and(|nonce| nonce < mined) {
            // Spent: by us or by somebody else. The confirm loop finds out which.
            return Ok(());
        }
        if !cancels && self.pays_for_nothing(row, one).await? {
            return Ok(());
        }
        match self.replanned(row, one).await? {
            Ok(planned) => self.sign(row, &planned, intent, Pass::Resumed).await,
            Err(unpayable) => self.keep_as_it_is(row, one, unpayable).await,
        }
    }

    /// The same bytes again, with the reason why they are not replaced.
    async fn keep_as_it_is(
        &self,
        row: &operation::Row,
        one: &transaction::Row,
        unpayable: Unpayable,
    ) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, one.id).await?;
        let Some(raw) = attempts.into_iter().rev().find_map(|attempt| attempt.raw) else { return Ok(()) };
        let decided = Instant::now();
        if !self.may_send(row.id).await? {
            return Ok(());
        }
        self.broadcast_noting(row, one, &raw.into(), (Pass::Resumed, decided), Some(unpayable)).await
    }

    /// The row with the fees of its next form, stored before that is signed; or which bound forbids it.
    async fn replanned(
        &self,
        row: &operation::Row,
        one: &transaction::Row,
    ) -> Result<Result<transaction::Row, Unpayable>, Error> {
        let fees = match self.bumped(row, one).await? {
            Ok(fees) => fees,
            Err(refused) => {
                self.calm_down(one).await?;
                let code = reasons::FEE_ABOVE_CEILING.name;
                return Ok(Err(Unpayable { words: refused.to_string(), code }));
            }
        };
        if let Some(spent) = self.replan(one, fees).await? {
            self.calm_down(one).await?;
            let code = reasons::FEE_BUDGET_SPENT.name;
            return Ok(Err(Unpayable { words: spent.to_string(), code }));
        }
        Ok(Ok(transaction::Row {
            max_fee: Wei(U256::from(fees.max_fee_per_gas)),
            max_priority: Wei(U256::from(fees.max_priority_fee_per_gas)),
            ..one.clone()
        }))
    }

    /// Nothing higher may be paid: a hurry has no further effect.
    async fn calm_down(&self, one: &transaction::Row) -> Result<(), Error> {
        if !one.hurried {
            return Ok(());
        }
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.fence(&*tx).await?;
                Ok::<_, Error>(transaction::hurry(&*tx, one.id, false).await?)
            })
        })
        .await
    }

    /// How long is left until the deadline of an operation, if it has one.
    fn left(&self, row: &operation::Row) -> Option<Duration> {
        let left = row.deadline? - self.fleet.clock.now();
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Fees of a replacement, as urgent as its transaction is old and the deadline of its operation near; refused at the
    /// ceiling.
    async fn bumped(
        &self,
        row: &operation::Row,
        one: &transaction::Row,
    ) -> Result<Result<Fees, FeesRefused>, Error> {
        let config = &self.fleet.config.fees;
        let policy = config.policy();
        let small = |fee: Wei| u128::try_from(fee.0).unwrap_or(u128::MAX);
        let before =
            Fees { max_fee_per_gas: small(one.max_fee), max_priority_fee_per_gas: small(one.max_priority) };
        let waited = Duration::try_from(self.fleet.clock.now() - one.create_time).unwrap_or_default();
        let urgency = if one.hurried { Urgency::FULL } else { config.urgency(waited, self.left(row)) };
        let now = self.chain.market.fees(&self.chain.l1, &policy, urgency).await?;
        // Above the ceiling the market says nothing that we could pay: the least bump is what is left.
        Ok(fees::replacement(before, now.unwrap_or(before), &policy))
    }

    /// Brings the cancel of a transaction into the pools and keeps it going until one of the two is mined.
    pub async fn go_on_cancelling(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, one.id).await?;
        match attempts.last() {
            // Fees are planned; the keys service may have signed them before a crash.
            None => self.sign(row, one, SigningIntent::Cancel, Pass::Resumed).await,
            Some(last) if last.max_fee != one.max_fee => {
                self.sign(row, one, SigningIntent::Cancel, Pass::Resumed).await
            }
            Some(last) if last.intent == attempt::CALL => match self.replanned(row, one).await? {
                Ok(planned) => self.sign(row, &planned, SigningIntent::Cancel, Pass::Resumed).await,
                Err(Unpayable { words, code }) => {
                    let reason = format!("{} cannot be cancelled: {words}", one.step_name);
                    self.say(row, one, State::Broadcast, &reason, code).await
                }
            },
            Some(_) if one.state == transaction::SIGNED && !one.hurried => self.send_again(row, one).await,
            Some(_) => self.unstick(row, one).await,
        }
    }

    /// Keys holds another payload for this nonce: only higher fees replace it.
    pub async fn outbid(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        self.replanned(row, one).await.map(drop)
    }

    /// ETH that was quoted for a reward which has left by another way would be lost (P 1.10): such a call is cancelled.
    pub async fn pays_for_nothing(
        &self,
        row: &operation::Row,
        one: &transaction::Row,
    ) -> Result<bool, Error> {
        if one.value.0.is_zero() {
            return Ok(false);
        }
        let (_, about) = subject::stored(self.fleet, row).await?;
        let Some(id) = about.seq_id else { return Ok(false) };
        let found = self.chain.l1.ask(views::sequencer(self.chain.locking_pool, id, BlockId::Latest)).await?;
        if found.is_none_or(|record| !record.reward.is_zero()) {
            return Ok(false);
        }
        let reason =
            format!("the reward of {} is gone, and the ETH sent with it would be lost", one.step_name);
        in_transaction(&self.fleet.db, |tx| {
            let reason = reason.clone();
            Box::pin(async move {
                self.fence(&*tx).await?;
                Ok::<_, Error>(transaction::want_cancel(&*tx, one.id, &reason, false).await?)
            })
        })
        .await?;
        self.fleet.wake();
        Ok(true)
    }

    /// What happens to a transaction, told at its operation unless that does not depend on it.
    pub async fn say(
        &self,
        row: &operation::Row,
        one: &transaction::Row,
        state: State,
        reason: &str,
        code: &str,
    ) -> Result<(), Error> {
        if one.fills {
            return Ok(());
        }
        self.enter(row.id, state, reason, code).await
    }
}
