//! What a wallet did instead: its users speed up, cancel and replace on their own, so that a nonce of theirs may be spent by
//! a transaction nobody told us of. It is looked for; if it does the same call it is followed, otherwise the operation
//! says what happened.

use chain::rpc::{BlockId, call};
use store::in_transaction;
use store::lease::fence;

use super::confirm::{Tip, settled};
use super::foreign::spender;
use super::outcome::{Change, Confirm, Entered, lease_name};
use crate::db::operation::State;
use crate::db::{SCHEMA, attempt, operation, transaction};
use crate::error::Error;
use crate::signed::{self, Signed};

/// Why operations end because of what their wallet, or somebody with its key, has done.
const BY_WALLETS: [&str; 3] = [
    api::reasons::WALLET_CANCELLED.name,
    api::reasons::WALLET_REPLACED.name,
    api::reasons::NONCE_FOREIGN.name,
];

impl Confirm<'_> {
    /// Whether the nonce of a wallet's call was spent by another transaction, and that was dealt with. Followed until its
    /// block is final: a deeper reorganisation may bring ours back.
    pub async fn wallet_spent(
        &self,
        row: &transaction::Row,
        stored: &operation::Row,
        nonce: u64,
        tip: Tip,
    ) -> Result<bool, Error> {
        let count = self.chain.l1.ask(call::nonce(row.account.0, BlockId::Latest)).await?;
        if count <= nonce {
            return Ok(false);
        }
        let found = spender(self.chain, row.account.0, nonce, tip.head).await?;
        let Some((block, other)) = found else { return Ok(false) };
        let found = Signed::of_chain(other, self.chain.chain_id);
        if row.hash.is_some_and(|hash| hash.0 == found.hash) {
            // Ours: its receipt comes with the next look.
            return Ok(true);
        }
        if signed::difference(&found, row).is_none() {
            self.follow_instead(row, &found, block).await?;
            return Ok(true);
        }
        // What was cancelled by hand says what it said; what ended by the wallet's doing is told anew if that has changed.
        let is_told = stored.state().is_final() && !BY_WALLETS.contains(&stored.reason_code.as_str());
        let (state, code, did) = judged(&found);
        let what = format!("the wallet replaced {} by {}, which {did}", row.step_name, found.hash);
        if tip.head.saturating_sub(block) < self.chain.confirmations {
            let reason = format!("{what}; waits until that is settled");
            let entered = Entered { state: State::Broadcast, reason, code };
            let entered = Some(entered).filter(|_| !stored.state().is_final());
            self.store_seen(row, Change::None, entered, Some(stored.state())).await?;
            return Ok(true);
        }
        let finalized = block <= tip.finalized;
        if row.state != transaction::FOREIGN {
            tracing::warn!(operation.id = %row.operation, "operation {} ends: {what}", row.operation);
            self.fleet.metrics.operation(&self.chain.name, &row.step_name, state.name());
        }
        let entered = Entered { state, reason: what, code };
        let change = Change::Settled { state: transaction::FOREIGN, finalized };
        self.store_seen(row, change, Some(entered).filter(|_| !is_told), Some(stored.state())).await?;
        Ok(true)
    }

    /// A nonce that a wallet has spent on something else: for good once that is final, and open again where a
    /// reorganisation took it out. What it is spent on may be another transaction by then.
    pub async fn still_replaced(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        stored: &operation::Row,
        nonce: u64,
        tip: Tip,
    ) -> Result<(), Error> {
        let account = row.account.0;
        if !self.is_spent(account, nonce, tip.head).await? {
            let reason =
                format!("a reorganisation took out what the wallet had replaced {} by", row.step_name);
            return self.send_again(row, attempts, tip, &reason).await;
        }
        let finalized = self.chain.l1.ask(call::nonce(account, BlockId::Number(tip.finalized)).attempt());
        // A node that no longer has that state forgets only what is older than final.
        if finalized.await?.map_or(true, |count| count > nonce)
            && !self.wallet_spent(row, stored, nonce, tip).await?
        {
            self.store(row, settled(transaction::FOREIGN, true), None).await?;
        }
        Ok(())
    }

    async fn follow_instead(&self, row: &transaction::Row, found: &Signed, block: u64) -> Result<(), Error> {
        let form = attempt::Row {
            transaction: row.id,
            hash: store::column::Hash(found.hash),
            raw: None,
            max_fee: row.max_fee,
            max_priority: row.max_priority,
            intent: attempt::CALL.to_owned(),
        };
        let reason = format!("the wallet replaced {} by {}, which does the same", row.step_name, found.hash);
        in_transaction(&self.fleet.db, |tx| {
            let (form, reason) = (form.clone(), reason.clone());
            Box::pin(async move {
                fence(&*tx, SCHEMA, &lease_name(&self.chain.name), self.lease.epoch).await?;
                attempt::put(&*tx, &form).await?;
                transaction::signed(&*tx, row, form.hash.0).await?;
                let head = i64::try_from(block).unwrap_or(i64::MAX);
                transaction::sent(&*tx, row.id, "found on chain", head).await?;
                let is_open =
                    operation::lock(&*tx, row.operation).await?.is_some_and(|row| !row.state().is_final());
                if is_open {
                    operation::enter(&*tx, row.operation, State::Broadcast, &reason, "").await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
        self.fleet.wake();
        Ok(())
    }
}

/// What another transaction means for the operation.
fn judged(found: &Signed) -> (State, &'static str, String) {
    if found.target == found.sender && found.value.is_zero() && found.data.is_empty() {
        return (State::Cancelled, api::reasons::WALLET_CANCELLED.name, "does nothing".to_owned());
    }
    (State::Failed, api::reasons::WALLET_REPLACED.name, format!("calls {} instead", found.target))
}
