//! Follows every signed transaction to its final block: receipts count only on canonical blocks, success and failure
//! both wait for the network's confirmations, what a reorganisation took away is sent again with the same bytes, and
//! a nonce that somebody else spent is reported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::B256;
use chain::rpc::{BlockId, Header, Receipt, call};
use domain::amount::Eth;
use futures::future::join_all;
use runtime::shutdown::Shutdown;
use store::column::Hash;
use store::lease::Lease;
use uuid::Uuid;

use super::lease::until_stopped;
use super::outcome::{Change, Confirm, Entered, lease_name};
use super::receipt::mined_of;
use crate::db::operation::State;
use crate::db::{attempt, cursor, operation, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::is_preparation;
use crate::operations::{postcondition, subject};

/// Two epochs: where a node does not say what is final, this is when L1 finalizes as long as it is well.
const FINAL_DEPTH: u64 = 64;

/// Operations looked at together: fewer than there are connections to the database and to an endpoint.
const SIDE_BY_SIDE: usize = 8;

/// What a look found out about the chain before it looks at transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub head: u64,
    pub finalized: u64,
    /// L1 block up to which events are applied.
    pub applied: i64,
}

/// What the last look found.
#[derive(Debug)]
struct Looked {
    at: Instant,
    tip: Tip,
    rows: Vec<(Uuid, String, Option<Hash>)>,
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
    let mut last = None;
    loop {
        if let Err(error) = confirm.look(&mut last).await {
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
    /// Looks at everything, unless rows and chain are as at the last look a moment ago: wake-ups come for every change of
    /// every operation, receipts only with blocks.
    async fn look(&self, last: &mut Option<Looked>) -> Result<(), Error> {
        self.expire().await?;
        let rows =
            transaction::followed(&self.fleet.db, &self.chain.name, self.chain.chain_id_column()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let tip = self.tip().await?;
        let seen: Vec<_> = rows.iter().map(|row| (row.id, row.state.clone(), row.hash)).collect();
        let is_same = |last: &Looked| last.tip == tip && last.rows == seen;
        if last.as_ref().is_some_and(|last| last.at.elapsed() < self.fleet.look_every() && is_same(last)) {
            return Ok(());
        }
        *last = Some(Looked { at: Instant::now(), tip, rows: seen });
        let mut operations: BTreeMap<Uuid, Vec<transaction::Row>> = BTreeMap::new();
        for row in rows {
            operations.entry(row.operation).or_default().push(row);
        }
        let operations: Vec<_> = operations.into_values().collect();
        for some in operations.chunks(SIDE_BY_SIDE) {
            let looks: Vec<_> = some.iter().map(|rows| self.transactions(rows, tip)).collect();
            for looked in join_all(looks).await {
                looked?;
            }
        }
        Ok(())
    }

    /// Those of one operation, in order. Fails only when the lease is lost: others are looked at all the same.
    async fn transactions(&self, rows: &[transaction::Row], tip: Tip) -> Result<(), Error> {
        for row in rows {
            match self.transaction(row, tip).await {
                Err(error) if error.is_fenced() => return Err(error),
                Err(error) => {
                    let report = runtime::report(&error);
                    tracing::warn!("following a transaction of {}: {report}", row.operation);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn tip(&self) -> Result<Tip, Error> {
        let both = (call::header(BlockId::Latest), call::header(BlockId::Finalized).attempt());
        let (latest, finalized) = match self.chain.l1.ask(both).await {
            Ok((latest, finalized)) => (latest, finalized.ok().flatten()),
            // "finalized block not found", of nodes that know no finality: no reason to see nothing confirmed.
            Err(error) if error.node().is_some() => {
                (self.chain.l1.ask(call::header(BlockId::Latest)).await?, None)
            }
            Err(error) => return Err(error.into()),
        };
        let head = latest.ok_or(Error::Malformed { what: "the newest block of an L1 endpoint" })?.number;
        let place = cursor::of(&self.fleet.db, &self.chain.name).await?;
        Ok(Tip {
            head,
            finalized: final_height(head, finalized.map(|header| header.number)),
            applied: place.and_then(|row| row.block_number).unwrap_or(-1),
        })
    }

    async fn transaction(&self, row: &transaction::Row, tip: Tip) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, row.id).await?;
        let found = self.receipt(&attempt::hashes(&attempts)).await?;
        match found {
            Some((receipt, header)) => {
                let cancel = attempts
                    .iter()
                    .any(|form| form.hash.0 == receipt.transaction_hash && form.intent == attempt::CANCEL);
                let intent = if cancel { attempt::CANCEL } else { attempt::CALL };
                self.mined(row, &receipt, &header, tip, intent).await
            }
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
        intent: &'static str,
    ) -> Result<(), Error> {
        let is_new = row.receipt_hash.is_none_or(|hash| hash.0 != receipt.block_hash)
            || matches!(row.state.as_str(), transaction::SIGNED | transaction::BROADCAST);
        if is_new {
            self.store_receipt(row, receipt, header, intent).await?;
        }
        let on_top = tip.head.saturating_sub(receipt.block_number);
        if on_top < self.chain.confirmations {
            return Ok(());
        }
        let finalized = receipt.block_number <= tip.finalized;
        let settled_as = [transaction::CONFIRMED, transaction::REVERTED, transaction::CANCELLED];
        let is_settled = !is_new && settled_as.contains(&row.state.as_str());
        if intent == attempt::CANCEL {
            return if is_settled && !finalized {
                Ok(())
            } else {
                self.cancelled(row, receipt, finalized).await
            };
        }
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
        intent: &'static str,
    ) -> Result<(), Error> {
        let mined = mined_of(row, receipt, header, intent)?;
        // Calls without a nonce are still to come from the wallet.
        let all = transaction::of_operation(&self.fleet.db, row.operation).await?;
        let waits_for_wallet = all.iter().any(|one| one.state == transaction::PLANNED && one.nonce.is_none());
        let (state, reason) = match (receipt.succeeded(), waits_for_wallet) {
            _ if intent == attempt::CANCEL => (
                State::Mined,
                format!(
                    "the cancel of {} is in block {}, waits for confirmations",
                    row.step_name, mined.block
                ),
            ),
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

    /// Its cancel was mined in its place: the call can never be.
    async fn cancelled(
        &self,
        row: &transaction::Row,
        receipt: &Receipt,
        finalized: bool,
    ) -> Result<(), Error> {
        let why = row.cancel_reason.as_deref().unwrap_or("cancelled");
        let reason = format!(
            "{why}: the cancel of {} was mined in block {}, {} never will be",
            row.step_name, receipt.block_number, row.step_name
        );
        // Nobody wanted the cancel of what the endpoints refused: that is no cancelled operation but a failed one.
        let (state, code) = if row.refused {
            (State::Failed, api::reasons::TRANSACTION_REFUSED.name)
        } else {
            (State::Cancelled, "")
        };
        let entered = Entered { state, reason, code };
        self.store(row, settled(transaction::CANCELLED, finalized), Some(entered)).await
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
        let effect = if tip.applied < block { Effect::NotYet } else { self.effect(row, receipt).await? };
        match effect {
            Effect::Seen => {}
            Effect::Nothing if finalized => return self.without_effect(row, receipt).await,
            Effect::Nothing => {
                let reason =
                    format!("{} did nothing in block {block}; fails when it is final", row.step_name);
                return self.waits(row, reason).await;
            }
            Effect::NotYet => {
                let reason =
                    format!("{} is confirmed, waits for the indexer to see its effect", row.step_name);
                return self.waits(row, reason).await;
            }
        }
        let late = row.cancel_reason.as_ref().map_or("", |_| "; it was mined before its cancel could be");
        let reason =
            format!("{} is confirmed in block {block} and its effect is indexed{late}", row.step_name);
        self.store(row, change, Some(Entered { state: State::Confirmed, reason, code: "" })).await?;
        self.fleet.metrics.operation(&self.chain.name, &row.step_name, State::Confirmed.name());
        Ok(())
    }

    async fn effect(&self, row: &transaction::Row, receipt: &Receipt) -> Result<Effect, Error> {
        let Some(stored) = operation::of_id(&self.fleet.db, row.operation).await? else {
            return Ok(Effect::NotYet);
        };
        let (asked, about) = subject::stored(self.fleet, &stored).await?;
        let events = self.fleet.neighbours.events_of(&self.chain.name, receipt.transaction_hash).await?;
        Ok(if postcondition::holds(&asked, about.seq_id, &events) {
            Effect::Seen
        } else if receipt.logs.is_empty() {
            // Each of the nine emits something.
            Effect::Nothing
        } else {
            Effect::NotYet
        })
    }

    /// Mined for good, and not what was asked for: a claim whose reward had left by then succeeds and does nothing, and the
    /// contract keeps the ETH (P 1.10).
    async fn without_effect(&self, row: &transaction::Row, receipt: &Receipt) -> Result<(), Error> {
        let paid = if row.value.0.is_zero() {
            String::new()
        } else {
            format!("; the {} ETH that it carried are with the contract", Eth(row.value.0))
        };
        let reason = format!(
            "{} was mined in block {} without the effect that was asked for{paid}",
            row.step_name, receipt.block_number
        );
        tracing::error!(operation.id = %row.operation, "operation {} fails: {reason}", row.operation);
        let entered = Entered { state: State::Failed, reason, code: api::reasons::NO_EFFECT.name };
        self.store(row, settled(transaction::CONFIRMED, true), Some(entered)).await?;
        self.fleet.metrics.operation(&self.chain.name, &row.step_name, State::Failed.name());
        Ok(())
    }
}

/// What became of a call that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The indexer has the events that were asked for.
    Seen,
    /// It may still see them.
    NotYet,
    /// There are no events at all.
    Nothing,
}

/// The height that stays: what the node says, or a depth where it says nothing.
fn final_height(head: u64, told: Option<u64>) -> u64 {
    told.unwrap_or_else(|| head.saturating_sub(FINAL_DEPTH))
}

pub fn settled(state: &'static str, finalized: bool) -> Change {
    Change::Settled { state, finalized }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_does_not_say_what_is_final_is_believed_by_depth() {
        assert_eq!(final_height(1_000, Some(990)), 990);
        assert_eq!(final_height(1_000, None), 936);
        assert_eq!(final_height(10, None), 0);
    }
}
