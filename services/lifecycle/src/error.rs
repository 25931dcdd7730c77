//! What can go wrong in this service: refusals travel as they are, failures are told by what can be done about them.

use std::sync::Arc;

use api::reasons;
use chain::rpc::RpcError;
use runtime::errors::Refusal;
use tonic::Status;

/// Why an operation or a loop could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules say no; nothing was changed.
    #[error("refused")]
    Refused(#[source] Box<Refusal>),
    /// The database failed.
    #[error("using the database")]
    Store(#[source] store::Error),
    /// The lease is gone, or could not be checked: nothing was written.
    #[error("proving the lease")]
    Fence(#[source] store::lease::FenceError),
    /// No L1 endpoint gave an answer.
    #[error("asking L1")]
    Chain(#[source] RpcError),
    /// A neighbour refused or failed.
    #[error("asking {service}")]
    Neighbour {
        /// Which one.
        service: &'static str,
        /// What it said.
        #[source]
        source: Box<Status>,
    },
    /// What was committed together failed for all.
    #[error("committing together with others")]
    Together(#[source] Arc<Error>),
    /// The process is ending; whether it was stored only the tables say.
    #[error("the answer of the database was lost")]
    Undecided,
    /// A neighbour, or a row of ours, says something that cannot be.
    #[error("{what} is not what was agreed")]
    Malformed {
        /// What it is.
        what: &'static str,
    },
}

impl Error {
    /// For `map_err` on a call to a neighbour.
    pub fn of(service: &'static str) -> impl FnOnce(Status) -> Self {
        move |source| Self::Neighbour { service, source: Box::new(source) }
    }

    /// The status that a caller sees.
    pub fn status(self) -> Status {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Chain(source) => {
                tracing::warn!("L1 gave no answer: {}", runtime::report(&source));
                Refusal::new(&reasons::L1_UNAVAILABLE, "no L1 endpoint answers").status()
            }
            // A refusal of a neighbour is the caller's business as it stands.
            Self::Neighbour { source, .. } if runtime::errors::refusal_of(&source).is_some() => *source,
            failure if store::is_away(&failure) => runtime::errors::database_away(&failure),
            failure => runtime::errors::internal(&failure),
        }
    }

    /// Whether the lease was lost: the holder must stop.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fence(store::lease::FenceError::Fenced { .. }))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<store::Error> for Error {
    fn from(source: store::Error) -> Self {
        Self::Store(source)
    }
}

impl From<store::lease::FenceError> for Error {
    fn from(source: store::lease::FenceError) -> Self {
        Self::Fence(source)
    }
}

impl From<RpcError> for Error {
    fn from(source: RpcError) -> Self {
        Self::Chain(source)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.status()
    }
}
