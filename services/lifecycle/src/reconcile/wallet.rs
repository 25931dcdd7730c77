//! What a wallet did instead: its users speed up, cancel and replace on their own, so that a nonce of theirs may be spent by
//! a transaction nobody told us of. It is looked for; if it does the same call it is followed, otherwise the operation
//! says what happened.

use alloy_primitives::Address;
use chain::rpc::{BlockId, Transaction, call};
use store::in_transaction;
use store::lease::fence;

use super::confirm::Tip;
use super::outcome::{Change, Confirm, Entered, lease_name};
use crate::db::operation::State;
use crate::db::{SCHEMA, attempt, operation, transaction};
use crate::error::Error;
use crate::signed::{self, Signed};

/// How far back the spending transaction is looked for: a day of L1 blocks, within what nodes without an archive answer
/// of a nonce only near the head; where they do not, the nonce is foreign once it is settled.
const SEARCH_BLOCKS_MAX: u64 = 7_200;

impl Confirm<'_> {
    /// Whether the nonce of a wallet's call was spent by another transaction, and that was dealt with.
    pub async fn wallet_spent(&self, row: &transaction::Row, nonce: u64, tip: Tip) -> Result<bool, Error> {
        let count = self.chain.l1.ask(call::nonce(row.account.0, BlockId::Latest)).await?;
        if count <= nonce {
            return Ok(false);
        }
        let Some((block, other)) = self.spender(row.account.0, nonce, tip).await? else { return Ok(false) };
        let found = Signed::of_chain(other, self.chain.chain_id);
        if row.hash.is_some_and(|hash| hash.0 == found.hash) {
            // Ours: its receipt comes with the next look.
            return Ok(true);
        }
        if signed::difference(&found, row).is_none() {
            self.follow_instead(row, &found, block).await?;
            return Ok(true);
        }
        let (state, code, did) = judged(&found);
        let what = format!("the wallet replaced {} by {}, which {did}", row.step_name, found.hash);
        if tip.head.saturating_sub(block) < self.chain.confirmations {
            let reason = format!("{what}; waits until that is settled");
            let entered = Entered { state: State::Broadcast, reason, code };
            self.store(row, Change::None, Some(entered)).await?;
            return Ok(true);
        }
        tracing::warn!(operation.id = %row.operation, "operation {} ends: {what}", row.operation);
        let change = Change::Settled { state: transaction::FOREIGN, finalized: true };
        self.store(row, change, Some(Entered { state, reason: what, code })).await?;
        self.fleet.metrics.operation(&self.chain.name, &row.step_name, state.name());
        Ok(true)
    }

    /// The transaction that spent the nonce, with its block: found by halving the blocks in which the count went past it.
    pub async fn spender(
        &self,
        account: Address,
        nonce: u64,
        tip: Tip,
    ) -> Result<Option<(u64, Transaction)>, Error> {
        let (mut before, mut after) = (tip.head.saturating_sub(SEARCH_BLOCKS_MAX), tip.head);
        let at = |block| call::nonce(account, BlockId::Number(block)).attempt();
        // A refusal here is a node that has forgotten.
        let known = |answer: Result<u64, _>| answer.ok();
        match known(self.chain.l1.ask(at(after)).await?) {
            Some(count) if count > nonce => {}
            _ => return Ok(None),
        }
        while after.saturating_sub(before) > 1 {
            let middle = before.midpoint(after);
            match known(self.chain.l1.ask(at(middle)).await?) {
                Some(count) if count > nonce => after = middle,
                // What is forgotten lies before what is known.
                _ => before = middle,
            }
        }
        let transactions = self.chain.l1.ask(call::transactions_of(after)).await?.unwrap_or_default();
        let spent = transactions.into_iter().find(|one| one.from == account && one.nonce == nonce);
        Ok(spent.map(|one| (after, one)))
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
