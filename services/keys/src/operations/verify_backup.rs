//! VerifyBackup, the drill: the archive decrypts and every secret in it derives its address. Writes
//! the date of the proof on the keys of this installation that are in it, and a record; nothing else.

use age::x25519::Identity;
use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{VerifyBackupRequest, VerifyBackupResponse};
use api::reasons::ARCHIVE_INVALID;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::backup_keys::all;
use super::recorded;
use crate::audit::Entry;
use crate::backup::age_file;
use crate::backup::archive::{self, Proven};
use crate::db;
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: VerifyBackupRequest,
) -> Result<VerifyBackupResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "VerifyBackup",
        intent: "prove a backup".to_owned(),
        digest: Some(B256::from_slice(&Sha256::digest(&request.archive))),
        ..Entry::default()
    };
    recorded(keyring, &entry, verify(keyring, &entry, request)).await
}

async fn verify(
    keyring: &Keyring,
    entry: &Entry,
    request: VerifyBackupRequest,
) -> Result<VerifyBackupResponse, Declined> {
    let VerifyBackupRequest { archive, identity } = request;
    let identity = Zeroizing::new(identity);
    let proven = open(age_file::identity("identity", &identity)?, archive.to_vec()).await?;
    let mut answer = VerifyBackupResponse::default();
    for key in all(&keyring.db).await? {
        match proven.iter().find(|proven| proven.id == key.id) {
            Some(proven) if proven.secret.address() == key.address && proven.role == key.role => {
                answer.proven_key_ids.push(key.id);
            }
            Some(_) => {
                let why = format!("it has another key under the id of {}", key.name);
                return Err(bad(&ARCHIVE_INVALID, "archive", why).meta("key_id", key.id).into());
            }
            // What cannot leave its backend is in no archive.
            None if key.place.envelope().is_none() => {}
            None => answer.missing_key_ids.push(key.id),
        }
    }
    let answer = &answer;
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            db::key::mark_backup_proven(&tx, answer.proven_key_ids.clone()).await?;
            let intent = format!("proved a backup of {} keys", answer.proven_key_ids.len());
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(())
        })
    })
    .await?;
    Ok(answer.clone())
}

/// Decrypts an archive and proves what is in it; takes 100 µs of CPU for each key.
pub async fn open(identity: Identity, archive: Vec<u8>) -> Result<Vec<Proven>, Declined> {
    let proven = tokio::task::spawn_blocking(move || {
        let plain =
            age_file::decrypt(&identity, &archive).map_err(|why| bad(&ARCHIVE_INVALID, "archive", why))?;
        archive::prove(&plain).map_err(|why| bad(&ARCHIVE_INVALID, "archive", why))
    });
    Ok(proven.await.map_err(Failure::from)??)
}
