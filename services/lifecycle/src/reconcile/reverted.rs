//! What a revert means for its operation: failed with the contract's reason, or quoted again where only the bridge's
//! price rose between quote and inclusion (P 1.10).

use chain::rpc::{BlockId, CallRequest, Receipt, call};

use super::confirm::settled;
use super::outcome::{Confirm, Entered};
use crate::db::operation::State;
use crate::db::{operation, transaction};
use crate::error::Error;
use crate::operations::plan::explain;

/// Calls of one operation that may revert because the bridge's price rose after its quote. Each costs its gas.
const QUOTES_MAX: usize = 3;

/// What an operation says that was cancelled by hand after its call had reverted.
const CANCELLED_THEN: &str = "is cancelled when that block is final";

impl Confirm<'_> {
    /// Ends its operation when the block of the revert is final, or has it quoted again. Not before: another operation of
    /// its sequencer could begin, and a reorganisation bring this one back beside it.
    pub async fn reverted(
        &self,
        row: &transaction::Row,
        receipt: &Receipt,
        finalized: bool,
    ) -> Result<(), Error> {
        let begins = format!("{} reverted in block {}: ", row.step_name, receipt.block_number);
        let stored = operation::of_id(&self.fleet.db, row.operation).await?;
        let cancelled_by = row.cancel_reason.as_ref().filter(|_| !row.refused);
        let is_told = |reason: &str| {
            reason.starts_with(&begins) && (cancelled_by.is_none() || reason.contains(CANCELLED_THEN))
        };
        if !finalized && stored.is_some_and(|stored| is_told(&stored.reason)) {
            return Ok(());
        }
        let (code, words) = self.why_reverted(row, receipt).await;
        let reason = format!("{begins}{words}");
        let again = code == api::reasons::FEE_TOO_LOW.name && self.may_quote_again(row).await?;
        if !finalized {
            let then = match cancelled_by {
                _ if again => "is tried with a new quote when that block is final".to_owned(),
                Some(why) => format!("{CANCELLED_THEN}, and nothing more is sent: {why}"),
                None => "fails when that block is final".to_owned(),
            };
            return self.waits(row, format!("{reason}; {then}")).await;
        }
        if again {
            let entered =
                Entered { state: State::Queued, reason: format!("{reason}; is quoted again"), code };
            self.store(row, settled(transaction::REVERTED, true), Some(entered)).await?;
            self.fleet.wake();
            return Ok(());
        }
        let entered = match cancelled_by {
            Some(why) => Entered { state: State::Cancelled, reason: format!("{why}; {reason}"), code: "" },
            None => Entered { state: State::Failed, reason: reason.clone(), code },
        };
        let state = entered.state;
        self.store(row, settled(transaction::REVERTED, true), Some(entered)).await?;
        tracing::warn!(operation.id = %row.operation, "operation {} ends: {reason}", row.operation);
        self.fleet.metrics.operation(&self.chain.name, &row.step_name, state.name());
        Ok(())
    }

    /// Whether a call whose price rose after its quote is made again.
    async fn may_quote_again(&self, row: &transaction::Row) -> Result<bool, Error> {
        let managed =
            operation::of_id(&self.fleet.db, row.operation).await?.is_some_and(|one| one.is_managed());
        let calls = transaction::of_operation(&self.fleet.db, row.operation).await?;
        let reverted = calls.iter().filter(|call| call.receipt_status == Some(0)).count();
        Ok(managed && row.cancel_reason.is_none() && reverted < QUOTES_MAX)
    }

    /// A receipt has no reason, so the call is made again on the state before its block. That is close, not exact:
    /// other transactions of the block may have come first, for example one that credits the reward whose bridge fee
    /// is missing. The state after the block shows that.
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
            Ok(Ok(_)) => self.why_reverted_after(row, &request, receipt.block_number).await,
            Err(_) => ("CALL_REVERTED", "its reason could not be read".to_owned()),
        }
    }

    async fn why_reverted_after(
        &self,
        row: &transaction::Row,
        request: &CallRequest,
        block: u64,
    ) -> (&'static str, String) {
        let after = self.chain.l1.ask(call::call(request, BlockId::Number(block)).attempt()).await;
        let revert = after.ok().and_then(Result::err).and_then(|refused| chain::revert::of_node(&refused));
        match revert.map(|revert| explain(&row.step_name, &revert)) {
            Some(found) if found.0 == api::reasons::FEE_TOO_LOW.name => found,
            _ => ("CALL_REVERTED", "the state changed in the same block".to_owned()),
        }
    }
}
