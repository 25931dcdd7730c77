//! Adds an endpoint with its first secret.

use api::convert;
use api::lifecycle::v1::{
    CreateWebhookRequest, CreateWebhookResponse, ListWebhooksRequest, ListWebhooksResponse,
};
use api::reasons;
use prost::Message;
use runtime::errors::Refusal;
use store::{idempotency, in_transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    checked_cursor, checked_description, checked_network, checked_types, checked_url, sealer, shown, wire_of,
};
use crate::db::{SCHEMA, notification, webhook, webhook_secret};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::notify::signature::Secret;
use crate::operations::once::Once;

const METHOD: &str = "CreateWebhook";
/// Each has at most one message in the air, and every look reads all of them.
const WEBHOOKS_MAX: i64 = 64;
/// A webhook's secrets are counted from here.
const FIRST_GENERATION: i32 = 1;

/// Stores the endpoint; the same request again gives the same answer, secret included. That one is not kept with the
/// answer: it is opened anew.
pub async fn run(
    fleet: &Fleet,
    request: CreateWebhookRequest,
    caller: &str,
) -> Result<CreateWebhookResponse, Error> {
    let request_id = convert::request_id("request_id", &request.request_id)?;
    let once = Once::of(request_id, caller, &request, |bare| bare.request_id.clear());
    let CreateWebhookRequest { request_id: _, url, description, types, network, after_cursor } = request;
    let sealer = sealer(fleet)?;
    let row = webhook::Row {
        id: Uuid::now_v7(),
        url: checked_url(fleet, &url).await?,
        description: checked_description(&description)?,
        types: checked_types(&types)?,
        network: checked_network(fleet, &network)?,
        enabled: true,
        disabled_reason: String::new(),
        position: 0,
        resume_time: None,
        version: 1,
        caller: caller.to_owned(),
        create_time: OffsetDateTime::now_utc(),
    };
    let secret = Secret::random();
    let stored = in_transaction(&fleet.db, |tx| {
        let (once, row, secret, after) = (once.clone(), row.clone(), secret.clone(), after_cursor.clone());
        Box::pin(async move {
            let begun = idempotency::begin(&*tx, SCHEMA, &once.request_id, METHOD, &once.fingerprint).await?;
            if let Some(before) = once.answer::<CreateWebhookResponse>(begun)? {
                return Ok(before);
            }
            if webhook::count_locked(&*tx).await? >= WEBHOOKS_MAX {
                let words = format!("there are {WEBHOOKS_MAX} webhooks already");
                return Err(Refusal::new(&reasons::WEBHOOK_LIMIT, words).into());
            }
            let last = notification::last_position(&*tx).await?;
            let position = match after.as_str() {
                "" => last,
                text => checked_cursor("after_cursor", text, last)?,
            };
            let row = webhook::Row { position, ..row };
            webhook::insert(&*tx, &row).await?;
            let first = webhook_secret::Row {
                webhook: row.id,
                generation: FIRST_GENERATION,
                sealed: sealer.seal(&secret, row.id, FIRST_GENERATION),
                expire_time: None,
            };
            webhook_secret::insert(&*tx, &first).await?;
            let answer = CreateWebhookResponse { webhook: Some(wire_of(row, 0, 0)), secret: String::new() };
            idempotency::finish(&*tx, SCHEMA, &once.request_id, METHOD, &answer.encode_to_vec()).await?;
            Ok::<_, Error>(answer)
        })
    })
    .await?;
    let id = stored.webhook.as_ref().and_then(|webhook| Uuid::try_parse(&webhook.id).ok());
    let id = id.ok_or(Error::Malformed { what: "the stored answer of a request" })?;
    Ok(CreateWebhookResponse { secret: secret_of(fleet, id, FIRST_GENERATION).await?, ..stored })
}

/// The secret of a generation as its owner gets it; empty if it is gone.
pub async fn secret_of(fleet: &Fleet, id: Uuid, generation: i32) -> Result<String, Error> {
    let rows = webhook_secret::all_of(&fleet.db, id).await?;
    let row = rows.iter().find(|row| row.generation == generation);
    let opened =
        row.and_then(|row| fleet.desk.sealer.as_ref()?.unseal(&row.sealed, row.webhook, row.generation).ok());
    Ok(opened.map(|secret| secret.shown()).unwrap_or_default())
}

/// All endpoints.
pub async fn list(fleet: &Fleet, request: ListWebhooksRequest) -> Result<ListWebhooksResponse, Error> {
    let ListWebhooksRequest {} = request;
    Ok(ListWebhooksResponse { webhooks: shown(fleet, webhook::list(&fleet.db).await?).await? })
}
