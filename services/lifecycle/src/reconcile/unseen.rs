//! What is in no block: taken out by a reorganisation, lost by the pools, spent by somebody else, or known to nobody but
//! a wallet.

use std::time::Instant;

use alloy_primitives::Bytes;
use chain::broadcast::Remedy;
use chain::rpc::{BlockId, call};

use super::confirm::Tip;
use super::gap::is_known;
use super::hand_out::{Outcome, hand_out};
use super::outcome::{Change, Confirm, Entered};
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;

/// Blocks after which an operation says that no endpoint knows what its wallet signed, and may be cancelled by hand: five
/// minutes of L1. Pools pass on within seconds, and what none has by then needs its wallet.
const UNKNOWN_AFTER_BLOCKS: u64 = 25;

impl Confirm<'_> {
    /// The receipt is gone. Only another block at its height proves a reorganisation: a node may also be behind.
    pub async fn maybe_reorganised(
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

    /// Hands the newest signed form out again and follows it from here, if we have its bytes; only its wallet can otherwise.
    pub async fn send_again(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        tip: Tip,
        reason: &str,
    ) -> Result<(), Error> {
        // Its lane cancels what is not wanted any more; the call is not sent once more before that.
        let is_cancelled = attempts.iter().any(|form| form.intent == attempt::CANCEL);
        if row.cancel_reason.is_some() && !is_cancelled {
            let reason = format!("{reason}; it is being cancelled");
            let entered = Entered { state: State::Broadcast, reason, code: "" };
            return self.store(row, Change::Unsent, Some(entered)).await;
        }
        let (answer, reason) = match self.resend(row, attempts, reason, None).await? {
            Resent::NotNow => return Ok(()),
            Resent::Said(outcome) => (outcome.answer, format!("{reason}; sent again")),
            Resent::NoBytes => (
                "only the wallet has the signed bytes".to_owned(),
                format!("{reason}; only the wallet has its bytes, and can send it again"),
            ),
        };
        let head = i64::try_from(tip.head).unwrap_or(i64::MAX);
        let entered = Entered { state: State::Broadcast, reason, code: "" };
        self.store(row, Change::Sent { answer, head }, Some(entered)).await
    }

    /// While the network is held it is kept for afterwards, and says so.
    async fn resend(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        reason: &str,
        seen: Option<State>,
    ) -> Result<Resent, Error> {
        let decided = Instant::now();
        if let Some(hold) = self.hold().await? {
            let reason = format!("{reason}; {}", hold.words());
            let code = api::reasons::NETWORK_HELD.name;
            let entered = Entered { state: State::Broadcast, reason, code };
            self.store_seen(row, Change::Unsent, Some(entered), seen).await?;
            return Ok(Resent::NotNow);
        }
        let raw = attempts.iter().rev().find_map(|attempt| attempt.raw.clone());
        let Some(raw) = raw else { return Ok(Resent::NoBytes) };
        let outcome = hand_out(self.fleet, self.chain, &Bytes::from(raw), decided).await;
        Ok(outcome.map_or(Resent::NotNow, Resent::Said))
    }

    /// In no block: dropped from the pools (then the same bytes again), or its nonce spent by somebody else.
    pub async fn not_mined(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        tip: Tip,
    ) -> Result<(), Error> {
        let Some(nonce) = row.nonce.and_then(|nonce| u64::try_from(nonce).ok()) else { return Ok(()) };
        let Some(stored) = operation::of_id(&self.fleet.db, row.operation).await? else { return Ok(()) };
        if row.state == transaction::FOREIGN {
            return if stored.is_managed() {
                self.still_foreign(row, attempts, nonce, tip).await
            } else {
                self.still_replaced(row, attempts, &stored, nonce, tip).await
            };
        }
        if !stored.is_managed() && self.wallet_spent(row, &stored, nonce, tip).await? {
            return Ok(());
        }
        let has_ended = stored.state().is_final();
        // Deep enough that the other transaction will stay.
        if self.is_spent(row.account.0, nonce, tip.head.saturating_sub(self.chain.confirmations)).await? {
            return self.foreign(row, nonce, tip, has_ended).await;
        }
        // Managed ones are the business of their lane, which may also raise the fees; what was cancelled by hand is only
        // watched.
        if (stored.is_managed() && !has_ended) || stored.state() == State::Cancelled {
            return Ok(());
        }
        if row.state == transaction::SIGNED {
            return self.send_again(row, attempts, tip, &format!("{} is in no block", row.step_name)).await;
        }
        let sent_at = row.broadcast_block.and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        let waited = tip.head.saturating_sub(sent_at);
        if waited >= self.fleet.config.replace_after_blocks {
            return self.look_for(row, attempts, tip, waited, stored.state()).await;
        }
        Ok(())
    }

    /// Whether any endpoint has it still. Where none has, its bytes are sent again; where we do not have them, or nobody
    /// takes them, the operation says so after a while.
    async fn look_for(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        tip: Tip,
        waited: u64,
        seen: State,
    ) -> Result<(), Error> {
        let head = i64::try_from(tip.head).unwrap_or(i64::MAX);
        let step = &row.step_name;
        match is_known(self.chain, attempts).await {
            Some(false) => {}
            Some(true) => {
                let answer = "an endpoint has it".to_owned();
                return self.store_seen(row, Change::Sent { answer, head }, None, Some(seen)).await;
            }
            None => return Ok(()),
        }
        let reason = format!("{step} is in no block, and no endpoint has it");
        let who = match self.resend(row, attempts, &reason, Some(seen)).await? {
            Resent::NotNow => return Ok(()),
            Resent::Said(Outcome { verdict, answer, .. }) if verdict.remedy() == Remedy::Watch => {
                let reason = format!("{reason}; sent again");
                let entered = Entered { state: State::Broadcast, reason, code: "" };
                return self.store_seen(row, Change::Sent { answer, head }, Some(entered), Some(seen)).await;
            }
            Resent::Said(Outcome { answer, .. }) => format!("nobody takes it ({answer})"),
            Resent::NoBytes => "only the wallet has its bytes, and can send it again".to_owned(),
        };
        let (reason, code) = if waited < UNKNOWN_AFTER_BLOCKS {
            (format!("{reason}; {who}"), "")
        } else {
            let (nonce, account) = (row.nonce.unwrap_or_default(), row.account.0);
            let words = format!(
                "{reason} for {UNKNOWN_AFTER_BLOCKS} blocks and more; {who}. It can be cancelled by hand, and could still \
                 be mined until nonce {nonce} of {account} is spent by something else"
            );
            (words, api::reasons::TRANSACTION_NOT_SEEN.name)
        };
        let entered = Entered { state: State::Broadcast, reason, code };
        self.store_seen(row, Change::None, Some(entered), Some(seen)).await
    }
}

/// What became of bytes that were to be sent again.
#[derive(Debug)]
enum Resent {
    /// The network is held, or our lease may be over.
    NotNow,
    /// The endpoints answered.
    Said(Outcome),
    /// We do not have them.
    NoBytes,
}
