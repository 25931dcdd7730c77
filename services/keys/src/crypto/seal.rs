//! The start: are the key-encryption keys there that the stored keys need?

use sea_orm::DatabaseConnection;

use super::Ring;
use crate::db;
use crate::db::kek::Row;
use crate::error::Failure;

/// The generation that an empty installation is made with.
pub const FIRST: i32 = 1;

/// What came of the start.
#[derive(Debug)]
pub enum Seal {
    /// Keys can be used.
    Open,
    /// Keys cannot be used, for this reason.
    Sealed(String),
}

/// Opens the installation. An empty one is made with the key that is given; replicas that start at
/// the same time agree on one, and the loser of that race is sealed if its key differs.
///
/// The ring is filled with what could be had, also where it does not suffice. Needed are the newest generation and each that still wraps a key; older ones may be gone.
pub async fn unseal(db: &DatabaseConnection, ring: &Ring) -> Result<Seal, Failure> {
    let Some(current) = &ring.sources().current else {
        return Ok(Seal::Sealed("no key-encryption key is configured".to_owned()));
    };
    if db::kek::newest(db).await?.is_none() {
        match current.make().await {
            Ok((kek, protection)) => {
                let row = Row { generation: FIRST, protection, check_value: kek.check_value()? };
                db::kek::insert(db, &row).await?;
            }
            Err(unusable) => return Ok(Seal::Sealed(runtime::report(&unusable).to_string())),
        }
    }
    for row in db::kek::needed(db).await? {
        if let Err(missing) = ring.learn(&row).await {
            return Ok(Seal::Sealed(runtime::report(&missing).to_string()));
        }
    }
    if ring.newest().is_none() { Err(Failure::KekRowMissing) } else { Ok(Seal::Open) }
}
