//! The two ways in which an operation does not succeed: the rules say no, or something broke.

use std::sync::Arc;
use std::time::Duration;

use api::reasons::{BACKEND_REFUSED, BACKEND_UNAVAILABLE, BACKEND_UNSUPPORTED};
use runtime::errors::Refusal;
use tonic::Status;

use crate::backend;
use crate::crypto::aead::{NoRandomness, Unauthentic};
use crate::crypto::secret::Unfaithful;
use crate::keyring::sealed;

/// Something broke. The caller learns an id, the log has the chain.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("working with the tables of keys")]
    Store(#[from] store::Error),
    #[error("{step}")]
    Query {
        step: &'static str,
        #[source]
        source: sea_orm::DbErr,
    },
    #[error("making a secret")]
    Randomness(#[from] NoRandomness),
    #[error("opening the envelope of key {key_id}")]
    Envelope {
        key_id: String,
        #[source]
        source: Unauthentic,
    },
    #[error("asking the backend of key {key_id}")]
    Backend {
        key_id: String,
        #[source]
        source: backend::Error,
    },
    #[error("the backend {backend} is not configured any more")]
    BackendMissing { backend: String },
    #[error("deciding about a batch")]
    Batch(#[source] Arc<Failure>),
    #[error("the task that decides has ended")]
    Undecided,
    #[error("signing")]
    Signature(#[from] Unfaithful),
    #[error("encrypting an archive")]
    Encrypt(#[source] std::io::Error),
    #[error("choosing the recipients of an archive")]
    Recipients(#[source] age::EncryptError),
    #[error("waiting for a turn to derive a key")]
    TurnsClosed,
    #[error("waiting for a computation")]
    Task(#[from] tokio::task::JoinError),
    #[error("the key-encryption key has no row after it was stored")]
    KekRowMissing,
    #[error("the row of key-encryption key generation {generation} is not whole")]
    KekRow { generation: i32 },
    #[error("this replica does not have the key-encryption key of generation {generation}")]
    GenerationMissing { generation: i32 },
    #[error("wrapping the data key of key {key_id} anew")]
    Rewrap {
        key_id: String,
        #[source]
        source: crate::crypto::envelope::Rewrap,
    },
    #[error("no policy is stored")]
    PolicyMissing,
    #[error("the stored policy {version} does not parse any more: {problem}")]
    PolicyUnreadable { version: i64, problem: String },
    #[error("the row of key {key_id} has no valid {column}")]
    KeyRow { key_id: String, column: &'static str },
    #[error("the database decided {0:?}, which this version does not know")]
    UnknownOutcome(String),
    #[error("the body of audit record {0} cannot be decoded")]
    AuditBody(i64),
    #[error("a stored answer cannot be decoded")]
    StoredAnswer(#[from] prost::DecodeError),
}

/// Why an operation gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Declined {
    /// The rules say no; still to be written to the audit log.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The rules say no, and the audit log has it.
    #[error(transparent)]
    Recorded(Refusal),
    /// There is no room for it: nothing was looked at, so there is nothing to record.
    #[error(transparent)]
    Shed(Refusal),
    /// Something broke.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Failure {
    /// For `map_err`: a failed query with the step that it was part of.
    pub fn at(step: &'static str) -> impl FnOnce(sea_orm::DbErr) -> Self {
        move |source| Self::Query { step, source }
    }
}

/// A backend that is away heals or has an alarm of its own (its health check); the caller only learns to wait.
const BACKEND_RETRY: Duration = Duration::from_secs(2);

impl Failure {
    /// What the caller is told if a backend gave no answer; `None` for what is a fault of ours or of the backend.
    fn of_backend(&self) -> Option<Refusal> {
        let source = match self {
            Self::Backend { source, .. } => source,
            Self::BackendMissing { backend } => {
                let sentence = format!("the backend {backend} is not configured any more");
                return Some(Refusal::new(&BACKEND_REFUSED, sentence).meta("backend", backend));
            }
            _ => return None,
        };
        Some(match source {
            backend::Error::Unsupported { .. } => Refusal::new(&BACKEND_UNSUPPORTED, source.to_string()),
            backend::Error::UnknownKey(_) | backend::Error::Refused(_) => {
                Refusal::new(&BACKEND_REFUSED, source.to_string())
            }
            source if source.passes() => {
                Refusal::new(&BACKEND_UNAVAILABLE, source.to_string()).retry_after(BACKEND_RETRY)
            }
            _ => return None,
        })
    }
}

impl From<store::Error> for Declined {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Declined> for Status {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::Refused(refusal) | Declined::Recorded(refusal) | Declined::Shed(refusal) => {
                refusal.into()
            }
            Declined::Failed(failure @ Failure::GenerationMissing { .. }) => {
                sealed(&failure.to_string()).into()
            }
            Declined::Failed(failure) if store::is_away(&failure) => runtime::errors::database_away(&failure),
            Declined::Failed(failure) => match failure.of_backend() {
                Some(refusal) => {
                    tracing::warn!("a backend gave no answer: {}", runtime::report(&failure));
                    refusal.into()
                }
                None => runtime::errors::internal(&failure),
            },
        }
    }
}
