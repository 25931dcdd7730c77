//! One POST: the body within its limits, then its request or batch.

use std::sync::Arc;

use api::reasons::MEDIA_TYPE_UNSUPPORTED;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures::StreamExt;
use runtime::errors::{Refusal, generic};
use tracing::Instrument;

use super::{Edge, body, peer_of};
use crate::dispatch::{Answer, Sender, too_large};
use crate::envelope::{self, Call, Id, Message, Rejected};
use crate::fault::Fault;
use crate::limits::{BATCH_ITEMS_AT_ONCE, BODY_BYTES_MAX, READ_WAIT, RESPONSE_BYTES_MAX};
use crate::metrics;

/// Answers a POST.
pub async fn answer(edge: &Edge, request: Request, request_id: &Arc<str>) -> Response {
    let span = tracing::info_span!(
        "http",
        otel.name = "POST",
        otel.kind = "server",
        service = "gateway",
        request.id = %request_id,
    );
    runtime::continue_trace(&span, request.headers());
    let peer = peer_of(&request);
    let (parts, incoming) = request.into_parts();
    async move {
        let bytes = match read(&parts.headers, incoming).await {
            Ok(bytes) => bytes,
            Err(fault) => return body::refused(&fault, request_id),
        };
        let message = match envelope::read(&bytes) {
            Ok(message) => message,
            Err(fault) => return body::refused(&fault, request_id),
        };
        let credential = edge.keys.check(&parts.headers).await;
        let sender = Sender { peer, credential, request_id: Arc::clone(request_id), socket: None };
        match message {
            Message::One(call) => body::single(one(edge, call, &sender).await),
            Message::Batch(calls) => {
                let answers = batch(edge, calls, &sender).await;
                body::batch(answers.into_iter().map(|(id, body, _)| (id, body)).collect())
            }
        }
    }
    .instrument(span)
    .await
}

async fn read(headers: &HeaderMap, incoming: Body) -> Result<Bytes, Fault> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(&MEDIA_TYPE_UNSUPPORTED, "the body must be application/json").into());
    }
    match tokio::time::timeout(READ_WAIT, axum::body::to_bytes(incoming, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_long()),
        Err(_) => Err(Refusal::new(&generic::DEADLINE, "the body took too long to arrive").into()),
    }
}

/// More than a request may have.
pub fn too_long() -> Fault {
    Refusal::new(&generic::REQUEST_TOO_LARGE, format!("a request has at most {BODY_BYTES_MAX} bytes"))
        .meta("bytesMax", BODY_BYTES_MAX)
        .into()
}

/// Answers one request.
pub async fn one(edge: &Edge, call: Result<Call, Rejected>, sender: &Sender) -> Answer {
    match call {
        Ok(call) => edge.dispatch.call(call, sender).await,
        Err(Rejected { id, fault }) => Answer::fault(Some(id), &fault, &sender.request_id),
    }
}

/// One answer of a batch, with the notifications that follow it.
pub type Item = (Id, envelope::Body, Option<crate::dispatch::Notifications>);

/// Answers a batch in its order. Answers that would make it too large are replaced by a refusal.
pub async fn batch(edge: &Edge, calls: Vec<Result<Call, Rejected>>, sender: &Sender) -> Vec<Item> {
    metrics::batch(calls.len());
    let answers =
        futures::stream::iter(calls).map(|call| one(edge, call, sender)).buffered(BATCH_ITEMS_AT_ONCE);
    let mut answers = std::pin::pin!(answers);
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(Answer { id, body, notifications, .. }) = answers.next().await {
        let Some(id) = id else { continue };
        bytes += body.as_ref().map_or_else(|error| error.get().len(), |result| result.get().len());
        if bytes > RESPONSE_BYTES_MAX {
            let refused = Answer::fault(None, &too_large(), &sender.request_id);
            items.push((id, refused.body, None));
        } else {
            items.push((id, body, notifications));
        }
    }
    items
}
