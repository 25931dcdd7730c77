//! The start: is the key-encryption key there, and is it the one that this installation was made with?

use sea_orm::DatabaseConnection;

use super::KeyEncryptionKey;
use super::kek::{Derivation, Source};
use crate::db;
use crate::error::Failure;

/// The generation of key-encryption keys in use; rotation will add others.
pub const GENERATION: i32 = 1;

/// What came of the start.
#[derive(Debug)]
pub enum Seal {
    /// Keys can be used.
    Open(KeyEncryptionKey),
    /// Keys cannot be used, for this reason.
    Sealed(&'static str),
}

/// Opens the installation. An empty one is made with the key that is given; replicas that start at
/// the same time agree on one, and the loser of that race is sealed if its key differs.
pub async fn unseal(db: &DatabaseConnection, source: Option<Source>) -> Result<Seal, Failure> {
    let Some(source) = source else { return Ok(Seal::Sealed("no key-encryption key is configured")) };
    if db::kek::of_generation(db, GENERATION).await?.is_none() {
        let derivation = if source.is_passphrase() { Some(Derivation::fresh()?) } else { None };
        let (kek, source_kind) = match read(source.clone(), derivation.clone()).await? {
            Ok(kek) => (kek, if derivation.is_some() { "ARGON2ID" } else { "KEY" }),
            Err(reason) => return Ok(Seal::Sealed(reason)),
        };
        let check_value = kek.check_value()?;
        let row = db::kek::Row { source: source_kind.to_owned(), derivation, check_value };
        db::kek::insert_first(db, GENERATION, &row).await?;
    }
    let row = db::kek::of_generation(db, GENERATION).await?.ok_or(Failure::KekRowMissing)?;
    Ok(match read(source, row.derivation).await? {
        Ok(kek) if kek.made(&row.check_value) => Seal::Open(kek),
        Ok(_) => Seal::Sealed("the key-encryption key is not the one this installation was made with"),
        Err(reason) => Seal::Sealed(reason),
    })
}

async fn read(
    source: Source,
    derivation: Option<Derivation>,
) -> Result<Result<KeyEncryptionKey, &'static str>, Failure> {
    let read = tokio::task::spawn_blocking(move || source.read(derivation.as_ref())).await?;
    Ok(read.map_err(|error| {
        tracing::error!("sealed: {}", runtime::report(&error));
        "the key-encryption key is missing or malformed"
    }))
}
