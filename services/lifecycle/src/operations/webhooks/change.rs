//! Changes or removes an endpoint. Enabling one that was disabled goes on where it stopped.

use api::lifecycle::v1::{
    DeleteWebhookRequest, DeleteWebhookResponse, UpdateWebhookRequest, UpdateWebhookResponse,
};
use api::{convert, reasons};
use runtime::errors::Refusal;
use store::in_transaction;

use super::{checked_description, checked_network, checked_types, checked_url, missing, shown_one};
use crate::db::webhook;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request;

/// Why an operator's endpoint is not enabled.
const BY_OPERATOR: &str = "disabled by an operator";

/// Writes the changes if nobody changed the endpoint since `etag` was read.
pub async fn update(fleet: &Fleet, request: UpdateWebhookRequest) -> Result<UpdateWebhookResponse, Error> {
    let UpdateWebhookRequest { id, etag, url, description, types, set_types, network, enabled } = request;
    let id = request::id("id", &id)?;
    convert::required("etag", &etag)?;
    let url = match url.as_str() {
        "" => None,
        text => Some(checked_url(fleet, text).await?),
    };
    let description = description.as_deref().map(checked_description).transpose()?;
    let types = set_types.then(|| checked_types(&types)).transpose()?;
    let network = network.as_deref().map(|name| checked_network(fleet, name)).transpose()?;
    in_transaction(&fleet.db, |tx| {
        let (etag, url, description) = (etag.clone(), url.clone(), description.clone());
        let (types, network) = (types.clone(), network.clone());
        Box::pin(async move {
            let mut row = webhook::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            if etag != row.version.to_string() {
                let words = format!("webhook {id} was changed since it was read");
                return Err(Refusal::new(&reasons::ETAG_MISMATCH, words).meta("etag", row.version).into());
            }
            row.url = url.unwrap_or(row.url);
            row.description = description.unwrap_or(row.description);
            row.types = types.unwrap_or(row.types);
            row.network = network.unwrap_or(row.network);
            if let Some(enabled) = enabled {
                row.disabled_reason = if enabled { "" } else { BY_OPERATOR }.to_owned();
                row.enabled = enabled;
            }
            Ok::<_, Error>(webhook::update(&*tx, &row).await?)
        })
    })
    .await?;
    fleet.wake();
    Ok(UpdateWebhookResponse { webhook: Some(shown_one(fleet, id).await?) })
}

/// Removes it; what is in the air may still arrive.
pub async fn remove(fleet: &Fleet, request: DeleteWebhookRequest) -> Result<DeleteWebhookResponse, Error> {
    let id = request::id("id", &request.id)?;
    if !webhook::remove(&fleet.db, id).await? {
        return Err(missing(id));
    }
    Ok(DeleteWebhookResponse {})
}
