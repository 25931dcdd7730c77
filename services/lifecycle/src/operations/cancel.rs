//! Stops an operation. What is not signed is dropped; what is signed may be mined at any time, so it is never cancelled
//! by forgetting it: its lane spends the nonce on nothing, and the answer tells which of the two was mined.

use api::lifecycle::v1::{CancelOperationRequest, CancelOperationResponse};
use api::reasons;
use runtime::errors::Refusal;
use store::in_transaction;

use super::plan::is_preparation;
use super::submit::missing;
use super::view;
use crate::db::operation::State;
use crate::db::{operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet::Fleet;
use crate::request;

/// Cancels, or asks the lane for a cancel on chain; asking again changes nothing.
pub async fn run(fleet: &Fleet, request: CancelOperationRequest) -> Result<CancelOperationResponse, Error> {
    let CancelOperationRequest { id, reason } = request;
    let id = request::id("id", &id)?;
    let reason = if reason.is_empty() { "cancelled by the caller".to_owned() } else { reason };
    let answer = in_transaction(&fleet.db, |tx| {
        let reason = reason.clone();
        Box::pin(async move {
            let row = operation::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let calls = transaction::of_operation(&*tx, id).await?;
            match Stops::of(&row, &calls) {
                Stops::Already => {}
                Stops::Now => {
                    for call in calls {
                        transaction::drop_unsigned(&*tx, call.id).await?;
                    }
                    operation::enter(&*tx, id, State::Cancelled, &reason, "").await?;
                }
                Stops::OnChain => {
                    for call in calls.iter().filter(|call| call.is_in_flight()) {
                        transaction::want_cancel(&*tx, call.id, &reason, false).await?;
                    }
                    let words = format!("is being cancelled on chain: {reason}");
                    operation::enter(&*tx, id, row.state(), &words, "").await?;
                }
                Stops::WhenFinal => {
                    for call in calls.iter().filter(|call| has_reverted(call)) {
                        transaction::want_cancel(&*tx, call.id, &reason, false).await?;
                    }
                    let words = format!("ends when its revert is final, and nothing more is sent: {reason}");
                    operation::enter(&*tx, id, row.state(), &words, "").await?;
                }
                Stops::Unseen => {
                    for call in &calls {
                        transaction::drop_unsigned(&*tx, call.id).await?;
                    }
                    let words = format!("{reason}; {}", until_spent(&calls));
                    operation::enter(&*tx, id, State::Cancelled, &words, "").await?;
                }
                Stops::Never => {
                    let state = row.state().name();
                    let words = format!("operation {id} is {state}: it cannot be cancelled any more");
                    return Err(Refusal::new(&reasons::OPERATION_NOT_CANCELLABLE, words)
                        .meta("state", state)
                        .into());
                }
            }
            let row = operation::of_id(&*tx, id).await?.ok_or_else(|| missing(id))?;
            Ok::<_, Error>(CancelOperationResponse { operation: Some(view::operation_of(&*tx, row).await?) })
        })
    })
    .await?;
    fleet.failpoints.meet(Point::AfterCancelWanted).await;
    fleet.wake();
    Ok(answer)
}

/// How an operation can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stops {
    /// It is cancelled.
    Already,
    /// Nothing of it is under way.
    Now,
    /// By a cancel with the nonce of what is under way.
    OnChain,
    /// Its call has reverted, and would be made again: only a reorganisation can still give it an effect.
    WhenFinal,
    /// Its wallet has it, and no endpoint knows it: it is no longer waited for.
    Unseen,
    /// It is done, or its wallet has it.
    Never,
}

impl Stops {
    fn of(row: &operation::Row, calls: &[transaction::Row]) -> Self {
        let calls: Vec<_> = calls.iter().filter(|call| !call.fills).collect();
        let is_prepared =
            |call: &transaction::Row| is_preparation(&call.step_name) && call.receipt_status == Some(1);
        // A preparation that is mined moves no METIS, and a revert that is settled did nothing.
        let is_over = |call: &transaction::Row| is_prepared(call) || call.state == transaction::REVERTED;
        let idle = calls.iter().all(|call| call.nonce.is_none() || (row.is_managed() && is_over(call)));
        match row.state() {
            State::Cancelled => Self::Already,
            State::Confirmed | State::Failed | State::Expired => Self::Never,
            _ if idle => Self::Now,
            _ if row.is_managed() && calls.iter().any(|call| call.is_in_flight()) => Self::OnChain,
            _ if row.is_managed() && calls.iter().any(|call| has_reverted(call)) => Self::WhenFinal,
            _ if row.reason_code == reasons::TRANSACTION_NOT_SEEN.name => Self::Unseen,
            _ => Self::Never,
        }
    }
}

/// Whether a call is in a block without effect, and that block is not final.
fn has_reverted(call: &transaction::Row) -> bool {
    call.state == transaction::MINED && call.receipt_status == Some(0)
}

/// What is signed outside cannot be called back: when it is over.
fn until_spent(calls: &[transaction::Row]) -> String {
    let signed = calls.iter().filter(|call| call.is_in_flight());
    let each = signed.map(|call| {
        let hash = call.hash.map(|hash| hash.0.to_string()).unwrap_or_default();
        let nonce = call.nonce.unwrap_or_default();
        format!(
            "{hash} could still be mined until nonce {nonce} of {} is spent by something else",
            call.account.0
        )
    });
    each.collect::<Vec<_>>().join("; ")
}
