//! What a lane does about nonces below others that nothing is mined with: what pools have lost is sent again, what was
//! taken and never used is spent on nothing. A nonce is never handed out again.

use std::time::Instant;

use alloy_primitives::{Bytes, U256};
use chain::rpc::{BlockId, call};
use store::column::{Addr, Wei};
use store::in_transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::form::{CANCEL_GAS, form_of};
use super::hand_out::hand_out;
use super::send::Lane;
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::fleet::Chain;

/// Blocks after which a nonce below ours that nobody uses is spent by us. A transaction of somebody else that a
/// reorganisation took out has had time to come back, and a lane stands still for three blocks at most.
const GAP_AFTER_BLOCKS: i64 = 2;
/// Nonces filled at one look: as many as a lane has in flight.
const GAP_MAX: usize = 16;

/// Whether an endpoint knows one of these forms, in its pool or its chain; none if no endpoint answers.
pub async fn is_known(chain: &Chain, attempts: &[attempt::Row]) -> Option<bool> {
    let asked: Vec<_> = attempt::hashes(attempts).into_iter().map(call::transaction).collect();
    let answers = chain.l1.ask_each(asked).await;
    let answers: Vec<_> = answers.into_iter().filter_map(|(_, answer)| answer.ok()).collect();
    (!answers.is_empty()).then(|| answers.iter().flatten().any(Option::is_some))
}

impl Lane<'_> {
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

    /// Finds nonces below ours that no pool has: of rows of ours, which are sent again, and of none, with no block either:
    /// what had those was not ours and is gone.
    pub async fn fill_gap(&self, rows: &[transaction::Row]) -> Result<(), Error> {
        self.send_lost_again(rows).await?;
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
            refused: false,
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

    /// What is below another of ours holds that one up too: where no endpoint knows it any more, a block after it was sent,
    /// its bytes are sent again at once, without waiting for the time of a replacement.
    async fn send_lost_again(&self, rows: &[transaction::Row]) -> Result<(), Error> {
        let head = self.head().await;
        let is_late = |row: &transaction::Row| row.broadcast_block.is_some_and(|at| at < head);
        if !rows.iter().any(|row| row.is_in_flight() && is_late(row)) {
            return Ok(());
        }
        let chain_id = self.chain.chain_id_column();
        let all = transaction::in_flight(&self.fleet.db, chain_id, self.account).await?;
        let Some((_, below)) = all.split_last() else { return Ok(()) };
        for row in below.iter().filter(|row| is_late(row)) {
            let attempts = attempt::of(&self.fleet.db, row.id).await?;
            if is_known(self.chain, &attempts).await != Some(false) {
                continue;
            }
            let reason = format!("no endpoint knew {} any more, and it held up others", form_of(row));
            if self.hand_out_again(row, &attempts).await? {
                tracing::info!(operation.id = %row.operation, "{reason}: sent again");
                let managed = rows.iter().any(|one| one.id == row.id);
                if managed && !row.fills {
                    let reason = format!("{reason}: sent again with nonce {}", row.nonce.unwrap_or_default());
                    self.enter(row.operation, State::Broadcast, &reason, "").await?;
                }
            }
        }
        Ok(())
    }

    /// An endpoint misses a nonce below this one: those of ours are sent again at once, whoever signed them.
    pub async fn send_earlier_again(&self, later: &transaction::Row) -> Result<(), Error> {
        let chain_id = self.chain.chain_id_column();
        for row in transaction::in_flight(&self.fleet.db, chain_id, self.account).await? {
            if row.nonce < later.nonce {
                let attempts = attempt::of(&self.fleet.db, row.id).await?;
                self.hand_out_again(&row, &attempts).await?;
            }
        }
        Ok(())
    }

    /// Hands the newest signed form out once more, if there is one and it may be; false if not. Nothing is stored: when it
    /// was first sent still counts for its replacement.
    async fn hand_out_again(&self, row: &transaction::Row, attempts: &[attempt::Row]) -> Result<bool, Error> {
        let Some(raw) = attempts.iter().rev().find_map(|form| form.raw.clone()) else { return Ok(false) };
        let decided = Instant::now();
        if !self.may_send(row.operation).await? {
            return Ok(false);
        }
        Ok(hand_out(self.fleet, self.chain, &Bytes::from(raw), decided).await.is_some())
    }
}
