//! VerifyBackup, the drill: the archive decrypts and every secret in it derives its address. Writes
//! the drill, its date on the keys of this installation that are in it, and a record; nothing else.

use std::collections::HashMap;

use age::x25519::Identity;
use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{ArchiveContents, VerifyBackupRequest, VerifyBackupResponse};
use api::reasons::{ARCHIVE_INVALID, ARCHIVE_VERSION};
use sha2::{Digest, Sha256};
use store::column::Hash;
use zeroize::Zeroizing;

use super::backup_keys::all;
use super::{recorded, wire};
use crate::audit::Entry;
use crate::backup::age_file;
use crate::backup::archive::{self, Opened, Proven};
use crate::db;
use crate::db::drill::{Done, Kind};
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
    let opened = open(age_file::identity("identity", &identity)?, archive.to_vec()).await?;
    let mut answer =
        VerifyBackupResponse { contents: Some(contents(&opened)), ..VerifyBackupResponse::default() };
    let proven: HashMap<&str, &Proven> = opened.keys.iter().map(|key| (key.id.as_str(), key)).collect();
    for key in all(&keyring.db).await? {
        match proven.get(key.id.as_str()) {
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
    let (answer, archive_made_at) = (&answer, opened.created_at);
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let drill = Done {
                kind: Kind::Verify,
                caller: &entry.caller,
                archive: Hash(entry.digest.unwrap_or_default()),
                archive_made_at,
                proven: answer.proven_key_ids.clone(),
                missing: answer.missing_key_ids.len(),
            };
            db::drill::insert(&tx, drill).await?;
            let intent = format!("proved a backup of {} keys", answer.proven_key_ids.len());
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(())
        })
    })
    .await?;
    Ok(answer.clone())
}

/// Decrypts an archive and proves what is in it; takes 100 µs of CPU for each key.
pub async fn open(identity: Identity, archive: Vec<u8>) -> Result<Opened, Declined> {
    let opened = tokio::task::spawn_blocking(move || {
        let plain =
            age_file::decrypt(&identity, &archive).map_err(|why| bad(&ARCHIVE_INVALID, "archive", why))?;
        archive::prove(&plain).map_err(|why| match why {
            archive::Invalid::Version(_) => bad(&ARCHIVE_VERSION, "archive", why),
            why => bad(&ARCHIVE_INVALID, "archive", why),
        })
    });
    Ok(opened.await.map_err(Failure::from)??)
}

/// What the archive holds beside keys, for the answer.
pub fn contents(opened: &Opened) -> ArchiveContents {
    let Opened { keys, created_at, policy_version, audit_sequence, audit_hash, .. } = opened;
    ArchiveContents {
        create_time: Some(wire::time(*created_at)),
        keys: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        policy_version: u64::try_from(*policy_version).unwrap_or_default(),
        audit_sequence: u64::try_from(*audit_sequence).unwrap_or_default(),
        audit_hash: hex::encode(audit_hash),
    }
}
