//! Follows every signed transaction to its final block: receipts count only on canonical blocks, success and failure
//! both wait for the network's confirmations, what a reorganisation took away is sent again with the same bytes, and
//! a nonce that somebody else spent is reported.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use chain::rpc::{BlockId, CallRequest, Header, Receipt, call};
use runtime::shutdown::Shutdown;
use store::lease::Lease;
use time::OffsetDateTime;

use super::lease::until_stopped;
use super::outcome::{Change, Confirm, Entered, lease_name};
use super::send::hand_out;
use crate::db::operation::State;
use crate::db::transaction::Mined;
use crate::db::{attempt, cursor, operation, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::{explain, is_preparation};
use crate::operations::{postcondition, subject};

/// What a look found out about the chain before it looks at transactions.
#[derive(Debug, Clone, Copy)]
pub struct Tip {
    pub head: u64,
    finalized: u64,
    /// L1 block up to which events are applied.
    applied: i64,
}

/// Looks at every followed transaction of a network until shutdown.
pub async fn run(fleet: Arc<Fleet>, chain: Arc<Chain>, shutdown: Shutdown) {
    let claim = fleet.claim(lease_name(&chain.name));
    while !shutdown.is_stopped() {
        let work = |lease| looks(&fleet, &chain, lease, &shutdown);
        if let Err(error) = until_stopped(&fleet.db, &claim, &shutdown, work).await {
            tracing::warn!("no lease to confirm on {}: {}", chain.name, runtime::report(&error));
            tokio::select! {
                () = tokio::time::sleep(fleet.look_every()) => {}
                () = shutdown.stopped() => return,
            }
        }
    }
}

async fn looks(fleet: &Fleet, chain: &Chain, lease: Lease, shutdown: &Shutdown) {
    let confirm = Confirm { fleet, chain, lease };
    let mut work = fleet.work.subscribe();
    loop {
        if let Err(error) = confirm.look().await {
            if error.is_fenced() {
                return;
            }
            tracing::warn!("confirming on {} waits: {}", chain.name, runtime::report(&error));
        }
        tokio::select! {
            _ = work.changed() => {}
            () = tokio::time::sleep(fleet.look_every()) => {}
            () = shutdown.stopped() => return,
        }
    }
}

impl Confirm<'_> {
    async fn look(&self) -> Result<(), Error> {
        self.expire().await?;
        let rows =
            transaction::followed(&self.fleet.db, &self.chain.name, self.chain.chain_id_column()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let tip = self.tip().await?;
        for row in rows {
            if let Err(error) = self.transaction(&row, tip).await {
                if error.is_fenced() {
                    return Err(error);
                }
                tracing::warn!("following a transaction of {}: {}", row.operation, runtime::report(&error));
            }
        }
        Ok(())
    }

    async fn tip(&self) -> Result<Tip, Error> {
        let both = (call::header(BlockId::Latest), call::header(BlockId::Finalized).attempt());
        let (latest, finalized) = self.chain.l1.ask(both).await?;
        let head = latest.ok_or(Error::Malformed { what: "the newest block of an L1 endpoint" })?.number;
        let place = cursor::of(&self.fleet.db, &self.chain.name).await?;
        Ok(Tip {
            head,
            finalized: finalized.ok().flatten().map_or(0, |header| header.number),
            applied: place.and_then(|row| row.block_number).unwrap_or(-1),
        })
    }

    async fn transaction(&self, row: &transaction::Row, tip: Tip) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, row.id).await?;
        let found = self.receipt(&attempt::hashes(&attempts)).await?;
        match found {
            Some((receipt, header)) => self.mined(row, &receipt, &header, tip).await,
            None if row.receipt_block.is_some() => self.maybe_reorganised(row, &attempts, tip).await,
            None => self.not_mined(row, &attempts, tip).await,
        }
    }

    /// The receipt of one of these hashes on the canonical chain, with its block.
    async fn receipt(&self, hashes: &[B256]) -> Result<Option<(Receipt, Header)>, Error> {
        let asked: Vec<_> = hashes.iter().map(|hash| call::receipt(*hash)).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        for receipt in self.chain.l1.ask(asked).await?.into_iter().flatten() {
            let header = self.chain.l1.ask(call::header(BlockId::Number(receipt.block_number))).await?;
            if let Some(header) = header.filter(|header| header.hash == receipt.block_hash) {
                return Ok(Some((receipt, header)));
            }
        }
        Ok(None)
    }

    async fn mined(
        &self,
        row: &transaction::Row,
        receipt: &Receipt,
        header: &Header,
        tip: Tip,
    ) -> Result<(), Error> {
        let is_new = row.receipt_hash.is_none_or(|hash| hash.0 != receipt.block_hash)
            || matches!(row.state.as_str(), transaction::SIGNED | transaction::BROADCAST);
        if is_new {
            self.store_receipt(row, receipt, header).await?;
        }
        let on_top = tip.head.saturating_sub(receipt.block_number);
        if on_top < self.chain.confirmations {
            return Ok(());
        }
        let finalized = receipt.block_number <= tip.finalized;
        let is_settled =
            !is_new && matches!(row.state.as_str(), transaction::CONFIRMED | transaction::REVERTED);
        match (receipt.succeeded(), is_settled) {
            (_, true) if !finalized => Ok(()),
            (true, true) => self.store(row, settled(transaction::CONFIRMED, true), None).await,
            (false, true) => self.store(row, settled(transaction::REVERTED, true), None).await,
            (true, false) => self.confirmed(row, receipt, tip, finalized).await,
            (false, false) => self.reverted(row, receipt, finalized).await,
        }
    }

    async fn store_receipt(
        &self,
        row: &transaction::Row,
        receipt: &Receipt,
        header: &Header,
    ) -> Result<(), Error> {
        let mined = mined_of(receipt, header)?;
        // Calls without a nonce are still to come from the wallet.
        let all = transaction::of_operation(&self.fleet.db, row.operation).await?;
        let waits_for_wallet = all.iter().any(|one| one.state == transaction::PLANNED && one.nonce.is_none());
        let (state, reason) = match (receipt.succeeded(), waits_for_wallet) {
            (true, true) => (
                State::Queued,
                format!(
                    "{} is in block {}; waits for the wallet to send the next call",
                    row.step_name, mined.block
                ),
            ),
            (true, false) => (
                State::Mined,
                format!("{} is in block {}, waits for confirmations", row.step_name, mined.block),
            ),
            (false, _) => (
                State::Mined,
                format!("{} reverted in block {}, waits until that is settled", row.step_name, mined.block),
            ),
        };
        self.store(row, Change::Mined(mined), Some(Entered { state, reason, code: "" })).await?;
        // The next step of the operation may go.
        self.fleet.wake();
        Ok(())
    }

    /// Deep enough. A preparation is done with that; the operation itself also wants to see its effect indexed.
    async fn confirmed(
        &self,
        row: &transaction::Row,
        receipt: &Receipt,
        tip: Tip,
        finalized: bool,
    ) -> Result<(), Error> {
        let change = settled(transaction::CONFIRMED, finalized);
        if is_preparation(&row.step_name) {
            return self.store(row, change, None).await;
        }
        let block = i64::try_from(receipt.block_number).unwrap_or(i64::MAX);
        if tip.applied < block || !self.effect_is_indexed(row, receipt.transaction_hash).await? {
            let reason = format!("{} is confirmed, waits for the indexer to see its effect", row.step_name);
            return self.waits(row, reason).await;
        }
        let reason = format!("{} is confirmed in block {block} and its effect is indexed", row.step_name);
        self.store(row, change, Some(Entered { state: State::Confirmed, reason, code: "" })).await?;
        self.fleet.metrics.operation(&self.chain.name, &row.step_name, State::Confirmed.name());
        Ok(())
    }

    async fn effect_is_indexed(&self, row: &transaction::Row, hash: B256) -> Result<bool, Error> {
        let Some(stored) = operation::of_id(&self.fleet.db, row.operation).await? else { return Ok(false) };
        let (asked, _) = subject::stored(self.fleet, &stored).await?;
        let events = self.fleet.neighbours.events_of(&self.chain.name, hash).await?;
        Ok(postcondition::holds(&asked, &events))
    }

    async fn reverted(
        &self,
        row: &transaction::Row,
        receipt: &Receipt,
        finalized: bool,
    ) -> Result<(), Error> {
        let (code, words) = self.why_reverted(row, receipt).await;
        let reason = format!("{} reverted in block {}: {words}", row.step_name, receipt.block_number);
        let entered = Entered { state: State::Failed, reason: reason.clone(), code };
        self.store(row, settled(transaction::REVERTED, finalized), Some(entered)).await?;
        tracing::warn!(operation.id = %row.operation, "operation {} failed: {reason}", row.operation);
        self.fleet.metrics.operation(&self.chain.name, &row.step_name, State::Failed.name());
        Ok(())
    }

    /// A receipt has no reason, so the call is made again on the state before its block. That is close, not exact:
    /// other transactions of the block may have come first.
    async fn why_reverted(&self, row: &transaction::Row, receipt: &Receipt) -> (&'static str, String) {
        let request = CallRequest {
            from: Some(row.account.0),
            to: row.target.0,
            value: row.value.0,
            input: row.data.clone().into(),
            gas: None,
        };
        let before = BlockId::Number(receipt.block_number.saturating_sub(1));
        match self.chain.l1.ask(call::call(&request, before).attempt()).await {
            Ok(Err(refused)) => match chain::revert::of_node(&refused) {
                Some(revert) => explain(&row.step_name, &revert),
                None => ("CALL_REVERTED", "its reason could not be read".to_owned()),
            },
            Ok(Ok(_)) => ("CALL_REVERTED", "the state changed in the same block".to_owned()),
            Err(_) => ("CALL_REVERTED", "its reason could not be read".to_owned()),
        }
    }

    /// The receipt is gone. Only another block at its height proves a reorganisation: a node may also be behind.
    async fn maybe_reorganised(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        tip: Tip,
    ) -> Result<(), Error> {
        let (Some(block), Some(hash)) = (row.receipt_block, row.receipt_hash) else { return Ok(()) };
        let height = u64::try_from(block).unwrap_or_default();
        let header = self.chain.l1.ask(call::header(BlockId::Number(height))).await?;
        let gone = match header {
            Some(header) => header.hash != hash.0,
            // The chain may have become shorter; a node that is behind says the same, but its head tells.
            None => tip.head < height && self.all_endpoints_are_below(height),
        };
        if !gone {
            return Ok(());
        }
        tracing::warn!(operation.id = %row.operation, "block {block} with {} is no longer canonical", row.step_name);
        let reason = format!("a reorganisation took {} out of block {block}", row.step_name);
        self.send_again(row, attempts, tip, &reason).await
    }

    fn all_endpoints_are_below(&self, height: u64) -> bool {
        self.chain.l1.status().iter().all(|endpoint| endpoint.head.is_none_or(|head| head < height))
    }

    async fn send_again(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        tip: Tip,
        reason: &str,
    ) -> Result<(), Error> {
        if let Some(hold) = self.hold().await? {
            let reason = format!("{reason}; {}", hold.words());
            let code = api::reasons::NETWORK_HELD.name;
            let entered = Entered { state: State::Broadcast, reason, code };
            return self.store(row, Change::Unsent, Some(entered)).await;
        }
        let raw = attempts.iter().rev().find_map(|attempt| attempt.raw.clone());
        let answer = match raw {
            Some(raw) => hand_out(self.fleet, self.chain, &Bytes::from(raw)).await.answer,
            None => "only the wallet has the signed bytes".to_owned(),
        };
        let head = i64::try_from(tip.head).unwrap_or(i64::MAX);
        let entered = Entered { state: State::Broadcast, reason: format!("{reason}; sent again"), code: "" };
        self.store(row, Change::Sent { answer, head }, Some(entered)).await
    }

    /// In no block: dropped from the pools (then the same bytes again), or its nonce spent by somebody else.
    async fn not_mined(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        tip: Tip,
    ) -> Result<(), Error> {
        let Some(nonce) = row.nonce.and_then(|nonce| u64::try_from(nonce).ok()) else { return Ok(()) };
        let stored = operation::of_id(&self.fleet.db, row.operation).await?;
        if stored.as_ref().is_some_and(|one| !one.is_managed()) && self.wallet_spent(row, nonce, tip).await? {
            return Ok(());
        }
        // Deep enough that the other transaction will stay.
        let settled = BlockId::Number(tip.head.saturating_sub(self.chain.confirmations));
        let spent = self.chain.l1.ask(call::nonce(row.account.0, settled)).await?;
        if spent > nonce {
            return self.foreign(row, nonce).await;
        }
        // Managed ones are the business of their lane, which may also raise the fees.
        let waited =
            tip.head.saturating_sub(row.broadcast_block.and_then(|at| u64::try_from(at).ok()).unwrap_or(0));
        let is_wallets = stored.as_ref().is_some_and(|one| !one.is_managed() || one.state().is_final());
        if is_wallets
            && (row.state == transaction::SIGNED || waited >= self.fleet.config.replace_after_blocks)
        {
            return self.send_again(row, attempts, tip, &format!("{} is in no block", row.step_name)).await;
        }
        Ok(())
    }

    async fn foreign(&self, row: &transaction::Row, nonce: u64) -> Result<(), Error> {
        let reason = format!(
            "nonce {nonce} of {} was spent by a transaction that is not ours; {} was never mined",
            row.account.0, row.step_name
        );
        tracing::error!(operation.id = %row.operation, "{reason}");
        self.fleet.metrics.foreign_nonce(&self.chain.name);
        let entered = Entered { state: State::Failed, reason, code: api::reasons::NONCE_FOREIGN.name };
        self.store(row, settled(transaction::FOREIGN, true), Some(entered)).await
    }
}

fn settled(state: &'static str, finalized: bool) -> Change {
    Change::Settled { state, finalized }
}

fn mined_of(receipt: &Receipt, header: &Header) -> Result<Mined, Error> {
    let malformed = || Error::Malformed { what: "the block of a receipt" };
    Ok(Mined {
        hash: receipt.transaction_hash,
        block: i64::try_from(receipt.block_number).map_err(|_| malformed())?,
        block_hash: receipt.block_hash,
        block_time: i64::try_from(header.timestamp)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(malformed)?,
        succeeded: receipt.succeeded(),
    })
}
