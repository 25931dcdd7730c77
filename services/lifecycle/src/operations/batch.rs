//! A wallet that batches: a Safe that somebody else executes, an account that runs code of its own (EIP-7702), a multicall.
//! The transaction is not a prepared call, but holds them.
//!
//! Taken is a mined transaction that succeeded and in whose trace the prepared sender makes exactly the calls that are
//! still to be made, in order, each with effect; besides them it may do what it likes, except call METIS or LockingPool.

use alloy_primitives::Address;
use api::{convert, reasons};
use chain::rpc::{CallFrame, call};
use runtime::errors::Refusal;
use store::column::Hash;
use store::in_transaction;
use uuid::Uuid;

use super::submit::{as_prepared, expired, missing};
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::signed::Signed;

/// Whether a transaction that is none of the calls could hold them: it goes to none of their targets itself.
pub fn may_hold(calls: &[transaction::Row], found: &Signed) -> bool {
    open(calls).next().is_some() && calls.iter().all(|call| call.target.0 != found.target)
}

fn open(calls: &[transaction::Row]) -> impl Iterator<Item = &transaction::Row> {
    calls.iter().filter(|call| call.state == transaction::PLANNED && call.nonce.is_none())
}

/// Proves that the transaction holds the calls, and binds it to the last of them. True once that is stored.
pub async fn bind(fleet: &Fleet, chain: &Chain, id: Uuid, found: &Signed) -> Result<(), Error> {
    let row = operation::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    let calls = as_prepared(&row, transaction::of_operation(&fleet.db, id).await?);
    let unproven = |why: &str| {
        Error::from(Refusal::new(&reasons::BATCH_UNPROVEN, why).meta("transaction_hash", found.hash))
    };
    let receipt = chain.l1.ask(call::receipt(found.hash)).await?;
    let receipt = receipt.ok_or_else(|| unproven("the transaction is in no block yet"))?;
    let trace = chain.l1.ask(call::trace_transaction(found.hash).attempt()).await?;
    let trace = trace.map_err(|_| unproven("no endpoint traces this transaction"))?;
    if !receipt.succeeded() || !holds(chain, &calls, &trace) {
        let words =
            "the transaction does not make the prepared calls, and only those, from the prepared sender";
        return Err(convert::bad(&reasons::TRANSACTION_MISMATCH, "transaction", words)
            .meta("differs", "calls")
            .into());
    }
    let nonce = i64::try_from(found.nonce).map_err(|_| Error::Malformed { what: "a nonce" })?;
    in_transaction(&fleet.db, |tx| {
        Box::pin(async move {
            let row = operation::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            // What is on chain is followed, also when the operation has expired meanwhile: never forget what was done.
            if row.state().is_final() && row.state() != State::Expired {
                return Err(expired(&row));
            }
            if row.state() == State::Expired {
                transaction::take_up_again(&*tx, id).await?;
            }
            let calls = transaction::of_operation(&*tx, id).await?;
            let Some(last) = open(&calls).last() else { return Ok(()) };
            let form = attempt::Row {
                transaction: last.id,
                hash: Hash(found.hash),
                raw: None,
                max_fee: last.max_fee,
                max_priority: last.max_priority,
                intent: attempt::CALL.to_owned(),
            };
            transaction::carried(&*tx, last.id, found.sender, nonce, found.hash).await?;
            attempt::put(&*tx, &form).await?;
            for earlier in open(&calls).filter(|call| call.id != last.id) {
                transaction::drop_unsigned(&*tx, earlier.id).await?;
            }
            let steps: Vec<&str> = open(&calls).map(|call| call.step_name.as_str()).collect();
            let reason = format!("the wallet did {} in transaction {}", steps.join(" and "), found.hash);
            Ok::<_, Error>(operation::enter(&*tx, id, State::Broadcast, &reason, "").await?)
        })
    })
    .await?;
    fleet.wake();
    Ok(())
}

fn holds(chain: &Chain, calls: &[transaction::Row], trace: &CallFrame) -> bool {
    let Some(sender) = calls.first().map(|call| call.account.0) else { return false };
    let guarded: [Address; 2] = [chain.metis, chain.locking_pool];
    let made: Vec<&CallFrame> = trace
        .effective_calls_of(sender)
        .into_iter()
        .filter(|frame| frame.to.is_some_and(|to| guarded.contains(&to)))
        .collect();
    let planned: Vec<&transaction::Row> = open(calls).collect();
    made.len() == planned.len()
        && made.iter().zip(&planned).all(|(frame, call)| {
            frame.to == Some(call.target.0)
                && frame.value.unwrap_or_default() == call.value.0
                && frame.input.as_ref() == call.data.as_slice()
        })
}
