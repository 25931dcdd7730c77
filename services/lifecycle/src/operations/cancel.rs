//! Stops an operation while nothing of it is signed. What is signed may be mined at any time, so it is never
//! cancelled by forgetting it.

use api::lifecycle::v1::{CancelOperationRequest, CancelOperationResponse};
use api::reasons;
use runtime::errors::Refusal;
use store::in_transaction;

use super::submit::missing;
use super::view;
use crate::db::operation::State;
use crate::db::{operation, transaction};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request;

/// Cancels; asking again for one that is cancelled changes nothing.
pub async fn run(fleet: &Fleet, request: CancelOperationRequest) -> Result<CancelOperationResponse, Error> {
    let CancelOperationRequest { id, reason } = request;
    let id = request::id("id", &id)?;
    let reason = if reason.is_empty() { "cancelled by the caller".to_owned() } else { reason };
    in_transaction(&fleet.db, |tx| {
        let reason = reason.clone();
        Box::pin(async move {
            let row = operation::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let calls = transaction::of_operation(&*tx, id).await?;
            let untouched = calls.iter().all(|call| call.nonce.is_none());
            match row.state() {
                State::Cancelled => {}
                State::PendingApproval | State::Scheduled | State::Queued if untouched => {
                    for call in calls {
                        transaction::drop_unsigned(&*tx, call.id).await?;
                    }
                    operation::enter(&*tx, id, State::Cancelled, &reason, "").await?;
                }
                state => {
                    let words =
                        format!("operation {id} is {}: it cannot be cancelled any more", state.name());
                    return Err(Refusal::new(&reasons::OPERATION_NOT_CANCELLABLE, words)
                        .meta("state", state.name())
                        .into());
                }
            }
            let row = operation::of_id(&*tx, id).await?.ok_or_else(|| missing(id))?;
            Ok::<_, Error>(CancelOperationResponse { operation: Some(view::operation_of(&*tx, row).await?) })
        })
    })
    .await
}
