//! Higher fees at once for what waits for a block, as if it had waited long: asked for by hand.

use api::lifecycle::v1::{SpeedUpOperationRequest, SpeedUpOperationResponse};
use api::reasons;
use runtime::errors::Refusal;
use store::in_transaction;

use super::submit::missing;
use super::view;
use crate::db::{operation, transaction};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request;

/// Notes the wish; the lane replaces the transaction within ceiling and budget. Asking again asks for more.
pub async fn run(fleet: &Fleet, request: SpeedUpOperationRequest) -> Result<SpeedUpOperationResponse, Error> {
    let SpeedUpOperationRequest { id } = request;
    let id = request::id("id", &id)?;
    let answer = in_transaction(&fleet.db, |tx| {
        Box::pin(async move {
            let row = operation::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let calls = transaction::of_operation(&*tx, id).await?;
            let waiting: Vec<_> = calls.iter().filter(|call| call.is_in_flight()).collect();
            if waiting.is_empty() || !row.is_managed() {
                let words = format!("no transaction of operation {id} that we signed waits for a block");
                return Err(Refusal::new(&reasons::NOTHING_IN_FLIGHT, words)
                    .meta("state", row.state().name())
                    .into());
            }
            for call in waiting {
                transaction::hurry(&*tx, call.id, true).await?;
            }
            operation::enter(&*tx, id, row.state(), "is hurried by hand", "").await?;
            let row = operation::of_id(&*tx, id).await?.ok_or_else(|| missing(id))?;
            Ok::<_, Error>(SpeedUpOperationResponse { operation: Some(view::operation_of(&*tx, row).await?) })
        })
    })
    .await?;
    fleet.wake();
    Ok(answer)
}
