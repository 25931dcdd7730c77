//! Tells again, or for a test.

use api::lifecycle::v1::{
    ReplayNotificationsRequest, ReplayNotificationsResponse, TestWebhookRequest, TestWebhookResponse,
};
use api::reasons;
use runtime::errors::Refusal;
use store::in_transaction;

use super::{checked_cursor, missing, shown_one};
use crate::db::{notification, webhook};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::notify::TEST;
use crate::request;

/// Moves the place of the endpoint back: everything after it is delivered again, with the ids it had.
pub async fn run(
    fleet: &Fleet,
    request: ReplayNotificationsRequest,
) -> Result<ReplayNotificationsResponse, Error> {
    let ReplayNotificationsRequest { id, after_cursor } = request;
    let id = request::id("id", &id)?;
    in_transaction(&fleet.db, |tx| {
        let after_cursor = after_cursor.clone();
        Box::pin(async move {
            let row = webhook::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let last = notification::last_position(&*tx).await?;
            let after = checked_cursor("after_cursor", &after_cursor, last)?;
            let first = notification::first_position(&*tx).await?.unwrap_or(last.saturating_add(1));
            // Zero asks for all that is kept; any other place must be one from which nothing is lost.
            if after > 0 && after.saturating_add(1) < first {
                let words = format!("notifications up to {} are no longer kept", first.saturating_sub(1));
                return Err(Refusal::new(&reasons::CURSOR_TOO_OLD, words).meta("first_cursor", first).into());
            }
            // Forward would skip what was not delivered yet.
            Ok::<_, Error>(webhook::reach(&*tx, id, after.min(row.position)).await?)
        })
    })
    .await?;
    fleet.wake();
    Ok(ReplayNotificationsResponse { webhook: Some(shown_one(fleet, id).await?) })
}

/// Tells one endpoint that it was found.
pub async fn test(fleet: &Fleet, request: TestWebhookRequest) -> Result<TestWebhookResponse, Error> {
    let id = request::id("id", &request.id)?;
    let row = webhook::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    notification::tell(&fleet.db, id, TEST, &row.network.unwrap_or_default()).await?;
    fleet.wake();
    Ok(TestWebhookResponse {})
}
