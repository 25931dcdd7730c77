//! What became of each message, and another try for one of them.

use api::lifecycle::v1::{
    Delivery, DeliveryState, ListDeliveriesRequest, ListDeliveriesResponse, RetryDeliveryRequest,
    RetryDeliveryResponse,
};
use api::reasons;
use runtime::errors::Refusal;
use runtime::page;
use store::in_transaction;
use uuid::Uuid;

use super::super::view::time;
use crate::db::delivery;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request;

/// A page, newest first.
pub async fn list(fleet: &Fleet, request: ListDeliveriesRequest) -> Result<ListDeliveriesResponse, Error> {
    let asked = request.state();
    let ListDeliveriesRequest { webhook, state: _, page_size, page_token } = request;
    let webhook = match webhook.as_str() {
        "" => None,
        text => Some(request::id("webhook", text)?),
    };
    let state = asked.as_str_name().strip_prefix("DELIVERY_STATE_");
    let state = state.filter(|_| asked != DeliveryState::Unspecified).map(str::to_owned);
    let limit = page::page_size(page_size)?;
    let about = (webhook, &state);
    let before: Option<(i64, Uuid)> = page::decode(&page_token, &about)?;
    let filter = delivery::Filter { webhook, state: state.clone(), before, limit };
    let rows = delivery::page(&fleet.db, &filter).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| (row.position, row.id));
    let next_page_token = last.map(|place| page::encode(&place, &about)).unwrap_or_default();
    Ok(ListDeliveriesResponse { deliveries: rows.into_iter().map(wire_of).collect(), next_page_token })
}

/// Begins it anew, whatever became of it.
pub async fn retry(fleet: &Fleet, request: RetryDeliveryRequest) -> Result<RetryDeliveryResponse, Error> {
    let id = request::id("id", &request.id)?;
    let row = in_transaction(&fleet.db, |tx| {
        Box::pin(async move { Ok::<_, Error>(delivery::again(&*tx, id).await?) })
    })
    .await?;
    let row = row.ok_or_else(|| {
        Refusal::new(&reasons::DELIVERY_NOT_FOUND, format!("there is no delivery {id}")).meta("delivery", id)
    })?;
    fleet.wake();
    Ok(RetryDeliveryResponse { delivery: Some(wire_of(row)) })
}

fn wire_of(row: delivery::Row) -> Delivery {
    let delivery::Row {
        id,
        webhook,
        position,
        kind,
        message,
        state,
        attempts,
        next_attempt_time,
        last_attempt_time,
        last_status,
        last_error,
        time: at,
        network,
    } = row;
    let waits = state == delivery::PENDING;
    Delivery {
        id: id.to_string(),
        webhook: webhook.to_string(),
        cursor: position.to_string(),
        r#type: kind,
        message_id: format!("msg_{}", message.simple()),
        network,
        event_time: Some(time(at)),
        state: DeliveryState::from_str_name(&format!("DELIVERY_STATE_{state}")).unwrap_or_default().into(),
        attempts: u32::try_from(attempts).unwrap_or_default(),
        next_attempt_time: waits.then(|| time(next_attempt_time)),
        last_attempt_time: last_attempt_time.map(time),
        last_status: last_status.and_then(|code| u32::try_from(code).ok()).unwrap_or_default(),
        last_error,
    }
}
