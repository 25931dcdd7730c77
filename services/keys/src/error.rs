//! The two ways in which an operation does not succeed: the rules say no, or something broke.

use runtime::errors::Refusal;
use tonic::Status;

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

impl From<store::Error> for Declined {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Declined> for Status {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::Refused(refusal) | Declined::Recorded(refusal) => refusal.into(),
            Declined::Failed(failure @ Failure::GenerationMissing { .. }) => {
                sealed(&failure.to_string()).into()
            }
            Declined::Failed(failure) if store::is_away(&failure) => runtime::errors::database_away(&failure),
            Declined::Failed(failure) => runtime::errors::internal(&failure),
        }
    }
}
