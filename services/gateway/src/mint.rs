//! Making API keys: for operators by the command line, and for the demo.

use std::time::Duration;

use sea_orm::DatabaseConnection;

use crate::db::api_key::{self, New};
use crate::key;

/// Scopes that a key can have.
const SCOPES: &[&str] = &["read", "prepare", "operate", "approve", "admin"];

/// Keys are rotated; one that lives longer than this is forgotten somewhere.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Longest name.
const NAME_CHARS_MAX: usize = 63;

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// A scope that does not exist, or none at all.
    #[error("scopes are some of read, prepare, operate, approve, admin")]
    Scopes,
    /// An empty or long name.
    #[error("a key needs a name of 1 to 63 characters")]
    Name,
    /// No time, or too much.
    #[error("a key lives between a second and a year")]
    Lifetime,
    /// The database.
    #[error("storing the key")]
    Store(#[source] store::Error),
}

/// Makes a key and returns its text, which is shown this once and kept nowhere.
///
/// # Errors
/// When an argument is out of bounds or the database fails; no key exists then.
pub async fn mint_key(
    database: &DatabaseConnection,
    name: &str,
    scopes: &[&str],
    ttl: Duration,
) -> Result<String, MintError> {
    if scopes.is_empty() || !scopes.iter().all(|scope| SCOPES.contains(scope)) {
        return Err(MintError::Scopes);
    }
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(MintError::Name);
    }
    let ttl_secs = i64::try_from(ttl.as_secs()).map_err(|_| MintError::Lifetime)?;
    if ttl_secs == 0 || ttl > TTL_MAX {
        return Err(MintError::Lifetime);
    }
    let minted = key::mint();
    let new = New {
        id: minted.id,
        name: name.to_owned(),
        secret_hash: minted.hash,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ttl_secs,
    };
    api_key::insert(database, new).await.map_err(MintError::Store)?;
    Ok(minted.text)
}
