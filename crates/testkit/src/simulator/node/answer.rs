//! How the processes of a node wrap what they say.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::Error;

/// Height 0 of the consensus layer: 2025-01-01. It makes a block each second.
const THEMIS_GENESIS: i64 = 1_735_689_600;

/// `{"height":"…","result":…}`; endpoints that set no height say "0".
pub(super) fn enveloped(height: u64, result: Value) -> Response {
    Json(json!({ "height": height.to_string(), "result": result })).into_response()
}

pub(super) fn refused(status: StatusCode, why: impl Into<String>) -> Response {
    (status, Json(json!({ "error": why.into() }))).into_response()
}

/// What a process says when the chain behind it does not answer.
pub(super) fn failed(error: &Error) -> Response {
    refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Height of the consensus layer now, the same for all nodes and after a restart.
pub(super) fn themis_height() -> u64 {
    (OffsetDateTime::now_utc().unix_timestamp() - THEMIS_GENESIS).unsigned_abs()
}

/// Time of a height.
pub(super) fn themis_time(height: u64) -> String {
    let secs = THEMIS_GENESIS.saturating_add_unsigned(height);
    let time = OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

pub(super) fn wall_clock() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
