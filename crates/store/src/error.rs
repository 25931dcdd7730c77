//! What can go wrong below a service's own queries, and how to tell the curable from the rest.

use std::error::Error as StdError;

use sea_orm::{DbErr, RuntimeErr};

/// A failure of the database or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used. The parser's message is left out, because it may quote the password.
    #[error("the database URL is not a usable PostgreSQL URL")]
    Url,
    /// No connection could be made.
    #[error("connecting to the database")]
    Connect(#[source] sqlx::Error),
    /// A statement failed.
    #[error("{step}")]
    Statement {
        /// What was being done, as in "renewing lease `lock`".
        step: &'static str,
        /// Why it failed.
        #[source]
        source: DbErr,
    },
    /// A transaction could not be begun, committed or rolled back. After a failed commit the
    /// effect may or may not be there: look before doing it again.
    #[error("{step} a transaction")]
    Transaction {
        /// "beginning", "committing" or "rolling back".
        step: &'static str,
        /// Why it failed.
        #[source]
        source: DbErr,
    },
    /// A row that the code relies on is missing or unreadable.
    #[error("the row of {what} is not as the schema promises")]
    Row {
        /// The table or thing whose row it is.
        what: &'static str,
    },
}

impl Error {
    /// For `map_err`: a failed statement with the step that it was part of.
    pub fn at(step: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Statement { step, source }
    }
}

/// The SQLSTATE that the server gave, wherever in the chain of sources it hides.
///
/// `None` also means that the server said nothing, as when the connection broke.
pub fn sqlstate(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = own_sqlstate(error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

/// Whether the database cannot be reached or takes no work now, wherever in the chain of sources that
/// is said: the same request may succeed later without any change.
pub fn is_away(error: &(dyn StdError + 'static)) -> bool {
    // 08: connection exceptions; 53: too many connections, no space; 57P: shut down, starting up.
    let refused = |code: String| ["08", "53", "57P"].iter().any(|class| code.starts_with(class));
    if sqlstate(error).is_some_and(refused) {
        return true;
    }
    let mut next = Some(error);
    while let Some(error) = next {
        if driver_error(error).is_some_and(is_broken_connection) {
            return true;
        }
        if matches!(error.downcast_ref::<DbErr>(), Some(DbErr::Conn(_) | DbErr::ConnectionAcquire(_))) {
            return true;
        }
        next = error.source();
    }
    false
}

fn driver_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e sqlx::Error> {
    match error.downcast_ref::<DbErr>() {
        Some(DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner)) => match inner {
            RuntimeErr::SqlxError(error) => Some(error),
            RuntimeErr::Internal(_) => None,
        },
        Some(_) => None,
        None => error.downcast_ref::<sqlx::Error>(),
    }
}

fn is_broken_connection(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls, WorkerCrashed};
    matches!(error, Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed)
}

fn own_sqlstate(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<DbErr>() {
        return match error {
            DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner) => runtime_sqlstate(inner),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<RuntimeErr>() {
        return runtime_sqlstate(error);
    }
    error.downcast_ref::<sqlx::Error>().and_then(driver_sqlstate)
}

fn runtime_sqlstate(error: &RuntimeErr) -> Option<String> {
    match error {
        RuntimeErr::SqlxError(error) => driver_sqlstate(error),
        RuntimeErr::Internal(_) => None,
    }
}

fn driver_sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}
