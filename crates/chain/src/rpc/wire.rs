//! Bodies of requests and answers: JSON-RPC 2.0, one object or a batch.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json, value::RawValue};

use super::ask::Request;
use super::error::NodeError;

/// What came back for each request, in the order of the requests: where in the body its result is.
pub(super) type Results = Vec<Result<Range<usize>, NodeError>>;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    id: Value,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<NodeError>,
}

/// `null` is a result ("no such block"), which an `Option` alone would take for a missing one.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Envelope<'_> {
    fn outcome(self, body: &str) -> Result<Result<Range<usize>, NodeError>, String> {
        match (self.error, self.result) {
            (Some(error), _) => Ok(Err(error)),
            (None, Some(result)) => {
                // It was borrowed from the body, so it lies within.
                let start = result.get().as_ptr() as usize - body.as_ptr() as usize;
                Ok(Ok(start..start + result.get().len()))
            }
            (None, None) => Err("neither result nor error".to_owned()),
        }
    }
}

/// The body for these requests, numbered from 0; a single one travels without a batch around it.
pub(super) fn body(requests: &[Request]) -> Value {
    let one = |id: usize, request: &Request| json!({ "jsonrpc": "2.0", "id": id, "method": request.method, "params": request.params });
    match requests {
        [single] => one(0, single),
        many => many.iter().enumerate().map(|(id, request)| one(id, request)).collect(),
    }
}

/// Reads the answer to `count` requests; the error says what is malformed.
pub(super) fn results(body: &str, count: usize) -> Result<Results, String> {
    let is_batch = body.trim_start().starts_with('[');
    if !is_batch {
        let envelope: Envelope = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let outcome = envelope.outcome(body)?;
        return match (count, outcome) {
            (1, outcome) => Ok(vec![outcome]),
            // Nodes refuse a whole batch with a single error.
            (_, Err(refused)) => Ok(vec![Err(refused); count]),
            (_, Ok(_)) => Err("one result for a batch".to_owned()),
        };
    }
    let envelopes: Vec<Envelope> = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let mut by_id = BTreeMap::new();
    for envelope in envelopes {
        let id = envelope.id.as_u64().ok_or_else(|| format!("an answer without our id: {}", envelope.id))?;
        if by_id.insert(id, envelope.outcome(body)?).is_some() {
            return Err(format!("two answers to request {id}"));
        }
    }
    (0..count as u64)
        .map(|id| by_id.remove(&id).ok_or_else(|| format!("no answer to request {id}")))
        .collect()
}

/// Whether a body is an error object: some nodes send those with an HTTP error status.
pub(super) fn refusal(body: &str) -> Option<NodeError> {
    serde_json::from_str::<Envelope>(body).ok().and_then(|envelope| envelope.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str, count: usize) -> Vec<Result<&str, i64>> {
        let found = results(body, count).unwrap().into_iter();
        found.map(|one| one.map(|place| &body[place]).map_err(|error| error.code)).collect()
    }

    #[test]
    fn a_batch_is_put_back_into_the_order_of_its_requests() {
        let body = r#"[{"id":1,"error":{"code":-32000,"message":"no"}},{"id":0,"result":null}]"#;
        assert_eq!(texts(body, 2), [Ok("null"), Err(-32000)]);
    }

    #[test]
    fn one_error_for_a_whole_batch_refuses_each_request() {
        let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}"#;
        assert_eq!(texts(body, 2), [Err(-32600), Err(-32600)]);
    }

    #[test]
    fn missing_doubled_and_foreign_answers_are_malformed() {
        for body in [
            r#"[{"id":0,"result":1}]"#,
            r#"[{"id":0,"result":1},{"id":0,"result":1}]"#,
            r#"[{"id":0,"result":1},{"id":"x","result":1}]"#,
            r#"[{"id":0,"result":1},{"id":1}]"#,
            r#"{"id":0,"result":1}"#,
            "<html>",
        ] {
            assert!(results(body, 2).is_err(), "{body}");
        }
    }
}
