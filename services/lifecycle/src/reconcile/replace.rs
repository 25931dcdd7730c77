//! What a lane does about a nonce that is not mined: higher fees, a cancel, or a transfer of nothing to oneself where a
//! nonce was taken and never used. A nonce is never handed out again.

use std::time::Duration;

use alloy_primitives::U256;
use api::keys::v1::SigningIntent;
use api::reasons;
use chain::fees::{self, Fees, Urgency};
use chain::rpc::{BlockId, call};
use chain::views;
use store::column::{Addr, Wei};
use store::in_transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::form::CANCEL_GAS;
use super::send::{Lane, Pass};
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::operations::subject;

/// Blocks after which a nonce below ours that nobody uses is spent by us. A transaction of somebody else that a
/// reorganisation took out has had time to come back, and a lane stands still for three blocks at most.
const GAP_AFTER_BLOCKS: i64 = 2;
/// Nonces filled at one look: as many as a lane has in flight.
const GAP_MAX: usize = 16;

impl Lane<'_> {
    /// Fees for a transaction of an operation that has none yet. None while the market is above the ceiling: the
    /// operation then says so.
    pub async fn fees_within_ceiling(&self, row: &operation::Row) -> Result<Option<Fees>, Error> {
        let policy = self.fleet.config.fees.policy();
        match self.chain.market.fees(&self.chain.l1, &policy, Urgency::CALM).await? {
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
        match self.replanned(one).await? {
            Some(planned) => self.sign(row, &planned, intent, Pass::Resumed).await,
            None => self.send_again(row, one).await,
        }
    }

    /// The row with the fees of its next form, stored before that is signed; none where ceiling or budget forbid it.
    async fn replanned(&self, one: &transaction::Row) -> Result<Option<transaction::Row>, Error> {
        let Some(fees) = self.bumped(one).await? else {
            self.calm_down(one).await?;
            return Ok(None);
        };
        if !self.replan(one, fees).await? {
            self.calm_down(one).await?;
            return Ok(None);
        }
        Ok(Some(transaction::Row {
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

    /// Fees of a replacement, as urgent as its transaction is old; none at the ceiling.
    async fn bumped(&self, one: &transaction::Row) -> Result<Option<Fees>, Error> {
        let config = &self.fleet.config.fees;
        let policy = config.policy();
        let small = |fee: Wei| u128::try_from(fee.0).unwrap_or(u128::MAX);
        let before =
            Fees { max_fee_per_gas: small(one.max_fee), max_priority_fee_per_gas: small(one.max_priority) };
        let waited = Duration::try_from(OffsetDateTime::now_utc() - one.create_time).unwrap_or_default();
        let urgency = if one.hurried { Urgency::FULL } else { config.urgency(waited) };
        let now = self.chain.market.fees(&self.chain.l1, &policy, urgency).await?;
        // Above the ceiling the market says nothing that we could pay: the least bump is what is left.
        Ok(fees::replacement(before, now.unwrap_or(before), &policy).ok())
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
            Some(last) if last.intent == attempt::CALL => match self.replanned(one).await? {
                Some(planned) => self.sign(row, &planned, SigningIntent::Cancel, Pass::Resumed).await,
                None => {
                    let reason =
                        format!("{} cannot be cancelled: that costs more than may be paid", one.step_name);
                    self.say(row, one, State::Broadcast, &reason, reasons::FEE_ABOVE_CEILING.name).await
                }
            },
            Some(_) if one.state == transaction::SIGNED && !one.hurried => self.send_again(row, one).await,
            Some(_) => self.unstick(row, one).await,
        }
    }

    /// Keys holds another payload for this nonce: only higher fees replace it.
    pub async fn outbid(&self, one: &transaction::Row) -> Result<(), Error> {
        self.replanned(one).await?;
        Ok(())
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

    /// Spends the nonces that operations took and never used; false when there are none.
    pub async fn fill_holes(&self) -> Result<bool, Error> {
        let chain_id = self.chain.chain_id_column();
        let holes = transaction::holes(&self.fleet.db, chain_id, self.account).await?;
        for hole in &holes {
            let Some(row) = operation::of_id(&self.fleet.db, hole.operation).await? else { continue };
            if hole.cancel_reason.is_none() {
                let nonce = hole.nonce.unwrap_or_default();
                let reason = format!("nonce {nonce} was taken for {} and never used", hole.step_name);
                tracing::warn!(operation.id = %row.id, "{reason}: it is spent on nothing");
                in_transaction(&self.fleet.db, |tx| {
                    let reason = reason.clone();
                    Box::pin(async move {
                        self.fence(&*tx).await?;
                        Ok::<_, Error>(transaction::want_cancel(&*tx, hole.id, &reason, true).await?)
                    })
                })
                .await?;
                let filling = transaction::Row { cancel_reason: Some(reason), fills: true, ..hole.clone() };
                self.go_on_cancelling(&row, &filling).await?;
            } else {
                self.go_on_cancelling(&row, hole).await?;
            }
        }
        Ok(!holes.is_empty())
    }

    /// Finds nonces below ours that no row has and no block: what had them was not ours and is gone.
    pub async fn fill_gap(&self, rows: &[transaction::Row]) -> Result<(), Error> {
        let sent = rows.iter().filter(|row| row.is_in_flight() && row.broadcast_block.is_some());
        let Some(lowest) = sent.min_by_key(|row| row.nonce) else { return Ok(()) };
        let waited = self.head().await.saturating_sub(lowest.broadcast_block.unwrap_or_default());
        let Some(ours) = lowest.nonce.filter(|_| waited >= GAP_AFTER_BLOCKS) else { return Ok(()) };
        // The highest answer: an endpoint that is behind would have us fill what is spent.
        let counts = self.chain.l1.ask_each(call::nonce(self.account, BlockId::Latest)).await;
        let counts = counts.into_iter().filter_map(|(_, count)| count.ok());
        let Some(next) = counts.max().and_then(|count| i64::try_from(count).ok()) else { return Ok(()) };
        if next >= ours {
            return Ok(());
        }
        let chain_id = self.chain.chain_id_column();
        let taken = transaction::nonces_between(&self.fleet.db, chain_id, self.account, next, ours).await?;
        for nonce in (next..ours).filter(|nonce| !taken.contains(nonce)).take(GAP_MAX) {
            self.fill(rows, lowest, nonce).await?;
        }
        Ok(())
    }

    async fn fill(
        &self,
        rows: &[transaction::Row],
        blocked: &transaction::Row,
        nonce: i64,
    ) -> Result<(), Error> {
        let reason = format!("nonce {nonce} is used by nobody and holds up {}", blocked.step_name);
        tracing::error!(operation.id = %blocked.operation, "{reason}: it is spent on nothing");
        let step = rows.iter().filter(|row| row.operation == blocked.operation).map(|row| row.step).max();
        let filler = transaction::Row {
            id: Uuid::now_v7(),
            step: step.unwrap_or_default().saturating_add(1),
            step_name: "fill_nonce".to_owned(),
            nonce: Some(nonce),
            target: Addr(self.account),
            value: Wei(U256::ZERO),
            data: Vec::new(),
            gas_limit: CANCEL_GAS,
            words: "spend the nonce on nothing".to_owned(),
            state: transaction::PLANNED.to_owned(),
            hash: None,
            last_answer: String::new(),
            broadcast_block: None,
            cancel_reason: Some(reason),
            fills: true,
            hurried: false,
            create_time: OffsetDateTime::now_utc(),
            ..blocked.clone()
        };
        in_transaction(&self.fleet.db, |tx| {
            let filler = filler.clone();
            Box::pin(async move {
                self.fence(&*tx).await?;
                let row = operation::lock(&*tx, filler.operation).await?;
                if row.is_some_and(|row| !row.state().is_final()) {
                    transaction::insert(&*tx, &filler).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await
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
