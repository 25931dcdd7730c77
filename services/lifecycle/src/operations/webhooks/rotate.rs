//! A new secret for an endpoint. Both sign until the overlap is over, so that no message is refused meanwhile.

use api::lifecycle::v1::{RotateWebhookSecretRequest, RotateWebhookSecretResponse};
use api::{convert, reasons};
use prost::Message;
use store::{idempotency, in_transaction};
use uuid::Uuid;

use super::create::secret_of;
use super::{missing, sealer};
use crate::db::{SCHEMA, webhook, webhook_secret};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::notify::signature::Secret;
use crate::operations::once::Once;
use crate::request;

const METHOD: &str = "RotateWebhookSecret";
/// A day is enough to bring a secret to every receiver.
const OVERLAP_SECS: i64 = 86_400;
/// Longer, an old secret is no longer one that is about to end.
const OVERLAP_SECS_MAX: i64 = 30 * 86_400;

/// What is kept of the answer: which generation was made, never the secret.
#[derive(Clone, PartialEq, Message)]
struct Made {
    #[prost(int32, tag = "1")]
    generation: i32,
}

/// Makes the secret; the same request again gives the same one, as long as it is there.
pub async fn run(
    fleet: &Fleet,
    request: RotateWebhookSecretRequest,
    caller: &str,
) -> Result<RotateWebhookSecretResponse, Error> {
    let request_id = convert::request_id("request_id", &request.request_id)?;
    let once = Once::of(request_id, caller, &request, |bare| bare.request_id.clear());
    let RotateWebhookSecretRequest { request_id: _, id, overlap } = request;
    let id = request::id("id", &id)?;
    let overlap = overlap.map_or(OVERLAP_SECS, |asked| asked.seconds);
    if !(0..=OVERLAP_SECS_MAX).contains(&overlap) {
        let reason = &runtime::errors::generic::INVALID_ARGUMENT;
        return Err(convert::bad(reason, "overlap", "from zero to thirty days").into());
    }
    let sealer = sealer(fleet)?;
    let secret = Secret::random();
    let Made { generation } = in_transaction(&fleet.db, |tx| {
        let (once, secret) = (once.clone(), secret.clone());
        Box::pin(async move {
            let begun = idempotency::begin(&*tx, SCHEMA, &once.request_id, METHOD, &once.fingerprint).await?;
            if let Some(before) = once.answer::<Made>(begun)? {
                return Ok(before);
            }
            webhook::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let newest = webhook_secret::all_of(&*tx, id).await?.first().map_or(0, |row| row.generation);
            let made = Made { generation: newest.saturating_add(1) };
            webhook_secret::retire(&*tx, id, overlap).await?;
            let row = webhook_secret::Row {
                webhook: id,
                generation: made.generation,
                sealed: sealer.seal(&secret, id, made.generation),
                expire_time: None,
            };
            webhook_secret::insert(&*tx, &row).await?;
            idempotency::finish(&*tx, SCHEMA, &once.request_id, METHOD, &made.encode_to_vec()).await?;
            Ok::<_, Error>(made)
        })
    })
    .await?;
    Ok(RotateWebhookSecretResponse { secret: opened(fleet, id, generation).await? })
}

async fn opened(fleet: &Fleet, id: Uuid, generation: i32) -> Result<String, Error> {
    let secret = secret_of(fleet, id, generation).await?;
    if secret.is_empty() {
        let words = "the secret of that request has ended since: rotate again";
        return Err(convert::bad(&reasons::WEBHOOK_NOT_FOUND, "request_id", words).into());
    }
    Ok(secret)
}
