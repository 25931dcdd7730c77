//! Answers as HTTP responses.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::dispatch::Answer;
use crate::envelope::{self, Body, Id};
use crate::fault::Fault;

/// A request turned down as a whole, with a JSON-RPC body nevertheless.
pub fn refused(fault: &Fault, request_id: &str) -> Response {
    single(Answer::fault(Some(Id::null()), fault, request_id))
}

/// The answer to a single request; nothing but the status for a notification.
pub fn single(answer: Answer) -> Response {
    let Answer { id, http, retry_after_secs, body, notifications: _ } = answer;
    let Some(id) = id else { return StatusCode::NO_CONTENT.into_response() };
    let mut response = of_json(http, envelope::response(&id, &body));
    if http == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(delay) = retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(delay));
    }
    response
}

/// The answers to a batch; nothing but the status if all were notifications.
pub fn batch(answers: Vec<(Id, Body)>) -> Response {
    match batch_text(&answers) {
        Some(text) => of_json(StatusCode::OK.as_u16(), text),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The answers to a batch as text, if there are any.
pub fn batch_text(answers: &[(Id, Body)]) -> Option<String> {
    let items: Vec<String> = answers.iter().map(|(id, body)| envelope::response(id, body)).collect();
    (!items.is_empty()).then(|| format!("[{}]", items.join(",")))
}

fn of_json(status: u16, text: String) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
