//! One attempt to deliver: the message is made, signed and posted. Nothing is stored here.

use std::time::Duration;

use chain::outbound::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::schedule::Answer;
use super::seal::Sealer;
use super::signature::{self, Secret};
use crate::db::delivery::Due;
use crate::db::webhook_secret;

/// Longest time for an endpoint to answer; the scheme advises 15 to 30 seconds.
pub const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Longer sentences about a failure help nobody.
const WHY_CHARS_MAX: usize = 200;

/// The body: the same on every attempt.
pub fn body(due: &Due) -> String {
    let Due { kind, time, network, position, data, .. } = due;
    let time = time.format(&Rfc3339).unwrap_or_default();
    json!({
        "type": kind,
        "timestamp": time,
        "cursor": position.to_string(),
        "network": network,
        "data": data,
    })
    .to_string()
}

/// Sends a delivery and says what came of it. Never follows a redirect.
pub async fn make(client: &Client, due: &Due, secrets: &[Secret]) -> Answer {
    let id = format!("msg_{}", due.message.simple());
    let timestamp = OffsetDateTime::now_utc().unix_timestamp();
    let body = body(due);
    let signature = signature::header(secrets, &id, timestamp, body.as_bytes());
    let request = client
        .post(&due.url)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body);
    match client.send(request).await {
        Ok(response) => {
            Answer::Status { code: response.status().as_u16(), retry_after: retry_after(response.headers()) }
        }
        Err(unanswered) => {
            let mut words = unanswered.sentence(ANSWER_WAIT);
            words.truncate(words.char_indices().nth(WHY_CHARS_MAX).map_or(words.len(), |(end, _)| end));
            Answer::Nothing(words)
        }
    }
}

/// The secrets that sign now, newest first. One that cannot be opened is left out.
pub fn open(sealer: Option<&Sealer>, rows: &[webhook_secret::Row]) -> Vec<Secret> {
    let Some(sealer) = sealer else { return Vec::new() };
    rows.iter().filter_map(|row| sealer.unseal(&row.sealed, row.webhook, row.generation).ok()).collect()
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Duration::try_from(at - OffsetDateTime::now_utc()).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a header"));
        retry_after(&headers)
    }

    #[test]
    fn rest_is_asked_for_in_seconds_or_until_a_date() {
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), None, "long over");
        assert!(asked("Fri, 01 Jan 2100 00:00:00 GMT").is_some_and(|rest| rest > Duration::from_secs(1)));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }
}
