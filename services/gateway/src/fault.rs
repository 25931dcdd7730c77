//! An error as JSON-RPC callers see it: the code of the registry, and in `data` everything a program needs.
//!
//! Only what the registry knows leaves us; a status from behind that carries no reason of ours becomes INTERNAL.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonrpsee::types::ErrorObjectOwned;
use runtime::errors::{DOMAIN, Reason, Refusal, generic, refusal_of};
use serde_json::{Value, json};
use tonic::Status;

/// One call turned down or failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Code of the JSON-RPC error.
    pub code: i32,
    /// HTTP status where the whole request is turned down by it.
    pub http: u16,
    /// Name of the reason.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// When to ask again.
    pub retry_after: Option<Duration>,
    /// The values for a program.
    pub metadata: BTreeMap<String, String>,
    /// Bad fields: path and description.
    pub fields: Vec<(String, String)>,
}

impl Fault {
    fn of(reason: &Reason, message: String) -> Self {
        Self {
            code: reason.jsonrpc,
            http: reason.http,
            reason: reason.name.to_owned(),
            message,
            retryable: reason.retryable,
            retry_after: None,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
        }
    }

    /// The same with other names of fields, where params do not mirror the message behind.
    #[must_use]
    pub fn rename_fields(mut self, rename: impl Fn(&str) -> String) -> Self {
        for (path, _) in &mut self.fields {
            *path = rename(path);
        }
        self
    }

    /// The error object.
    pub fn object(&self, request_id: &str) -> Value {
        json!({ "code": self.code, "message": self.message, "data": self.data(request_id) })
    }

    /// The error object for jsonrpsee.
    pub fn to_jsonrpsee(&self, request_id: &str) -> ErrorObjectOwned {
        ErrorObjectOwned::owned(self.code, self.message.clone(), Some(self.data(request_id)))
    }

    fn data(&self, request_id: &str) -> Value {
        let fields: Vec<Value> = self
            .fields
            .iter()
            .map(|(field, description)| json!({ "field": field, "description": description }))
            .collect();
        json!({
            "reason": self.reason,
            "domain": DOMAIN,
            "metadata": self.metadata,
            "retryable": self.retryable,
            "retryAfterMs": self.retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            "requestId": request_id,
            "fields": fields,
        })
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, fields, metadata, violations: _, retry_after } = refusal;
        Self { fields, metadata, retry_after, ..Self::of(reason, message) }
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let Some(decoded) = refusal_of(&status) else {
            tracing::error!(
                "a neighbour answered {:?} without a reason: {}",
                status.code(),
                status.message()
            );
            return Self::of(&generic::INTERNAL, "a service behind the gateway failed".to_owned());
        };
        let reason = api::reasons::by_name(&decoded.reason)
            // A newer neighbour may know more reasons: its code still says how to treat it.
            .or_else(|| api::reasons::all().find(|known| known.grpc == decoded.code))
            .unwrap_or(&generic::INTERNAL);
        Self {
            reason: decoded.reason,
            // What a method answers is an answer: only the gateway's own refusals change the HTTP status.
            http: 200,
            retry_after: decoded.retry_after,
            metadata: decoded.metadata.into_iter().map(|(key, value)| (camel_case(&key), value)).collect(),
            fields: decoded.fields.into_iter().map(|(path, why)| (camel_case(&path), why)).collect(),
            ..Self::of(reason, decoded.message)
        }
    }
}

/// `lock.amount_wei` as `lock.amountWei`.
pub fn camel_case(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut upper = false;
    for c in path.chars() {
        match c {
            '_' => upper = true,
            _ if upper => {
                text.push(c.to_ascii_uppercase());
                upper = false;
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_proto_become_names_of_json() {
        let cases =
            [("amount_wei", "amountWei"), ("lock.reward_recipient", "lock.rewardRecipient"), ("id", "id")];
        for (proto, json) in cases {
            assert_eq!(camel_case(proto), json);
        }
    }

    #[test]
    fn a_status_without_a_reason_of_ours_tells_nothing() {
        let fault = Fault::from(Status::unknown("SELECT secret FROM http://10.0.0.1"));
        assert_eq!((fault.code, fault.reason.as_str()), (-32603, "INTERNAL"));
        assert!(!fault.object("r").to_string().contains("SELECT"));
    }

    #[test]
    fn a_reason_survives_with_its_fields_in_json_names() {
        let refusal = Refusal::new(&api::reasons::AMOUNT_BELOW_MINIMUM, "too little")
            .field("lock.amount_wei", "below")
            .meta("min_lock_wei", 7)
            .retry_after(Duration::from_millis(1_500));
        let data = Fault::from(refusal.status()).object("r")["data"].clone();
        assert_eq!(data["reason"], "AMOUNT_BELOW_MINIMUM");
        assert_eq!(data["fields"][0]["field"], "lock.amountWei");
        assert_eq!(data["metadata"]["minLockWei"], "7");
        assert_eq!(data["retryAfterMs"], 1_500);
    }
}
