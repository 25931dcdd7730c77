//! `seqd migrate`: the only thing that changes schemas.

use migrations::{OWNERS, Passwords, Report};

use crate::config::Config;

/// Why the migration could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only this command needs it, so it may be missing otherwise.
    #[error("`database.admin_url` is not configured")]
    AdminMissing,
    /// A secret cannot be read from where it is said to be.
    #[error("reading {0}")]
    Secret(String, #[source] runtime::config::Error),
    /// A URL of a service's role.
    #[error("`database.urls.{0}` is no URL with a password")]
    Url(&'static str),
    /// The migration itself.
    #[error("migrating")]
    Migrate(#[from] migrations::Error),
}

/// Brings all schemas up to date; the roles get the passwords that stand in the services' URLs.
///
/// # Errors
/// Nothing half-done is left: each migration is a transaction.
pub async fn run(config: &Config) -> Result<Report, Error> {
    let admin = config.database.admin_url.as_ref().ok_or(Error::AdminMissing)?;
    let admin_url =
        admin.expose().map_err(|source| Error::Secret("database.admin_url".to_owned(), source))?;
    let mut passwords = Passwords::default();
    for owner in OWNERS {
        if let Some(secret) = config.database.urls.get(owner.schema) {
            let named = || format!("database.urls.{}", owner.schema);
            let url = secret.expose().map_err(|source| Error::Secret(named(), source))?;
            let password = password(&url).ok_or(Error::Url(owner.schema))?;
            passwords = passwords.with(owner.schema, password);
        }
    }
    Ok(migrations::run(&admin_url, &passwords).await?)
}

/// The password inside `postgres://user:password@host/...`.
fn password(url: &str) -> Option<&str> {
    let (credentials, _) = url.split_once("://")?.1.split_once('@')?;
    let (_, password) = credentials.split_once(':')?;
    Some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_found_and_nothing_else_is_taken_for_one() {
        assert_eq!(password("postgres://seq_keys:s3cret@127.0.0.1:5432/metis"), Some("s3cret"));
        assert_eq!(password("postgres://seq_keys@127.0.0.1:5432/metis"), None);
        assert_eq!(password("127.0.0.1:5432"), None);
    }
}
