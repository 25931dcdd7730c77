//! The Ed25519 key with which heads of the log are signed. Its seed lies sealed under the key-encryption key, as
//! keys do; its public key is what auditors keep. A key-encryption key that opens none of the seeds gets a
//! new one, which is recorded.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use trail::SigningKey;
use zeroize::Zeroizing;

use super::Entry;
use crate::crypto::{KeyEncryptionKey, Ring, aead};
use crate::db;
use crate::db::head::HeadKey;
use crate::error::Failure;

/// What the seed is bound to, with the public key.
const ASSOCIATED: &[u8] = b"metis.sequencer.keys.audit-head-seed";

/// The key of this installation. Two replicas that start at once on an empty installation may make one each; both
/// stay valid, and the newest that opens is used from the next start on.
pub async fn open_or_make(db: &DatabaseConnection, ring: &Ring) -> Result<SigningKey, Failure> {
    let rows = db::head::keys(db).await?;
    if let Some(key) = rows.iter().find_map(|row| open_by_any(ring, row)) {
        return Ok(key);
    }
    let is_first = rows.is_empty();
    let seed = aead::random::<32>()?;
    let key = SigningKey::from_bytes(&seed);
    let (_, newest) = ring.newest().ok_or(Failure::KekRowMissing)?;
    let row = seal(&newest, &key)?;
    let row = &row;
    store::in_transaction(db, move |tx| {
        Box::pin(async move {
            db::head::insert_key(&tx, row).await?;
            // Without another before it there is nothing that an auditor would miss.
            if is_first {
                return Ok(());
            }
            let entry = Entry {
                caller: crate::NAME.to_owned(),
                action: "MakeHeadKey",
                intent: format!(
                    "sign heads of the audit log with public key {}",
                    hex::encode(&row.public_key)
                ),
                ..Entry::default()
            };
            db::audit::append(&tx, entry.allowed()).await
        })
    })
    .await?;
    Ok(key)
}

/// For a rotation: seals every seed that an older key-encryption key opens under the newest. Twice is harmless.
pub async fn reseal<C: ConnectionTrait>(db: &C, ring: &Ring) -> Result<(), Failure> {
    let (_, newest) = ring.newest().ok_or(Failure::KekRowMissing)?;
    for row in db::head::keys(db).await? {
        if open(&newest, &row).is_none()
            && let Some(key) = open_by_any(ring, &row)
        {
            db::head::reseal_key(db, &seal(&newest, &key)?).await?;
        }
    }
    Ok(())
}

fn open_by_any(ring: &Ring, row: &HeadKey) -> Option<SigningKey> {
    ring.all().iter().find_map(|kek| open(kek, row))
}

fn associated(public_key: &[u8]) -> Vec<u8> {
    [ASSOCIATED, public_key].concat()
}

fn seal(kek: &KeyEncryptionKey, key: &SigningKey) -> Result<HeadKey, Failure> {
    let public_key = key.verifying_key().to_bytes().to_vec();
    let seed = Zeroizing::new(key.to_bytes());
    let sealed_seed = kek.seal(&associated(&public_key), seed.as_slice())?;
    Ok(HeadKey { public_key, sealed_seed })
}

fn open(kek: &KeyEncryptionKey, row: &HeadKey) -> Option<SigningKey> {
    let seed = kek.open(&associated(&row.public_key), &row.sealed_seed).ok()?;
    let key = SigningKey::from_bytes(seed.as_slice().try_into().ok()?);
    (key.verifying_key().as_bytes().as_slice() == row.public_key).then_some(key)
}
