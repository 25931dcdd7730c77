//! The mechanism of the one error registry: a `Reason` says how a refusal looks on every transport,
//! a `Refusal` is one occurrence of it, and a failure leaves the process only as an id.
//!
//! The reasons of the domain stand in `api::reasons`; `generic` has those that every process can give.

pub mod generic;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt};

/// The `domain` of every `ErrorInfo` that we send.
pub const DOMAIN: &str = "metis.sequencer";

/// `google.rpc.ErrorInfo` limits a reason to this many characters.
pub const REASON_CHARS_MAX: usize = 63;

/// One row of the error registry: what a refusal is called and how each transport shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// UPPER_SNAKE and stable: callers match on it.
    pub name: &'static str,
    /// The code of the gRPC status.
    pub grpc: Code,
    /// The code of the JSON-RPC error object.
    pub jsonrpc: i32,
    /// The HTTP status when the whole request is refused.
    pub http: u16,
    /// Whether the same request may succeed later without any change.
    pub retryable: bool,
    /// What the caller can do about it, in one sentence.
    pub help: &'static str,
}

/// One request turned down: expected, typed, and nothing was changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The row of the registry.
    pub reason: &'static Reason,
    /// The sentence for people; every number in it stands in `metadata` too.
    pub message: String,
    /// Bad fields of the request: path and description.
    pub fields: Vec<(String, String)>,
    /// The values that a program needs to act.
    pub metadata: BTreeMap<String, String>,
    /// Preconditions that do not hold: type, subject and description.
    pub violations: Vec<(String, String, String)>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal for `reason` with its sentence for people.
    pub fn new(reason: &'static Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            fields: Vec::new(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// Names a bad field of the request.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, description: impl Into<String>) -> Self {
        self.fields.push((path.into(), description.into()));
        self
    }

    /// Adds a value that a program needs.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Adds a precondition that does not hold.
    #[must_use]
    pub fn violation(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.violations.push((kind.into(), subject.into(), description.into()));
        self
    }

    /// Says when to ask again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The refusal as a `google.rpc.Status`: `ErrorInfo` always, the other details where they apply.
    pub fn status(self) -> Status {
        let Self { reason, message, fields, metadata, violations, retry_after } = self;
        let mut details = ErrorDetails::new();
        details.set_error_info(reason.name, DOMAIN, metadata.into_iter().collect::<HashMap<_, _>>());
        for (path, description) in fields {
            details.add_bad_request_violation(path, description);
        }
        if !violations.is_empty() {
            let rows = violations.into_iter().map(|(kind, subject, text)| PreconditionViolation {
                r#type: kind,
                subject,
                description: text,
            });
            details.set_precondition_failure(rows.collect::<Vec<_>>());
        }
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        Status::with_error_details(reason.grpc, message, details)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.status()
    }
}

/// What a status of ours says, read back from its details.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The name of the reason.
    pub reason: String,
    /// The code of the status.
    pub code: Code,
    /// The sentence for people.
    pub message: String,
    /// The values for a program.
    pub metadata: BTreeMap<String, String>,
    /// Bad fields: path and description.
    pub fields: Vec<(String, String)>,
    /// Preconditions that do not hold: type, subject and description.
    pub violations: Vec<(String, String, String)>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

/// Reads a status that one of our processes sent; `None` if it carries no `ErrorInfo` of our domain.
pub fn refusal_of(status: &Status) -> Option<Decoded> {
    let details = status.check_error_details().ok()?;
    let about = details.error_info().filter(|about| about.domain == DOMAIN)?;
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let violations = details.precondition_failure().map(|f| f.violations.as_slice()).unwrap_or_default();
    Some(Decoded {
        reason: about.reason.clone(),
        code: status.code(),
        message: status.message().to_owned(),
        metadata: about.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        fields: fields.iter().map(|row| (row.field.clone(), row.description.clone())).collect(),
        violations: violations
            .iter()
            .map(|row| (row.r#type.clone(), row.subject.clone(), row.description.clone()))
            .collect(),
        retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
    })
}

/// Answers a failure: logs the whole chain once under a fresh id, and tells the caller only that id.
pub fn internal<E: Error>(error: &E) -> Status {
    failure(&report(error))
}

/// Answers a failure of a query while the database is away; only for verbs that are harmless twice, because a
/// commit may have arrived.
pub fn database_away(error: &dyn Error) -> Status {
    tracing::warn!("the database is away: {}", report(error));
    Refusal::new(&generic::DATABASE_UNAVAILABLE, "the database cannot be reached").status()
}

/// Logs `what` under a fresh id and answers INTERNAL with that id only.
pub(crate) fn failure(what: &str) -> Status {
    let id = uuid::Uuid::now_v7().simple().to_string();
    tracing::error!(error.id = %id, "a request failed: {what}");
    Refusal::new(&generic::INTERNAL, format!("internal error {id}")).meta("error_id", id).status()
}

/// The whole chain of sources on one line, outermost first.
pub fn report(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Errors of other people often repeat their source; once is enough.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_refusal_survives_the_way_over_the_wire() {
        let status = Refusal::new(&generic::FAILED_PRECONDITION, "the exit period is not over")
            .field("amount", "must be positive")
            .meta("withdrawable_at", 7)
            .violation("EXIT", "sequencers/7", "21 days are not over")
            .retry_after(Duration::from_secs(3))
            .status();
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("it fits");
        let arrived = Status::from_header_map(&headers).expect("a status");
        let decoded = refusal_of(&arrived).expect("one of ours");
        assert_eq!(decoded.reason, "FAILED_PRECONDITION");
        assert_eq!(decoded.code, Code::FailedPrecondition);
        assert_eq!(decoded.message, "the exit period is not over");
        assert_eq!(decoded.metadata["withdrawable_at"], "7");
        assert_eq!(decoded.fields, [("amount".to_owned(), "must be positive".to_owned())]);
        assert_eq!(decoded.violations[0].1, "sequencers/7");
        assert_eq!(decoded.retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_status_of_someone_else_is_not_taken_for_ours() {
        assert_eq!(refusal_of(&Status::not_found("x")), None);
        let foreign = ErrorDetails::with_error_info("NOT_FOUND", "example.com", HashMap::new());
        assert_eq!(refusal_of(&Status::with_error_details(Code::NotFound, "x", foreign)), None);
    }

    #[test]
    fn generic_reasons_are_well_formed_and_distinct() {
        let mut names = HashSet::new();
        for reason in generic::ALL {
            assert!(names.insert(reason.name), "{} twice", reason.name);
            assert!(reason.name.len() <= REASON_CHARS_MAX && !reason.help.is_empty());
            assert!(reason.name.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{}", reason.name);
        }
    }

    #[test]
    fn a_report_has_the_whole_chain_once_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("opening\nthe ledger")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk gone"));
        assert_eq!(report(&error), "opening the ledger: disk gone");
        let status = internal(&error);
        assert!(!format!("{status:?}").contains("disk gone"));
    }
}
